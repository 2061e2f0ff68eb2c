"""Studies as plots whose points open their study: ROC, precision against recall, calibration, scores by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.classification import BINS, calibration_bins
from medeval.metrics.classification_clinical import roc_points
from medeval.statistics.proportions import proportion
from medeval.tasks.case_views import ranks
from medeval.types import Key
from medeval.types.views import CaseGroup, CasePoint, Curve, Distribution, Series, View

if TYPE_CHECKING:
    from medeval.tasks.classification.summary import Studies

VERTICES = 400  # of a drawn curve; of more distinct scores some are drawn, evenly, both ends among them
POINTS = 300  # of one model's studies of one label in the distribution
BIN_POINTS = 9  # of the studies of one calibration bin that a click lists
_OPENS = "Click a point for the study whose score is the threshold there."


def study_views(dataset: str, models: Sequence[Studies]) -> list[View]:
    """All of them, of one dataset."""
    curves = [roc_curve, precision_recall_curve, calibration_curve]
    spread = score_distribution(dataset, models)
    return [*(curve(dataset, models) for curve in curves), *([spread] if spread else [])]


def roc_curve(dataset: str, models: Sequence[Studies]) -> Curve:
    """Sensitivity against 1 - specificity, a point a distinct score (Fawcett 2006); dotted: chance."""
    series = []
    for studies in models:
        false, true = roc_points(studies.score, studies.label)
        at = _thresholds(studies)
        kept = ranks(len(false), VERTICES)
        # the first vertex is (0, 0), above every score
        records = [None if n == 0 else _studies(dataset, studies, at[n - 1 : n]) for n in kept]
        series.append(Series(studies.model, false[kept].tolist(), true[kept].tolist(), baseline=studies.baseline, records=records))  # fmt: skip
    series.append(Series("chance", [0.0, 1.0], [0.0, 1.0], baseline=True))
    return Curve(f"ROC on {dataset}", "1 - specificity", "sensitivity", series, f"{_OPENS}{_thinned(models)}")


def precision_recall_curve(dataset: str, models: Sequence[Studies]) -> Curve:
    """Precision (PPV) against recall (sensitivity), a point a distinct score; chance is the share of positives."""
    series, share = [], 0.0
    for studies in models:
        positive = studies.label == 1
        if not positive.any():
            continue
        at = _thresholds(studies)
        order = np.argsort(-studies.score, kind="stable")
        called = np.cumsum(np.ones(len(order)))[_last(studies.score[order])]
        true = np.cumsum(positive[order])[_last(studies.score[order])]
        kept = ranks(len(at), VERTICES)
        x, y = (true / positive.sum())[kept].tolist(), (true / called)[kept].tolist()
        records = [_studies(dataset, studies, at[n : n + 1]) for n in kept]
        series.append(Series(studies.model, x, y, baseline=studies.baseline, records=records))
        share = float(positive.mean())
    if series:
        series.append(Series("chance (share of positives)", [0.0, 1.0], [share, share], baseline=True))
    return Curve(
        f"Precision and recall on {dataset}", "recall (sensitivity)", "precision (PPV)", series,
        f"{_OPENS} Precision depends on the share of positives.{_thinned(models)}",
    )  # fmt: skip


def calibration_curve(dataset: str, models: Sequence[Studies]) -> Curve:
    """Share of positives against mean score in equal bins of score, with exact intervals."""
    series = []
    for studies in models:
        bins = calibration_bins(studies.score)
        points, records = [], []
        for number in range(BINS):
            inside = np.flatnonzero(bins == number)
            if len(inside):
                found = proportion(studies.label[inside] == 1, studies.patients[inside])
                points.append((float(studies.score[inside].mean()), found.value, found.low, found.high))
                ranked = inside[np.argsort(studies.score[inside], kind="stable")]
                records.append(
                    _studies(dataset, studies, ranked[ranks(len(ranked), BIN_POINTS)], len(ranked))
                )
        x, y, low, high = (list(column) for column in zip(*points, strict=True))
        series.append(Series(studies.model, x, y, low, high, studies.baseline, records))
    series.append(Series("perfect calibration", [0.0, 1.0], [0.0, 1.0], baseline=True))
    note = f"{BINS} bins of equal width; above the diagonal risks are underestimated, below it overestimated."
    return Curve(f"Calibration on {dataset}", "mean score of the bin", "share of positives", series, note)


def score_distribution(dataset: str, models: Sequence[Studies]) -> Distribution | None:
    """How each model scores the positive and the negative studies; None where no model has three different scores."""
    groups = []
    for label, part in ((1, "positive studies"), (0, "negative studies")):
        for studies in models:
            mine = np.flatnonzero(studies.label == label)
            if len(mine):
                ranked = mine[np.argsort(studies.score[mine], kind="stable")]
                q1, median, q3 = (float(q) for q in np.quantile(studies.score[mine], (0.25, 0.5, 0.75)))
                found = _studies(dataset, studies, ranked[ranks(len(ranked), POINTS)], len(ranked), part)
                groups.append(replace(found, marks={"q1": q1, "median": median, "q3": q3}))
    if len({point.x for group in groups for point in group.points}) < 3:
        return None
    note = f"A point is a study; of more than {POINTS} of a kind some are drawn, evenly by rank."
    return Distribution(f"Scores by label on {dataset}", "score", groups, note)


def _studies(
    dataset: str, studies: Studies, rows: NDArray[np.int64], count: int = 1, part: str = ""
) -> CaseGroup:
    """Some of the ``count`` studies that a point stands for."""
    points = []
    for row in rows.tolist():
        kind, score = "positive" if studies.label[row] == 1 else "negative", float(studies.score[row])
        points.append(CasePoint(str(studies.cases[row]), Key(f"{kind} study"), 0, score, scores=(score,)))
    return CaseGroup(
        studies.model, dataset, studies.model, "", points, count, {}, part, studies.baseline, ("score",)
    )


def _thresholds(studies: Studies) -> NDArray[np.int64]:
    """Of each distinct score, the highest first, the last of its studies in their order."""
    order = np.argsort(-studies.score, kind="stable")
    return np.asarray(order[_last(studies.score[order])])


def _last(ordered: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True at the last of each run of equal scores."""
    return np.r_[np.diff(ordered) != 0, True]


def _thinned(models: Sequence[Studies]) -> str:
    most = max((len(np.unique(studies.score)) for studies in models), default=0)
    return f" {VERTICES} of up to {most:,} points are drawn." if most >= VERTICES else ""
