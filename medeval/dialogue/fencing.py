"""A candidate's words as data: what a judge or a simulated patient is shown can give it no orders.

Layers (state of the art sheet on injection): the transcript is a JSON array in a message of its own, never interpolated
into instructions; speakers' labels are ours; a nonce that the text cannot know fences it; zero-width and bidirectional
characters go, long turns are cut with a visible mark; names of models are blotted out so that the judge is blind. What
looks like an order is flagged, never punished.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from medeval.dialogue.text import clean
from medeval.dialogue.turns import Turn
from medeval.types.seeds import digest

CAP = 4000  # characters of a turn that a judge is shown
CUT = " [cut here: the turn was longer]"
_TAG = "transcript"
_MODELS = re.compile(
    r"\b(chat\s?gpt|gpt[- ]?\d[\w.]*|openai|claude(?:[- ][\w.]+)?|anthropic|gemini(?:[- ][\w.]+)?|google deepmind|llama[- ]?[\w.]*|"
    r"mi[sx]tral[\w.-]*|qwen[\w.-]*|deepseek[\w.-]*|med-?palm[\w-]*|meditron[\w-]*|grok[\w-]*|phi-\d[\w.]*|copilot|huatuogpt[\w-]*)\b",
    re.IGNORECASE,
)  # fmt: skip
_ORDERS = (
    re.compile(r"\b(ignore|disregard|forget|override)\b.{0,40}\b(instruction|prompt|rubric|rule|above|previous)", re.I | re.S),
    re.compile(r"\b(as|you are|to|dear|note to|attention)\b.{0,12}\b(the )?(judge|grader|evaluator|assessor|examiner)\b", re.I),
    re.compile(r"\b(give|assign|award|score|rate|grade|mark)\b.{0,40}\b(full|maximum|highest|all|every|each|9|10|100|1)\b.{0,20}(item|mark|score|point|criteri|out of|$)", re.I | re.S),
    re.compile(r"[\"']?\b(score|criteria_met|verdict|evidence)\b[\"']?\s*:\s*(\d|true|\{|\[|\")", re.I),
    re.compile(r"<\s*/?\s*(transcript|system|instructions?|rubric|assistant|user)\b", re.I),
    re.compile(r"^\s*(system|judge|grader|evaluator|patient)\s*:", re.I | re.M),
)  # fmt: skip


@dataclass(frozen=True)
class Fenced:
    """text: what the model is shown. suspicious: numbers of the turns that look like orders. cut: numbers of cut turns."""

    text: str
    nonce: str
    suspicious: tuple[int, ...]
    cut: tuple[int, ...]


def fenced(
    turns: Sequence[Turn], seed: object = 0, cap: int = CAP, blind: bool = True, names: Sequence[str] = ()
) -> Fenced:
    """Turns as a fenced JSON array of {turn, speaker, text}.

    seed: makes the nonce; the same dialogue and seed give the same bytes, so that a cache finds them again. names: to be
    blotted out beside those of known models.
    """
    nonce = digest("fence", seed, *(turn.text for turn in turns))[:16]
    rows, suspicious, cut = [], [], []
    for turn in turns:
        text = shown(turn.text, blind, names)
        if looks_like_order(turn.text) and turn.speaker == "doctor":
            suspicious.append(turn.number)
        if len(text) > cap:
            text = text[:cap] + CUT
            cut.append(turn.number)
        rows.append({"turn": turn.number, "speaker": turn.speaker, "text": text})
    body = json.dumps(rows, ensure_ascii=False, indent=0)
    return Fenced(f"<{_TAG}-{nonce}>\n{body}\n</{_TAG}-{nonce}>", nonce, tuple(suspicious), tuple(cut))


def shown(text: str, blind: bool = True, names: Sequence[str] = ()) -> str:
    """A turn's text as a judge sees it: cleaned, our tag's name broken up, names of models blotted out."""
    text = re.sub(rf"<(\s*/?\s*{_TAG})", r"‹\1", clean(text), flags=re.IGNORECASE)
    if names:
        own = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{own})(?!\w)", "[name]", text, flags=re.IGNORECASE)
    return _MODELS.sub("[name]", text) if blind else text


def looks_like_order(text: str) -> bool:
    """True when a text seems to address whoever grades it: a flag on the record, no penalty."""
    return any(pattern.search(clean(text)) for pattern in _ORDERS)


def quoted(text: str, seed: object = 0) -> str:
    """One text as fenced JSON, for a prompt that must hold another party's words."""
    nonce = digest("fence", seed, text)[:16]
    return f"<said-{nonce}>\n{json.dumps(shown(text, blind=False), ensure_ascii=False)}\n</said-{nonce}>"
