"""How the judges themselves did: how far each lies from the others, what it says twice, what it quotes, and what length buys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.dialogue.rubric import ItemRubric
from medeval.metrics.rubric import RubricMetric
from medeval.statistics import Resamples, clusters, estimate
from medeval.tasks.mini_cex.records import TOTAL
from medeval.tasks.summary import CellEvidence
from medeval.types.views import Column, Table

if TYPE_CHECKING:
    from medeval.tasks.mini_cex.task import MiniCex


@dataclass(frozen=True)
class Given:
    """One item of one dialogue as one judge rated it. scores: of its samples, in [0, 1], 1 the best."""

    patient: str
    dialogue: tuple[str, str, int]
    item: str
    judge: str
    scores: tuple[float, ...]
    failed: int
    evidence: int
    unsupported: int


def ratings_of(task: MiniCex, cell: CellEvidence) -> list[Given]:
    """Every judge's ratings of a cell's items, its samples together."""
    frame = cell.frame[cell.frame["judges"].notna()]
    patients = clusters(frame["patient"].tolist(), frame["case"].tolist())
    columns = (frame[name].tolist() for name in ("case", "sample", "structure", "judges"))
    found = []
    for case, sample, item, told, patient in zip(*columns, patients, strict=True):
        by_judge: dict[str, list[Mapping[str, Any]]] = {}
        for rating in json.loads(told):
            by_judge.setdefault(rating.get("judge", "judge"), []).append(rating)
        for judge, ratings in by_judge.items():
            scores = tuple(_unit(task, item, r["score"]) for r in ratings if "score" in r)
            counts = [sum(r.get(name, 0) for r in ratings) for name in ("evidence", "unsupported")]
            found.append(Given(str(patient), (cell.model, case, sample), item, judge, scores,
                               sum("error" in r for r in ratings), *counts))  # fmt: skip
    return found


def _unit(task: MiniCex, item: str, score: float) -> float:
    rubric = task.loaded
    return rubric.by_id[item].unit(score) if isinstance(rubric, ItemRubric) else float(score)


def judge_table(task: MiniCex, dataset: str, given: Sequence[Given], resamples: Resamples) -> Table | None:
    """One row a judge; None where one judge rated once, about which nothing can be told."""
    judges = list(dict.fromkeys(g.judge for g in given))
    repeated = any(len(g.scores) > 1 for g in given)
    if (
        len(judges) < 2
        and not repeated
        and not any(g.failed or g.evidence for g in given if g.judge != "rules")
    ):
        return None
    others = _means(given)
    rows = []
    for judge in judges:
        mine = [g for g in given if g.judge == judge]
        again = [g for g in mine if len(g.scores) > 1]
        quotes = sum(g.evidence for g in mine)
        rows.append({
            "judge": judge, "ratings": sum(len(g.scores) for g in mine),
            "mean": _interval([(g.patient, float(np.mean(g.scores))) for g in mine if g.scores], resamples),
            "bias": _interval(_against(mine, others), resamples),
            "apart": _interval([(p, abs(d)) for p, d in _against(mine, others)], resamples),
            "same": _interval([(g.patient, float(len(set(g.scores)) == 1)) for g in again], resamples),
            "retest": _interval([(g.patient, max(g.scores) - min(g.scores)) for g in again], resamples),
            "unsupported": sum(g.unsupported for g in mine) / quotes if quotes else None,
            "failed": sum(g.failed for g in mine),
        })  # fmt: skip
    note = "scores in [0, 1], 1 the best; agreement with clinicians is measured by `medeval agreement`"
    return Table(f"The judges of {task.label} on {dataset}", _COLUMNS, rows, note)


_COLUMNS = [
    Column("judge"),
    Column("ratings", "ratings", "integer"),
    Column("mean", "mean score", "interval", "over items and dialogues"),
    Column(
        "bias",
        "bias",
        "interval",
        "its score minus the mean of the other judges' on the same item; above 0 is lenient",
    ),
    Column("apart", "distance", "interval", "mean absolute difference to the other judges", "lower"),
    Column("same", "same again", "interval", "share of items that all its samples score alike", "higher"),
    Column("retest", "retest spread", "interval", "highest minus lowest of its own samples", "lower"),
    Column("unsupported", "unsupported", "number", "share of its quotes that are not in the dialogue"),
    Column("failed", "failed", "integer", "ratings that it did not give"),
]


def _means(given: Sequence[Given]) -> dict[tuple[Any, ...], dict[str, float]]:
    """(dialogue, item) -> judge -> mean of its samples."""
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    for g in given:
        if g.scores:
            found.setdefault((g.dialogue, g.item), {})[g.judge] = float(np.mean(g.scores))
    return found


def _against(
    mine: Sequence[Given], means: Mapping[tuple[Any, ...], Mapping[str, float]]
) -> list[tuple[str, float]]:
    """(patient, own score minus the mean of the others') of every item that others rated too."""
    found = []
    for g in mine:
        rest = [score for judge, score in means.get((g.dialogue, g.item), {}).items() if judge != g.judge]
        if rest and g.scores:
            found.append((g.patient, float(np.mean(g.scores)) - float(np.mean(rest))))
    return found


def _interval(values: Sequence[tuple[str, float]], resamples: Resamples) -> dict[str, Any] | None:
    if not values:
        return None
    patients, numbers = zip(*values, strict=True)
    found = estimate(RubricMetric(), {"value": np.array(numbers)}, list(patients), resamples).as_dict()
    return {key: found[key] for key in ("value", "low", "high", "n", "patients", "note")}


# -- length -----------------------------------------------------------------------------------------------------


def lengths_of(cell: CellEvidence) -> list[tuple[str, str, str, float, float]]:
    """(model, case, patient, doctor's words, total) of every scored dialogue."""
    frame = cell.frame
    talks = frame[(frame["structure"] == TOTAL) & frame["words"].notna() & frame["rubric"].notna()]
    patients = clusters(talks["patient"].tolist(), talks["case"].tolist())
    columns = (talks[name].tolist() for name in ("case", "words", "rubric"))
    return [
        (cell.model, case, str(patient), float(words), float(total))
        for case, words, total, patient in zip(*columns, patients, strict=True)
    ]


def length_table(
    task: MiniCex,
    dataset: str,
    talks: Sequence[tuple[str, str, str, float, float]],
    resamples: Resamples,
) -> Table:
    """Correlation of score and length: within each model, and over all with each case's mean taken out of both."""
    groups = {model: [t for t in talks if t[0] == model] for model in dict.fromkeys(t[0] for t in talks)}
    rows = [{"dialogues of": name, **_length_row(mine, resamples, centred=False)} for name, mine in groups.items()]  # fmt: skip
    if len(groups) > 1:
        rows.append(
            {"dialogues of": "all models, within a case", **_length_row(talks, resamples, centred=True)}
        )
    columns = [
        Column("dialogues of"),
        Column("words", "words", "number", "of the doctor, mean"),
        Column(
            "r",
            "correlation of score and length",
            "interval",
            "Pearson; above 0: longer dialogues score higher",
        ),
    ]
    note = "a high correlation is no proof of a bias of the judge: asking more is also better; compare models of equal length"
    return Table(f"Score against length: {task.label} on {dataset}", columns, rows, note)


def _length_row(
    talks: Sequence[tuple[str, str, str, float, float]], resamples: Resamples, centred: bool
) -> dict[str, Any]:
    words, totals = (np.array([talk[at] for talk in talks]) for at in (3, 4))
    row = {"words": float(words.mean())}
    if centred:
        cases = np.unique([talk[1] for talk in talks], return_inverse=True)[1]
        words, totals = (v - (np.bincount(cases, v) / np.bincount(cases))[cases] for v in (words, totals))
    return {**row, "r": correlation_interval(words, totals, [talk[2] for talk in talks], resamples)}


def correlation_interval(
    x: NDArray[np.float64], y: NDArray[np.float64], patients: Sequence[str], resamples: Resamples
) -> dict[str, Any]:
    """Pearson's r with its percentile interval over the resamples of patients, as a table cell; no value where one side is
    constant."""
    codes = resamples.codes(list(patients))
    sums = np.zeros((len(resamples.clusters), 6))
    np.add.at(sums, codes, np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1))
    value = _r(sums.sum(axis=0)[None])[0]
    many = len(set(patients))
    cell: dict[str, Any] = {"value": None, "low": None, "high": None, "n": len(x), "patients": many}
    if not np.isfinite(value):
        return {**cell, "note": "one side is constant"}
    draws = np.concatenate([_r(counts.astype(np.float64) @ sums) for counts in resamples.blocks()])
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [0.025, 0.975]) if many > 1 else (None, None)
    return {**cell, "value": float(value), "low": low, "high": high}


def _r(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation from (rows, 6) sums of 1, x, y, xx, yy, xy; NaN where a side is constant."""
    n, x, y, xx, yy, xy = sums.T
    spread = (xx * n - x * x) * (yy * n - y * y)
    limit = 1e-10 * np.maximum(xx * n * yy * n, 1e-300)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > limit, (xy * n - x * y) / np.sqrt(np.abs(spread)), np.nan)
