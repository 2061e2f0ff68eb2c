"""What a judge says of an item, with its evidence; whoever the judge is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.rubric import CriteriaRubric, ItemRubric
from medeval.dialogue.text import fold
from medeval.dialogue.turns import Dialogue


@dataclass(frozen=True)
class Evidence:
    """A quoted turn. found: the turn exists and, where there is a quote, holds it (whitespace and case aside)."""

    turn: int
    quote: str = ""
    found: bool = True


@dataclass(frozen=True)
class Rating:
    """One judge's score of one item.

    score: on the item's scale (0 or 1 for a criterion), None when there is none. na: not applicable, by the rule in
    ``reason``. error: why the judge failed; never the doctor's failure. judge: its name in the panel.
    """

    item: str
    score: float | None = None
    na: bool = False
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    error: str = ""
    judge: str = ""

    @property
    def unsupported(self) -> int:
        """Pieces of evidence that are not in the dialogue."""
        return sum(not piece.found for piece in self.evidence)

    def to_plain(self) -> dict[str, Any]:
        """JSON types; defaults are left out."""
        plain = asdict(self)
        plain["evidence"] = [asdict(piece) for piece in self.evidence]
        return {name: value for name, value in plain.items() if value not in (None, "", False, [])}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Rating:
        """The rating that ``to_plain`` wrote."""
        evidence = tuple(Evidence(**piece) for piece in plain.get("evidence", ()))
        return cls(**{**plain, "evidence": evidence})


@dataclass(frozen=True)
class Sheet:
    """All ratings of one dialogue by one judge. flags: ``suspicious turn 3`` and the like. usage: what it cost."""

    ratings: tuple[Rating, ...]
    flags: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """JSON types."""
        ratings = [rating.to_plain() for rating in self.ratings]
        return {"ratings": ratings, "flags": list(self.flags), "usage": dict(self.usage)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Sheet:
        """The sheet that ``to_plain`` wrote."""
        return cls(tuple(map(Rating.from_plain, plain["ratings"])), tuple(plain["flags"]), plain["usage"])


class Judge(Protocol):
    """Who rates a finished dialogue. name: its name in a panel."""

    name: str

    async def rate(
        self, rubric: ItemRubric | CriteriaRubric, dialogue: Dialogue, case: PatientCase, sample: int = 0
    ) -> Sheet: ...


def verified(turn: int, quote: str, dialogue: Dialogue, speaker: str = "") -> Evidence:
    """A piece of evidence, checked against the dialogue: the turn exists (and is the speaker's), the quote stands in it."""
    said = next((t for t in dialogue.turns if t.number == turn), None)
    wanted = fold(quote).strip(" .…\"'“”")
    found = said is not None and (not speaker or said.speaker == speaker) and wanted in fold(said.text)
    return Evidence(turn, quote, found)


def cited(turns: Sequence[int]) -> tuple[Evidence, ...]:
    """Evidence by turn number, for rules that read the dialogue themselves."""
    return tuple(Evidence(turn) for turn in dict.fromkeys(turns))
