"""What the patient gave away, when, and what it cost in questions: the information-release ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.turns import Dialogue


@dataclass(frozen=True)
class Entry:
    """One patient turn. new: facts said for the first time. again: facts said before. relevant: facts that were asked for."""

    turn: int
    state: str
    topics: tuple[str, ...]
    relevant: tuple[str, ...]
    new: tuple[str, ...]
    again: tuple[str, ...]


@dataclass(frozen=True)
class Ledger:
    """Sums over a dialogue; NaN where a share has no denominator.

    coverage: weight of the facts elicited over the weight of all. opening: share of the facts said in the first answer.
    efficiency: facts elicited a doctor question turn. redundancy: share of question turns that brought nothing new though
    they were about known facts. by_category: coverage of each category. Tests and examinations are counted apart.
    """

    entries: tuple[Entry, ...]
    coverage: float
    opening: float
    efficiency: float
    redundancy: float
    by_category: dict[str, float]
    measured: tuple[str, ...]
    not_available: int


def ledger(dialogue: Dialogue, case: PatientCase) -> Ledger:
    """The ledger of a dialogue that kept what it released."""
    known: set[str] = set()
    entries = []
    for turn in dialogue.of("patient"):
        new = tuple(name for name in turn.released if name not in known)
        again = tuple(name for name in turn.released if name in known)
        known |= set(new)
        if turn.state:
            entries.append(Entry(turn.number, turn.state, turn.topics, turn.relevant, new, again))
    facts = case.patient_view.facts
    asked = [entry for entry in entries if entry.state in ("specific", "open")]
    redundant = [entry for entry in asked if entry.relevant and not entry.new]
    categories = dict.fromkeys(fact.category for fact in facts)
    return Ledger(
        tuple(entries),
        _share(sum(f.weight for f in facts if f.id in known), sum(f.weight for f in facts)),
        _share(len(entries[0].new) if entries else 0, len(facts)),
        _share(len(known), len(asked)),
        _share(len(redundant), len(asked)),
        {c: _share(sum(f.weight for f in facts if f.category == c and f.id in known),
                   sum(f.weight for f in facts if f.category == c)) for c in categories},
        tuple(dict.fromkeys(name for turn in dialogue.of("examiner") for name in turn.released)),
        sum("not_available" in turn.flags for turn in dialogue.of("examiner")),
    )  # fmt: skip


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
