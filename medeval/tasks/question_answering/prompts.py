"""What a model is asked: one question with its options in some order, how to answer, and how to say how sure it is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from medeval.datasets.questions import LETTERS
from medeval.llm.messages import Message, Picture, system, user

Confidence = Literal["none", "stated", "logprobs"]
PROMPT = "{context}{question}\n\n{options}\n\n{instruction}"
LETTER = "Answer with the letter of the one best option."
LETTER_REASONED = (
    "Think step by step, then end with a line `Answer: X`, where X is the letter of the one best option."
)
OPEN = "Answer in a few words."
OPEN_REASONED = "Think step by step, then end with a line `Answer: ` and the answer in a few words."
STATED = (
    "Then add a line `Confidence: N%`, where N from 0 to 100 is how probable it is that your answer is right."
)


def shown_order(count: int, shuffle: int, base: Sequence[int] | None) -> tuple[int, ...]:
    """Positions in the file, in the order in which they are shown.

    shuffle: its number; each next one is the last one rotated by one place, so that with as many shuffles as options
    every option stands once at every letter. base: the order of shuffle 0; None is the file's own.
    """
    first = list(range(count)) if base is None else list(base)
    turn = shuffle % count if count else 0
    return tuple(first[turn:] + first[:turn])


def messages_of(
    inputs: Mapping[str, Any],
    order: Sequence[int],
    *,
    prompt: str = PROMPT,
    system_prompt: str = "",
    reasoning: bool = False,
    confidence: Confidence = "none",
) -> list[Message]:
    """The conversation of one question; its pictures stand after the text.

    Placeholders of ``prompt``: context, question, options, instruction; other braces are left alone.
    Raises ``DataError`` for a picture that cannot be read.
    """
    options = [inputs["options"][at] for at in order]
    how = (LETTER_REASONED if reasoning else LETTER) if options else (OPEN_REASONED if reasoning else OPEN)
    parts = {
        "{context}": f"{inputs['context']}\n\n" if inputs.get("context") else "",
        "{question}": inputs["question"],
        "{options}": "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False)),
        "{instruction}": f"{how} {STATED}" if confidence == "stated" else how,
    }
    text = filled(prompt, parts)
    pictures = [Picture.read(path) for path in inputs.get("pictures") or ()]
    return [*([system(system_prompt)] if system_prompt else []), user(text, *pictures)]


def filled(prompt: str, parts: Mapping[str, str]) -> str:
    """The prompt with its placeholders replaced in one pass: braces in a question are not read again."""
    names = "|".join(map(re.escape, parts))
    text = re.sub(names, lambda match: parts[match[0]], prompt)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def letter_probability(raw: Mapping[str, Any], letter: str, shown: int) -> float | None:
    """Probability of the chosen letter by the server's token probabilities, among the letters shown; None without them.

    raw: the body of an OpenAI-like server that was asked for ``logprobs`` (``extra_body: {logprobs: true, top_logprobs: 20}``),
    or what LangChain keeps of it. The last token that is the chosen letter counts; letters that are not among its
    alternatives have probability 0.
    """
    for token in reversed(_tokens(raw)):
        if _bare(token.get("token")) == letter:
            found: dict[str, float] = {letter: math.exp(token["logprob"])}
            for other in token.get("top_logprobs") or []:
                name = _bare(other.get("token"))
                if name != letter and len(name) == 1 and name in LETTERS[:shown]:
                    found[name] = found.get(name, 0.0) + math.exp(other["logprob"])
            return found[letter] / sum(found.values())
    return None


def _tokens(raw: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The tokens of a body with their log probabilities; () where there are none."""
    try:
        holder = raw["choices"][0] if "choices" in raw else raw["response_metadata"]
        return holder["logprobs"]["content"] or ()
    except (KeyError, IndexError, TypeError):
        return ()


def _bare(token: Any) -> str:
    return str(token or "").strip(" \n()[]*.:\"'`")


def check_prompt(prompt: str) -> str:
    """The prompt. Raises ``ValueError`` when it leaves out the question or its options."""
    missing = [name for name in ("{question}", "{options}") if name not in prompt]
    if missing:
        raise ValueError(f"the prompt lacks {' and '.join(missing)}; its default is {PROMPT!r}")
    return prompt
