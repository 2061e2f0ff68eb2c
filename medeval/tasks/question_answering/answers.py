"""What a reply answers: the letter, the open answer and the stated confidence, each by one stated rule.

The rule for letters, in this order; a step that finds nothing hands over to the next:

1. The last explicit statement: ``Answer: B``, ``the answer is (B)``, ``\\boxed{B}``, ``"answer": "B"``. Markdown around it is
   ignored. A lower-case letter counts only after a colon or in brackets, and a bare ``A`` or ``I`` that goes on as a sentence
   ("the answer is A patient ...") is a word, no letter.
2. The whole reply (or its last line) is a letter, with or without its option's text: ``B``, ``b``, ``(B)``, ``B. Aspirin``.
3. The whole reply, its last line, or what stands after the answer's mark is the text of exactly one option.
4. Exactly one letter stands anywhere in brackets or after "option": ``(B)``, ``option B``, and is not denied there.

A statement that names several letters (``Answer: A or B``) is no answer: ``several answers``. Else it is ``no answer given``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medeval.datasets.questions import LETTERS
from medeval.dialogue.text import clean, fold

NONE, SEVERAL = "no answer given", "several answers"
_MARKUP = re.compile(r"[*_`$]|\\text(?:bf)?\s*(?=\{)")
_AFTER = r"(?=\s*(?:$|[)\].,:;!?}\"'|/–—-]|\n|(?:because|since|as it|as the|for the|and|or)\b))"
_ANSWER = r"(?:final\s+answer|correct\s+(?:answer|option|choice)|best\s+(?:answer|option|choice)|answer|my\s+choice)"
_STATED = re.compile(
    rf"\b{_ANSWER}\b[\"']?(?:\s+(?:is|would\s+be|must\s+be))?(?:\s+(?:option|choice|letter))?\s*"
    rf"(?::\s*[\"'(\[{{]*\s*(?:option\s+)?(?P<colon>[A-Ja-j])\b|[\"'(\[{{]+\s*(?P<bracket>[A-Ja-j])\s*[\"')\]}}]|(?P<bare>[A-J])\b)"
    r"(?P<rest>[^\n]*)",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\s*\{+\s*(?:\\?text\w*\s*\{)?\s*\(?(?P<colon>[A-Ja-j])\)?\s*\}+(?P<rest>)")
_ALONE = re.compile(r"^[(\[{\"']*(?P<letter>[A-J])[)\]}\"']*(?P<rest>[.):,]?\s*.*)$", re.DOTALL)
_MENTION = re.compile(r"(?:\b[Oo]ption\s+|\b[Cc]hoice\s+|\()(?P<letter>[A-J])(?=\)|\b)")
_DENIED = re.compile(
    r"\b(?:not|isn't|rather than|exclud\w*|rules? out|unlike|incorrect\w*|wrong)\b[^.;\n]{0,20}$",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"^\s*[)\]}\"']*\s*(?:,|/|&|\+|\band\b|\bor\b)+\s*(?:option\s+)?[(\[\"']*([A-J])(?![A-Za-z])"
)
_MARK = re.compile(rf"\b{_ANSWER}\b\s*(?:is)?\s*:\s*(?P<text>[^\n]+)", re.IGNORECASE)
_CONFIDENCE = re.compile(
    r"\b(?:confidence|certainty|probability)\b[^\d\n]{0,40}?(?P<number>\d+(?:[.,]\d+)?)\s*(?P<unit>%|percent|/\s*100?\b)?",
    re.IGNORECASE,
)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NUMBERS = {
    word: str(n)
    for n, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}


@dataclass(frozen=True)
class Found:
    """position: of the chosen letter as it was shown, None where ``why`` says that there is none."""

    position: int | None
    why: str = ""


def letter_of(reply: str, options: Sequence[str]) -> Found:
    """The chosen option of a reply. options: texts in the order in which they were shown."""
    text = _MARKUP.sub("", clean(reply)).strip()
    stated = _stated(text, options)
    if stated is not None:
        return stated
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not _CONFIDENCE.match(line.strip())
    ]
    whole = "\n".join(lines)
    tails = [part for part in dict.fromkeys([whole, lines[-1] if lines else ""]) if part]
    for part in tails:
        if (alone := _alone(part, options)) is not None:
            return alone
    marked = [match["text"] for match in _MARK.finditer(text)][-1:]
    for part in [*marked, *tails]:
        if (at := _option_text(part, options)) is not None:
            return Found(at)
    return _only_mention(text, len(options))


def _stated(text: str, options: Sequence[str]) -> Found | None:
    """The last explicit statement, or None."""
    matches = sorted([*_STATED.finditer(text), *_BOXED.finditer(text)], key=lambda m: m.start())
    for match in reversed(matches):
        groups: dict[str, str] = {name: text or "" for name, text in match.groupdict().items()}
        letter = groups["colon"] or groups.get("bracket") or groups["bare"]
        at = LETTERS.index(letter.upper())
        if at >= len(options) or not _is_letter(letter, groups["rest"], options[at]):
            continue
        if groups.get("bare") and not letter.isupper():
            continue
        others = _others(groups["rest"], len(options), letter)
        return Found(None, SEVERAL) if others else Found(at)
    return None


def _is_letter(letter: str, rest: str, option: str) -> bool:
    """False for an article or pronoun: a letter that goes on as a sentence which is not its option's text."""
    if letter.upper() not in "AI" or re.match(_AFTER, rest):
        return True
    return fold(rest).lstrip(".):, ").startswith(fold(option)[:40])


def _others(rest: str, count: int, letter: str) -> bool:
    """True when a statement goes on with another letter: ``A or B``."""
    while match := _MORE.match(rest):
        if LETTERS.index(match[1]) < count and match[1] != letter.upper():
            return True
        rest = rest[match.end() :]
    return False


def _alone(part: str, options: Sequence[str]) -> Found | None:
    """A part that is a letter, perhaps with its option's text behind it."""
    match = _ALONE.match(part.upper() if len(part) == 1 else part)
    if match is None or (at := LETTERS.index(match["letter"])) >= len(options):
        return None
    if _others(match["rest"], len(options), match["letter"]):
        return Found(None, SEVERAL)
    rest = match["rest"].strip(" .):,]\n")
    if not rest or fold(rest).strip(" .") == fold(options[at]).strip(" ."):
        return Found(at)
    return Found(at) if re.match(r"[.):]\s", match["rest"]) and "\n" not in part else None


def _option_text(part: str, options: Sequence[str]) -> int | None:
    """Position of the one option whose text this is; None when there is none."""
    said = fold(part).strip(" .!\"'")
    same = [at for at, option in enumerate(options) if fold(option).strip(" .!\"'") == said]
    return same[0] if len(same) == 1 else None


def _only_mention(text: str, count: int) -> Found:
    found = {
        match["letter"]
        for match in _MENTION.finditer(text)
        if LETTERS.index(match["letter"]) < count and not _DENIED.search(text[: match.start()])
    }
    if len(found) == 1:
        return Found(LETTERS.index(found.pop()))
    return Found(None, SEVERAL if found else NONE)


def open_answer(reply: str) -> str:
    """The answer to an open question: what stands after the last ``Answer:``, else the whole reply without its confidence."""
    text = _MARKUP.sub("", clean(reply)).strip()
    if marked := [match["text"] for match in _MARK.finditer(text)]:
        return marked[-1].strip()
    return "\n".join(line for line in text.splitlines() if not _CONFIDENCE.match(line.strip())).strip()


def normalised(text: str) -> str:
    """For exact match, as VQA scores do: case, accents, articles and punctuation folded, number words as digits.

    Points and commas inside numbers stay: 7.4 is not 74.
    """
    folded = _ARTICLES.sub(" ", fold(text))
    folded = re.sub(
        r"(?<!\d)[.,](?!\d)|(?<=\d)[.,](?!\d)|(?<!\d)[.,](?=\d)|[^\w\s.,%/+-]|(?<!\w)-|-(?!\w)", " ", folded
    )
    return " ".join(_NUMBERS.get(word, word) for word in folded.split())


def exactly(answer: str, accepted: Sequence[str]) -> bool:
    """True when the answer is one of the accepted ones after normalisation; yes/no questions go by the first word."""
    said, right = normalised(answer), {normalised(text) for text in accepted}
    if right <= {"yes", "no", "maybe"}:
        return said.split(" ")[0] in right
    return said in right


def confidence_of(reply: str) -> float | None:
    """The last stated confidence, in [0, 1]; None where there is none, or it lies outside.

    A number with % (or "percent", "/100") or above 1 is a percentage; ``/10`` a tenth; any number with a decimal point up
    to 1 is a probability; a bare 1 is 1 %, for percentages were asked for.
    """
    matches = list(_CONFIDENCE.finditer(_MARKUP.sub("", clean(reply))))
    if not matches:
        return None
    digits, unit = matches[-1]["number"].replace(",", "."), re.sub(r"\s", "", matches[-1]["unit"] or "")
    number = float(digits)
    scale = 10.0 if unit == "/10" else 1.0 if not unit and "." in digits and number <= 1 else 100.0
    share = number / scale
    return share if 0 <= share <= 1 else None
