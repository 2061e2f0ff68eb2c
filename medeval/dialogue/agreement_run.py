"""What a run's records say of the measurer: judges' ratings, the same judge again, the same patient again, the simulator's conduct.

Works on the frame of ``Run.records()``. Dialogues are named by a hash, so that a sheet tells a rater neither model nor sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.dialogue.agreement import PANEL
from medeval.dialogue.agreement_sheets import Mark
from medeval.dialogue.guards import KINDS
from medeval.dialogue.text import fold, words
from medeval.dialogue.turns import Turn
from medeval.statistics import Resamples
from medeval.types.errors import RunError
from medeval.types.seeds import digest

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("case", "structure", "sample", "transcript", "judges", "raw")
_IDENTITY = ("task", "dataset", "model", "arm", "seed", "case", "sample")
AGAIN = " / sample "


@dataclass(frozen=True)
class Held:
    """One dialogue of a run. id: hash of all that names it. said: [(number, speaker, text)]."""

    id: str
    case: str
    patient: str
    model: str
    sample: int
    said: tuple[tuple[int, str, str], ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The dialogue's turns."""
        return tuple(Turn(number, speaker, text) for number, speaker, text in self.said)  # type: ignore[arg-type]


def check_frame(frame: pd.DataFrame, where: str) -> None:
    """Raises ``RunError`` unless the records are of dialogues."""
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing or not frame["transcript"].notna().any():
        raise RunError(
            f"{where}: holds no judged dialogues (no {missing[0] if missing else 'transcript'!r} in its records)"
        )


def dialogues(frame: pd.DataFrame) -> list[Held]:
    """Every dialogue that was held, in order of its hash: no order of models or cases shows."""
    held = []
    for row in _rows(frame[frame["transcript"].notna()]):
        said = tuple((int(n), str(who), str(text)) for n, who, text in json.loads(row["transcript"]))
        held.append(
            Held(_id(row), str(row["case"]), _patient(row), str(row["model"]), int(row["sample"]), said)
        )
    return sorted(held, key=lambda one: one.id)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _id(row: Mapping[str, Any]) -> str:
    return f"d-{digest('dialogue', *(row[name] for name in _IDENTITY))[:12]}"


def _patient(row: Mapping[str, Any]) -> str:
    known = row.get("patient")
    return f"{row['dataset']}: {known if isinstance(known, str) and known else row['case']}"


def judge_marks(frame: pd.DataFrame) -> tuple[list[Mark], dict[str, list[str]]]:
    """(ratings by judges, judge -> the raters that are its samples).

    Each judge is a rater by its name, with its mean where it rated several times; its samples are then raters
    ``NAME / sample K`` too. Several judges together are the rater ``panel``, with the panel's outcome.
    """
    marks: list[Mark] = []
    judges: dict[str, dict[str, None]] = {}
    for row in _rows(frame[frame["judges"].notna()]):
        dialogue, item, patient = _id(row), str(row["structure"]), _patient(row)
        by_judge: dict[str, list[Mapping[str, Any]]] = {}
        for rating in json.loads(row["judges"]):
            by_judge.setdefault(str(rating.get("judge", "judge")), []).append(rating)
        for judge, ratings in by_judge.items():
            scores = [r["score"] for r in ratings if r.get("score") is not None]
            na = not scores and any(r.get("na") for r in ratings)
            marks.append(Mark(dialogue, item, judge, float(np.mean(scores)) if scores else None, na, patient))
            names = [f"{judge}{AGAIN}{n}" for n in range(1, len(ratings) + 1)] if len(ratings) > 1 else []
            judges.setdefault(judge, {}).update(dict.fromkeys(names or [judge]))
            marks += [
                Mark(dialogue, item, name, r.get("score"), bool(r.get("na")), patient)
                for name, r in zip(names, ratings, strict=bool(names))
            ]
        if len(by_judge) > 1:
            raw = row["raw"]
            judges.setdefault(PANEL, {PANEL: None})
            marks.append(
                Mark(dialogue, item, PANEL, None if raw is None or raw != raw else float(raw), False, patient)
            )
    return marks, {judge: list(names) for judge, names in judges.items()}


@dataclass(frozen=True)
class Rate:
    """A share or rate with its interval over patients. n: what it is a share of, in ``of``."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    of: str
    patients: int
    model: str = ""
    note: str = ""


def patient_again(frame: pd.DataFrame, count: int = 2000, seed: int = 0) -> list[Rate]:
    """The same questions to the same patient again: how often it answers in the same words, and how alike its words are.

    Two samples of a case by one model are compared turn by turn as long as the doctor said the same (case and spaces aside):
    later turns depend on earlier ones. Likeness is the F1 of words. Empty where no two samples share a question.
    """
    talks: dict[tuple[str, str, str], list[Held]] = {}
    for held in dialogues(frame):
        talks.setdefault((held.model, held.patient, held.case), []).append(held)
    same, alike, owners = [], [], []
    for (_, patient, _), samples in talks.items():
        for first, second in combinations(sorted(samples, key=lambda held: held.sample), 2):
            for a, b in _answers(first, second):
                same.append(float(fold(a) == fold(b)))
                alike.append(_likeness(a, b))
                owners.append(patient)
    if not owners:
        return []
    ones = np.ones(len(owners))
    return [
        _rate("the same words", np.array(same), ones, owners, "pairs of answers", count, seed),
        _rate("likeness of words", np.array(alike), ones, owners, "pairs of answers", count, seed),
    ]


def _answers(first: Held, second: Held) -> Iterator[tuple[str, str]]:
    """The patient's answers of both dialogues to questions that are the same from the beginning on."""
    asked = False
    for (_, who, a), (_, other, b) in zip(first.said, second.said, strict=False):
        if who != other or (who == "doctor" and fold(a) != fold(b)):
            return
        asked = asked or who == "doctor"
        if who == "patient" and asked:
            yield a, b


def _likeness(a: str, b: str) -> float:
    left, right = list(words(a)), list(words(b))
    if not left or not right:
        return float(left == right)
    shared = sum(min(left.count(word), right.count(word)) for word in set(left))
    return 2 * shared / (len(left) + len(right))


def fidelity(frame: pd.DataFrame, count: int = 2000, seed: int = 0) -> list[Rate]:
    """The simulated patient's violations per 100 of its turns, over all dialogues and for each model.

    Kinds: the diagnosis leaked, facts told unasked, facts invented, facts contradicted, the role left.
    """
    kept = frame[frame["transcript"].notna() & frame["patient_turns"].notna()]
    rows = _rows(kept)
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    groups = [
        ("", rows),
        *((m, [r for r in rows if str(r["model"]) == m]) for m in models if len(models) > 1),
    ]
    return [
        _rate(kind.replace("_", " "), 100 * _floats(part, kind), _floats(part, "patient_turns"),
              [_patient(row) for row in part], "patient turns", count, seed, model)
        for model, part in groups
        for kind in KINDS
        if part
    ]  # fmt: skip


def _floats(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([float(row[name]) for row in rows])


def _rate(
    name: str,
    top: NDArray,
    bottom: NDArray,
    owners: Sequence[str],
    of: str,
    count: int,
    seed: int,
    model: str = "",
) -> Rate:
    """sum(top) / sum(bottom), patients resampled.

    Where nothing was seen, resampling would give [0, 0]; the exact bound on the share of patients stands in its place.
    """
    total = float(bottom.sum())
    clusters = Resamples("conduct", list(owners), count, seed)
    patients = len(clusters.clusters)
    value = float(top.sum()) / total if total else None
    if not value or patients < 2:
        bound = 1 - 0.025 ** (1 / patients)
        note = (
            f"none in {patients} patients: at most {bound:.1%} of patients (exact, 97.5%)"
            if value == 0
            else ""
        )
        return Rate(name, value, None, None, int(total), of, patients, model, note)
    drawn = np.concatenate(list(clusters.blocks()))[:, clusters.codes(owners)].astype(np.float64)
    below = drawn @ bottom
    draws = (drawn @ top)[below > 0] / below[below > 0]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Rate(name, value, float(low), float(high), int(total), of, patients, model)


@dataclass(frozen=True)
class Corrected:
    """A judge's mean of an item over all of its dialogues, and what people's ratings of a part make of it."""

    item: str
    judge: str
    n: int
    labelled: int
    mean: float
    corrected: float
    low: float | None
    high: float | None


def corrected_means(
    marks: Sequence[Mark], judges: Sequence[str], count: int = 2000, seed: int = 0
) -> list[Corrected]:
    """Prediction-powered means: the judge's mean over all dialogues plus the mean of (people - judge) over those rated.

    People's ratings of a dialogue are averaged. Angelopoulos et al. 2023; intervals resample patients over both parts.
    """
    owner = {
        m.dialogue: m.patient or f"dialogue {m.dialogue}" for m in sorted(marks, key=lambda m: m.patient)
    }
    people: dict[tuple[str, str], list[float]] = {}
    machine: dict[tuple[str, str], dict[str, float]] = {}
    for mark in marks:
        if mark.score is None:
            continue
        if mark.rater in judges:
            machine.setdefault((mark.rater, mark.item), {})[mark.dialogue] = mark.score
        elif AGAIN not in mark.rater:
            people.setdefault((mark.item, mark.dialogue), []).append(mark.score)
    found = []
    for (judge, item), scores in machine.items():
        names = list(scores)
        rated = np.array([(item, name) in people for name in names])
        if rated.any():
            own = np.array(list(scores.values()))
            theirs = np.array([np.mean(people.get((item, name), [0.0])) for name in names])
            found.append(
                _corrected(item, judge, own, theirs, rated, [owner[name] for name in names], count, seed)
            )
    return found


def _corrected(
    item: str,
    judge: str,
    own: NDArray,
    theirs: NDArray,
    rated: NDArray[np.bool_],
    owners: Sequence[str],
    count: int,
    seed: int,
) -> Corrected:
    clusters = Resamples("corrected", list(owners), count, seed)
    drawn = np.concatenate(list(clusters.blocks()))[:, clusters.codes(owners)].astype(np.float64)
    gap = np.where(rated, theirs - own, 0.0)
    labels = drawn @ rated
    draws = ((drawn @ own) / drawn.sum(axis=1))[labels > 0] + ((drawn @ gap)[labels > 0] / labels[labels > 0])
    enough = len({o for o, r in zip(owners, rated, strict=True) if r}) > 1
    low, high = np.quantile(draws, [0.025, 0.975]) if enough else (None, None)
    mean = float(own.mean())
    return Corrected(item, judge, len(own), int(rated.sum()), mean, mean + float(gap[rated].mean()),
                     None if low is None else float(low), None if high is None else float(high))  # fmt: skip
