"""The report's side of ``question-answering``: scores, and what a mean hides: failures to answer, spread, position, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.questions import LETTERS
from medeval.metrics.answers import UNSURE, risk_coverage
from medeval.metrics.classification import calibration_bins
from medeval.metrics.registry import get_metric
from medeval.tasks.question_answering.answers import NONE, SEVERAL
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary
from medeval.tasks.summary_views import build_views
from medeval.types import Status
from medeval.types.views import Column, Curve, Series, Table, View

if TYPE_CHECKING:
    import pandas as pd

    from medeval.tasks.question_answering.task import QuestionAnswering

Rows = list[dict[str, Any]]
_POINTS = 60  # of a risk-coverage curve that is drawn


def summarize(task: QuestionAnswering, evidence: Evidence) -> Summary:
    """Score rows, and the views. Groups are small: their tables leave out what is computed over all answers at once."""
    scores: Rows = []
    told: dict[str, dict[str, Rows]] = {}
    lines: dict[str, dict[str, list[Series]]] = {}
    for cell in evidence.load():
        scores += CellScorer(task, cell, evidence).scores()
        mine = told.setdefault(cell.dataset, {"answers": [], "samples": [], "places": []})
        mine["answers"].append(_answers(cell))
        mine["samples"].append(_samples(cell, task.shuffles))
        mine["places"] += _places(cell)
        drawn = lines.setdefault(cell.dataset, {"risk": [], "reliability": []})
        for name, series in _curves(cell).items():
            drawn[name].append(series)
    scores = _told_once(scores)
    told_by_group = [row for row in scores if not row["by"] or get_metric(row["metric"]).linear]
    views: list[View] = build_views(task, told_by_group, [], [])
    for dataset, tables in told.items():
        views += _tables(task, dataset, tables) + _drawn(task, dataset, lines[dataset])
    return Summary(scores, views)


def _told_once(scores: Sequence[Mapping[str, Any]]) -> Rows:
    """The rows with answers that gave no confidence counted beside one calibration metric, and not beside each."""
    told: set[tuple[Any, ...]] = set()
    rows: Rows = []
    for row in scores:
        key = (row["dataset"], row["model"], row["arm"], row["by"], *row["group"].values())
        again = bool(row["undefined"].get(UNSURE)) and key in told
        told |= {key} if row["undefined"].get(UNSURE) else set()
        rows.append({**row, "undefined": {}} if again else dict(row))
    return rows


def _model(cell: CellEvidence) -> dict[str, Any]:
    return {"model": " ".join(filter(None, [cell.model, cell.arm])), "_baseline": cell.baseline}


def _answers(cell: CellEvidence) -> dict[str, Any]:
    """How many replies held an answer, and what the others were."""
    frame = cell.frame
    status, error = frame["status"], frame["error"].fillna("")
    unparsable = status == Status.UNPARSABLE
    counted = {
        "answered": status.isin([Status.OK, Status.CARRIED]),
        "none": unparsable & error.str.startswith(NONE),
        "several": unparsable & error.str.startswith(SEVERAL),
        "refused": status == Status.REFUSED,
    }
    rest = ~np.logical_or.reduce([mask.to_numpy() for mask in counted.values()])
    missing = np.array([Status(value).missing for value in status], dtype=bool)
    characters = frame["characters"].dropna()
    return {
        **_model(cell),
        "questions": int(frame["case"].nunique()),
        "replies": len(frame),
        **{name: int(mask.sum()) for name, mask in counted.items()},
        "broken": int((rest & ~missing).sum()),
        "missing": int(missing.sum()),
        "characters": float(characters.mean()) if len(characters) else None,
    }


def _known(cell: CellEvidence) -> pd.DataFrame:
    """Records with a verdict: answers and the model's failures."""
    frame = cell.frame
    return frame[frame["answer_accuracy"].notna()] if "answer_accuracy" in frame else frame[:0]


def _samples(cell: CellEvidence, shuffles: int) -> dict[str, Any]:
    """Spread between samples, and how steady a question's answer is over samples and orders."""
    known = _known(cell)
    repeats = known["sample"] // shuffles
    by_sample = known.groupby(repeats)["answer_accuracy"].mean().to_numpy(dtype=np.float64)
    rates = known.groupby("case")["answer_accuracy"].agg(["mean", "count"])
    several = rates[rates["count"] > 1]["mean"]
    orders = known[known["chosen"].notna()] if "chosen" in known else known[:0]
    steady = orders.groupby("case")["chosen"].agg(["nunique", "count"])
    steady = steady[steady["count"] > 1]
    return {
        **_model(cell),
        "samples": len(by_sample),
        "lowest": float(by_sample.min()) if len(by_sample) > 1 else None,
        "highest": float(by_sample.max()) if len(by_sample) > 1 else None,
        "sd": float(by_sample.std(ddof=1)) if len(by_sample) > 1 else None,
        "always": float((several == 1).mean()) if len(several) else None,
        "never": float((several == 0).mean()) if len(several) else None,
        "steady": float((steady["nunique"] == 1).mean()) if len(steady) else None,
    }


def _places(cell: CellEvidence) -> Rows:
    """For each letter: how often it was chosen, how often it was right, and how often right ones there were found."""
    frame = cell.frame
    chosen = frame[frame["place"].notna()]
    rows: Rows = []
    for place in range(int(chosen["choices"].max()) if len(chosen) else 0):
        there = chosen[chosen["choices"] > place]
        at = there[there["right_place"] == place]
        rows.append(
            {
                **_model(cell),
                "letter": LETTERS[place],
                "chosen": float((there["place"] == place).mean()),
                "right": float((there["right_place"] == place).mean()),
                "found": float((at["place"] == place).mean()) if len(at) else None,
                "n": len(at),
            }
        )
    return rows


def _curves(cell: CellEvidence) -> dict[str, Series]:
    """Risk against coverage and accuracy against confidence, where there are confidences."""
    known = _known(cell)
    known = known[known["confidence"].notna()]
    if len(known) < 2:
        return {}
    sure = known["confidence"].to_numpy(dtype=np.float64)
    right = known["answer_accuracy"].to_numpy(dtype=np.float64)
    name = str(_model(cell)["model"])
    coverage, risk = risk_coverage(sure, right)
    at = np.unique(np.linspace(0, len(risk) - 1, min(_POINTS, len(risk))).astype(int))
    return {
        "risk": Series(name, coverage[at].tolist(), risk[at].tolist(), baseline=cell.baseline),
        "reliability": Series(name, *_reliability(sure, right), baseline=cell.baseline),
    }


def _reliability(sure: NDArray, right: NDArray) -> tuple[list[float], list[float | None]]:
    """Mean confidence and accuracy of each bin (l, u] that holds an answer."""
    bins = calibration_bins(sure)
    used = np.unique(bins)
    return (
        [float(sure[bins == b].mean()) for b in used],
        [float(right[bins == b].mean()) for b in used],
    )


def _tables(task: QuestionAnswering, dataset: str, told: Mapping[str, Rows]) -> list[View]:
    where = f"{task.label} on {dataset}"
    views: list[View] = [Table(f"Replies to {where}", _ANSWERS, told["answers"])]
    if task.asked_times > 1:
        views.append(Table(f"Samples and orders of {where}", _SAMPLES, told["samples"]))
    if told["places"]:
        note = (
            ""
            if task.shuffles > 1
            else "options in one order: a letter's share is position and content at once"
        )
        views.append(Table(f"Position of the answer: {where}", _PLACES, told["places"], note))
    return views


def _drawn(task: QuestionAnswering, dataset: str, lines: Mapping[str, Sequence[Series]]) -> list[View]:
    if not lines["risk"]:
        return []
    where = f"{task.label} on {dataset}"
    return [
        Curve(f"Selective answering: {where}", "share answered, surest first", "error rate", lines["risk"]),
        Curve(f"Calibration: {where}", "confidence", "accuracy", lines["reliability"],
              "one point a tenth of confidence that holds an answer"),
    ]  # fmt: skip


_ANSWERS = [
    Column("model"),
    Column("questions", "questions", "integer"),
    Column("replies", "replies", "integer"),
    Column("answered", "answered", "integer"),
    Column("none", "no answer", "integer", "no answer could be read: counted as wrong"),
    Column("several", "several answers", "integer", "counted as wrong"),
    Column("refused", "refused", "integer", "counted as wrong"),
    Column("broken", "cut, empty or failed", "integer", "the model's failures: counted as wrong"),
    Column("missing", "missing", "integer", "not the model's fault: not counted"),
    Column("characters", "characters", "number", "mean length of a reply"),
]
_SAMPLES = [
    Column("model"),
    Column("samples", "samples", "integer"),
    Column("lowest", "lowest", "number", "accuracy of the worst sample"),
    Column("highest", "highest", "number", "accuracy of the best sample"),
    Column("sd", "sd", "number", "of accuracy between samples"),
    Column("always", "always right", "number", "share of questions, over samples and orders"),
    Column("never", "never right", "number", "share of questions"),
    Column("steady", "same choice", "number", "share of questions whose chosen option never changes"),
]
_PLACES = [
    Column("model"),
    Column("letter"),
    Column("chosen", "chosen", "number", "share of answers with this letter"),
    Column("right", "right", "number", "share of questions whose right option stood here"),
    Column("found", "found", "number", "accuracy where the right option stood here"),
    Column("n", "n", "integer", "answers where it stood here"),
]
