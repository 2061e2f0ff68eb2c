"""Single records as views: how the first metric spreads over cases, and how volumes agree with the reference's.

A cell is reduced to some hundred points and exact figures as it passes by, so a run of millions of records needs no more
memory than one cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.tasks.columns import statistic_column
from medeval.types import Key, Status
from medeval.types.views import BlandAltman, CaseGroup, CasePoint, Distribution, View

if TYPE_CHECKING:
    from medeval.tasks.base import Task
    from medeval.tasks.summary import CellScorer

GROUP_POINTS, VIEW_POINTS = 500, 2_500  # drawn at most, of one group and of one view
ROUND_POINTS = 9  # of one round of a curve: what a click on its mean lists
MOST_SHOWN = 1_000_000  # records of a cell; the rounds of a larger one list none
LIMIT = 1.96  # standard deviations: 95% of normal differences
_FAILED = frozenset(str(status) for status in Status if status.failed)
_VOLUMES = ("voxels_reference", "voxels_prediction")


@dataclass(frozen=True)
class CellGroups:
    """One cell's records, a group a prompt: by score, and by volume. unit: of the volumes."""

    scores: Sequence[CaseGroup]
    axis: str
    volumes: Sequence[CaseGroup]
    unit: str


def cell_groups(scorer: CellScorer) -> CellGroups:
    """The groups of one cell; none of scores where the task has no metric that is a mean over records."""
    metric = next((m for m in scorer.task.bound_metrics if m.linear), None)
    scores, axis = [], ""
    if metric is not None:
        axis = f"{metric.name} [{unit}]" if (unit := scorer.unit(metric)) else metric.name
        field = statistic_column(metric.name, next(iter(metric.statistic)))
        for prompt, rows in scorer.used(metric):
            values = scorer.column(field)[rows].astype(np.float64)
            if len(values) and np.isfinite(values).all():
                scores.append(_score_group(scorer, prompt, rows, values))
    return CellGroups(scores, axis, *_volume_groups(scorer))


def case_views(task: Task, cells: Sequence[CellGroups]) -> list[View]:
    """Of each dataset: the distribution of the first metric by case, and Bland-Altman panels where there are volumes."""
    views: list[View] = []
    everything = [group for cell in cells for group in (*cell.scores, *cell.volumes)]
    for dataset in dict.fromkeys(group.dataset for group in everything):
        where = f"{task.label} on {dataset}"
        for axis in dict.fromkeys(cell.axis for cell in cells):
            groups = [g for c in cells if c.axis == axis for g in c.scores if g.dataset == dataset]
            if _spread(groups):
                views.append(_distribution(task, where, axis, groups))
        for unit in dict.fromkeys(cell.unit for cell in cells if cell.volumes):
            groups = [g for c in cells if c.unit == unit for g in c.volumes if g.dataset == dataset]
            if groups:
                views.append(_agreement(where, unit, groups))
    return views


def _spread(groups: Sequence[CaseGroup]) -> bool:
    """False for a score that is one of two values, such as right or wrong: it has no distribution to look at."""
    return len({point.x for group in groups for point in group.points}) > 2


def _distribution(task: Task, where: str, axis: str, groups: Sequence[CaseGroup]) -> Distribution:
    kept, note = _thinned(groups)
    worst = task.on_failure == "worst"
    failed = "a model's failure stands at the worst value" if worst else "failures are left out"
    return Distribution(
        f"{axis} by case: {where}", axis, kept, f"A point is a record of the last round; {failed}.{note}"
    )


def _agreement(where: str, unit: str, groups: Sequence[CaseGroup]) -> BlandAltman:
    kept, note = _thinned(groups)
    what = "Volumes" if unit == "ml" else "Sizes of masks"
    return BlandAltman(
        f"{what}, prediction less reference: {where}", f"mean of both [{unit}]", f"difference [{unit}]", kept,
        f"Lines: mean difference and limits of agreement, mean ± {LIMIT:g} standard deviations (Bland & Altman 1986), over "
        f"records, not patients. Records where both masks are empty, and failures, are left out.{note}",
    )  # fmt: skip


def _score_group(
    scorer: CellScorer, prompt: str, rows: NDArray[np.int64], values: NDArray[np.float64]
) -> CaseGroup:
    q1, median, q3 = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    marks = {"q1": q1, "median": median, "q3": q3}
    return _group(scorer, prompt, rows, values, np.zeros(len(values)), marks)


def _volume_groups(scorer: CellScorer) -> tuple[list[CaseGroup], str]:
    if not all(name in scorer.cell for name in _VOLUMES):
        return [], ""
    truth, found = (scorer.column(name).astype(np.float64) for name in _VOLUMES)
    there = scorer.answered & np.isfinite(truth) & np.isfinite(found) & ((truth > 0) | (found > 0))
    sizes, unit = _voxel_sizes(scorer, there)
    truth, found = truth * sizes, found * sizes
    groups = []
    for prompt, members in scorer.by_prompt(scorer.final):
        rows = members[there[members]]
        difference = found[rows] - truth[rows]
        if len(rows) > 1:
            bias, spread = float(difference.mean()), LIMIT * float(difference.std(ddof=1))
            marks = {"bias": bias, "low": bias - spread, "high": bias + spread}
            groups.append(_group(scorer, prompt, rows, (found[rows] + truth[rows]) / 2, difference, marks))
    return groups, unit


def _voxel_sizes(scorer: CellScorer, there: NDArray[np.bool_]) -> tuple[NDArray[np.float64], str]:
    """Of each record a voxel's volume in ml where all records that are ``there`` have one, else one voxel."""
    if scorer.cell.length_unit == "mm" and "voxel_ml" in scorer.cell:
        told = scorer.column("voxel_ml")
        sizes = np.asarray(
            told if told.dtype.kind in "fiu" else [_number(value) for value in told], dtype=np.float64
        )
        if (sizes[there] > 0).all():
            return sizes, "ml"
    return np.ones(len(there)), "voxels"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def round_group(
    scorer: CellScorer, prompt: str, rows: NDArray[np.int64], values: NDArray[np.float64]
) -> CaseGroup | None:
    """Some of the records that a mean stands for, evenly by rank of their values; None where there are none."""
    if not len(rows) or not np.isfinite(values).all():
        return None
    return _group(scorer, prompt, rows, values, np.zeros(len(rows)), {}, ROUND_POINTS)


def _group(
    scorer: CellScorer, prompt: str, rows: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64],
    marks: Mapping[str, float], most: int = GROUP_POINTS,
) -> CaseGroup:  # fmt: skip
    """The records in order of x, or evenly by rank some of them; lowest and highest are always there."""
    cell, order = scorer.cell, np.argsort(x, kind="stable")
    chosen = order[ranks(len(order), most)]
    metrics = [metric for metric in scorer.task.bound_metrics if metric.name in cell]
    scores = [scorer.numbers(metric.name, rows[chosen]) for metric in metrics]
    points = [
        CasePoint(case, key, seed, float(x[at]), float(y[at]), tuple(map(_number_or_none, values)), note)
        for at, (case, key, seed, note), *values in zip(
            chosen.tolist(), _identities(scorer, rows[chosen]), *scores, strict=True
        )
    ]  # fmt: skip
    name = " ".join(filter(None, [cell.model, cell.arm]))
    told = [f"{metric.name} [{unit}]" if (unit := scorer.unit(metric)) else metric.name for metric in metrics]
    return CaseGroup(
        name, cell.dataset, cell.model, cell.arm, points, len(x), marks, prompt, cell.baseline, told
    )


def _identities(scorer: CellScorer, rows: NDArray[np.int64]) -> Iterator[tuple[str, Key, int, str]]:
    """Of each record its case, key, seed, and why it failed ("" if it did not)."""
    columns = scorer.cell.columns
    texts = [
        columns.labels(name)[rows].array("") for name in ("case", "structure", "prompt", "status", "error")
    ]
    numbers = [columns.array(name)[rows].tolist() for name in ("round", "sample", "seed")]
    for case, structure, asked, status, error, number, sample, seed in zip(*texts, *numbers, strict=True):
        note = ": ".join(filter(None, [status, str(error)])) if status in _FAILED else ""
        yield str(case), Key(str(structure), str(asked), int(number), int(sample)), int(seed), note


def _number_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def ranks(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of the ranks 0 to count - 1, evenly, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _thinned(groups: Sequence[CaseGroup]) -> tuple[list[CaseGroup], str]:
    """The groups by prompt with as many points as a view may hold, and what that leaves out, in words."""
    most = max(10, VIEW_POINTS // max(1, len(groups)))
    kept = [
        replace(group, points=[group.points[rank] for rank in ranks(len(group.points), most)])
        for part in dict.fromkeys(group.part for group in groups)
        for group in groups if group.part == part
    ]  # fmt: skip
    drawn, total = sum(len(group.points) for group in kept), sum(group.n for group in kept)
    return kept, f" {drawn:,} of {total:,} records are drawn, evenly by rank." if drawn < total else ""
