"""A dialogue as data: turns in order, how it ended, and what the doctor concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from medeval.types.errors import DataError

Speaker = Literal["doctor", "patient", "examiner"]
Stop = Literal["doctor_final", "forced_final", "undecided", "silent", "given"]
SPEAKERS: tuple[Speaker, ...] = ("doctor", "patient", "examiner")


@dataclass(frozen=True)
class Turn:
    """One utterance.

    number: from 1, over all speakers. state: what the doctor's question was taken for (patient turns). topics: what it
    was about. relevant: ids of the facts that answer it. released: ids of the facts said. requests: examinations and tests
    asked for (doctor turns). usage: what the call cost, plain numbers. flags: ``forced``, ``final``, ``silent``, ``capped``,
    ``replaced`` (a guarded text was replaced) and the violations that were seen when it was said.
    """

    number: int
    speaker: Speaker
    text: str
    state: str = ""
    topics: tuple[str, ...] = ()
    relevant: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """JSON types; defaults are left out."""
        always = ("number", "speaker", "text")
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name in always or value
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Turn:
        """The turn that ``to_plain`` wrote."""
        known = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
        return cls(**known)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Dialogue:
    """A finished dialogue.

    stop: why it ended: the doctor's own final diagnosis, one that was asked for at the end of the budget, none even then,
    a doctor who said nothing, or given as it is (``given``). diagnoses: ranked, the leading one first.
    """

    turns: tuple[Turn, ...]
    stop: Stop
    diagnoses: tuple[str, ...] = ()

    def of(self, speaker: Speaker) -> list[Turn]:
        """The turns of one speaker."""
        return [turn for turn in self.turns if turn.speaker == speaker]

    @property
    def doctor_text(self) -> str:
        """All that the doctor said."""
        return "\n".join(turn.text for turn in self.of("doctor"))

    @property
    def final(self) -> Turn | None:
        """The doctor's turn with the final diagnosis."""
        return next((turn for turn in reversed(self.turns) if "final" in turn.flags), None)

    def usage(self) -> dict[str, float]:
        """Sums of all turns' usage, by speaker and name: ``doctor.output``."""
        total: dict[str, float] = {}
        for turn in self.turns:
            for name, value in turn.usage.items():
                total[f"{turn.speaker}.{name}"] = total.get(f"{turn.speaker}.{name}", 0) + value
        return total

    def to_plain(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "turns": [turn.to_plain() for turn in self.turns],
            "stop": self.stop,
            "diagnoses": list(self.diagnoses),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Dialogue:
        """The dialogue that ``to_plain`` wrote."""
        return cls(tuple(map(Turn.from_plain, plain["turns"])), plain["stop"], tuple(plain["diagnoses"]))


def numbered(said: Sequence[tuple[str, str]], where: str) -> tuple[Turn, ...]:
    """Turns from (speaker, text) pairs. Raises ``DataError`` naming ``where`` for an unknown speaker."""
    turns = []
    for number, (speaker, text) in enumerate(said, start=1):
        if speaker not in SPEAKERS:
            raise DataError(
                f"{where}, turn {number}: speaker {speaker!r}; expected one of {', '.join(SPEAKERS)}"
            )
        turns.append(Turn(number, speaker, text))
    return tuple(turns)
