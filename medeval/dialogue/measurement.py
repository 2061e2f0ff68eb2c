"""The measurement agent: answers requests for examinations and tests from the case, and never invents a normal result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from medeval.dialogue.cases import Finding, MeasurementView
from medeval.dialogue.chat import Chat, message, object_of
from medeval.dialogue.text import fold, stems
from medeval.dialogue.turns import Turn

NOT_AVAILABLE = "not available"
_REQUEST = re.compile(r"^[\s*_>#-]*REQUEST(?:ED)?\s+(?:TESTS?|EXAM(?:INATION)?S?|IMAGES?)\s*[:\-]?[\s*_]*(.+?)[\s*_.]*$", re.IGNORECASE | re.MULTILINE)  # fmt: skip
_SYNONYMS = {
    "xray": "radiograph", "ecg": "electrocardiogram", "ekg": "electrocardiogram", "cbc": "blood count", "us": "ultrasound",
    "sonography": "ultrasound", "ultrasonography": "ultrasound", "mri": "magnetic resonance", "ct": "computed tomography",
    "bp": "blood pressure", "vitals": "vital signs", "eeg": "electroencephalogram", "bmp": "metabolic panel", "lp": "lumbar puncture",
    "csf": "cerebrospinal fluid", "echo": "echocardiogram", "fbc": "blood count", "urinalysis": "urine", "ultrasonogram": "ultrasound", "thorax": "chest",
    "thoracic": "chest", "abdominal": "abdomen", "cxr": "chest radiograph", "hemogram": "blood count",
}  # fmt: skip
_VAGUE = frozenset(
    stems(
        "test tests the a an of and or for please full complete physical examination exam study level levels panel imaging result results blood scan"
    )
)


class Examiner(Protocol):
    """Who answers requests for examinations and tests."""

    async def answer(self, requests: Sequence[str], number: int) -> Turn: ...


def requests_of(text: str) -> tuple[str, ...]:
    """What a doctor's turn requests by lines ``REQUEST TEST: name`` (or ``REQUEST EXAM:``); several by semicolon."""
    return tuple(
        part.strip() for found in _REQUEST.findall(text) for part in found.split(";") if part.strip()
    )


class LookupExaminer:
    """Finds the entry whose name shares most with the request; what the case does not hold is ``not available``."""

    def __init__(self, view: MeasurementView) -> None:
        self.view = view
        self._entries = {**view.examination, **view.tests}

    async def answer(self, requests: Sequence[str], number: int) -> Turn:
        """One turn with all results. flags: ``not_available`` when something asked for is not in the case."""
        lines, released, flags = [], [], []
        for request in requests:
            names = self.find(request)
            released += names
            lines += [f"{name}: {self._entries[name].result}" for name in names]
            if not names:
                lines.append(f"{request}: {NOT_AVAILABLE}")
                flags.append("not_available")
        text = "RESULTS\n" + "\n".join(dict.fromkeys(lines))
        return Turn(
            number,
            "examiner",
            text,
            released=tuple(dict.fromkeys(released)),
            flags=tuple(dict.fromkeys(flags)),
        )

    def find(self, request: str) -> list[str]:
        """Names of the entries that a request means: those under the best matching name; [] when none matches."""
        wanted = _key_terms(request)
        if not wanted:
            broad = {"physical", "examination", "exam"} & set(fold(request).split())
            return list(self.view.examination) if broad else []
        scores = {name: self._score(wanted, name, entry) for name, entry in self._entries.items()}
        best = max(scores.values(), default=0.0)
        return [name for name, score in scores.items() if score == best] if best > 0 else []

    @staticmethod
    def _score(wanted: frozenset[str], name: str, entry: Finding) -> float:
        """Share of the request's terms that one of the entry's names holds, and of the entry's that the request holds."""
        best = 0.0
        for known in (name, *entry.also):
            parts = [_key_terms(part) for part in known.split(" / ")]
            held = frozenset().union(*parts)
            shared = len(wanted & held)
            if shared and (shared == len(wanted) or any(part and part <= wanted for part in parts)):
                best = max(best, shared / len(wanted))
        return best


class Meant(BaseModel):
    """Names of the entries that a request means."""

    model_config = ConfigDict(extra="forbid")

    entries: list[str]


class ChatExaminer(LookupExaminer):
    """A model chooses which entries a request means; results are always the case's own words."""

    def __init__(self, view: MeasurementView, chat: Chat) -> None:
        super().__init__(view)
        self._chat = chat

    async def answer(self, requests: Sequence[str], number: int) -> Turn:
        """As ``LookupExaminer``; words are asked first, the model only where they find nothing."""
        lines, released, flags = [], [], []
        for request in requests:
            names = self.find(request) or await self._ask(request)
            released += names
            lines += [f"{name}: {self._entries[name].result}" for name in names] or [
                f"{request}: {NOT_AVAILABLE}"
            ]
            flags += [] if names else ["not_available"]
        text = "RESULTS\n" + "\n".join(dict.fromkeys(lines))
        return Turn(
            number,
            "examiner",
            text,
            released=tuple(dict.fromkeys(released)),
            flags=tuple(dict.fromkeys(flags)),
        )

    async def _ask(self, request: str) -> list[str]:
        names = list(self._entries)
        if not names:
            return []
        told = (
            "A clinician requests an examination or a test. Which entries of this list does the request mean? "
            f"Answer with an empty list when none does.\n\nEntries: {names}"
        )
        asked = [message("system", told), message("user", request)]
        chosen, _ = await object_of(self._chat, asked, Meant, "measurement agent")
        return [name for name in names if name in chosen.entries]


def _key_terms(text: str) -> frozenset[str]:
    parts = fold(text).replace("x-ray", "xray").replace("x ray", "xray").replace("/", " ").replace("-", " ")
    spelled = " ".join(_SYNONYMS.get(word.strip("().,:"), word) for word in parts.split())
    return frozenset(stems(spelled)) - _VAGUE
