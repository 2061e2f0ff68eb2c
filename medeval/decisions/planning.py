"""Sample sizes from a run that serves as a pilot."""

from __future__ import annotations

from typing import Any

import numpy as np

from medeval.decisions.compare import matched
from medeval.decisions.evidence import CellName, RunEvidence
from medeval.metrics.base import Metric
from medeval.statistics.sample_size import (
    SampleSize,
    detectable_difference,
    patients_for_width,
    patients_to_separate,
)
from medeval.types import RunError
from medeval.types.views import Column, Table


def planning_table(
    evidence: RunEvidence,
    metric: str,
    width: float | None = None,
    difference: float | None = None,
    power: float = 0.8,
) -> Table:
    """Patients needed by each model's interval (``width``), or to separate the two best models of each setting.

    Raises ``RunError`` where no task has the metric, it is no mean, or fewer than two models can be separated.
    """
    having = [cell for cell in evidence.cells if metric in evidence.metrics(cell.task)]
    if not having:
        evidence.metric(evidence.cells[0].task, metric)
    bound = evidence.metric(having[0].task, metric)
    if not bound.linear:
        raise RunError(f"{metric} is no mean over records; its sample size is not known in closed form")
    rows = (
        _widths(evidence, having, bound, width)
        if width
        else _separations(evidence, having, bound, difference, power)
    )
    if not rows:
        raise RunError(f"{metric}: no setting has two models and two patients to plan from")
    columns = [Column(name) for name in ("task", "dataset", "prompt", "model")]
    columns += [
        Column("have", "patients here", "integer"),
        Column("needed", "patients needed"),
        Column("reason"),
    ]
    return Table(
        f"Sample size for {metric}", columns, rows, "a pilot of few patients gives an uncertain number"
    )


def _widths(
    evidence: RunEvidence, cells: list[CellName], metric: Metric, width: float
) -> list[dict[str, Any]]:
    rows = []
    for cell in cells:
        for prompt, _ in evidence.settings(cell):
            entered = evidence.entered(cell, metric, prompt)
            if len(set(entered.patients.tolist())) > 1:
                found = patients_for_width(
                    np.asarray(entered.statistics["value"], float), entered.patients, width
                )
                rows.append(_row(cell, prompt, cell.contender, found))
    return rows


def _separations(
    evidence: RunEvidence, cells: list[CellName], metric: Metric, difference: float | None, power: float
) -> list[dict[str, Any]]:
    rows = []
    sign = 1 if metric.direction == "higher" else -1
    tagged = evidence.baselines()
    left_out = tagged if any(cell.model not in tagged for cell in cells) else set()
    settings = dict.fromkeys((c.task, c.dataset, prompt) for c in cells for prompt, _ in evidence.settings(c))
    for task, dataset, prompt in settings:
        scored = [row for row in evidence.scores if row["value"] is not None and not row["by"] and row["model"] not in left_out
                  and (row["task"], row["dataset"], row["prompt"], row["metric"]) == (task, dataset, prompt, metric.name)]  # fmt: skip
        best = sorted(scored, key=lambda row: -sign * row["value"])[:2]
        if len(best) == 2:
            one, two = (CellName(r["task"], r["dataset"], r["model"], r["arm"]) for r in best)
            first, second = evidence.entered(one, metric, prompt), evidence.entered(two, metric, prompt)
            mine, theirs, _, _ = matched(first.keys, second.keys)
            left, right = first.take(mine), second.take(theirs)
            gaps = np.asarray(left.statistics["value"], float) - right.statistics["value"]
            if len(set(left.patients.tolist())) > 1:
                found = patients_to_separate(gaps, left.patients, difference=difference, power=power)
                least = detectable_difference(gaps, left.patients, power=power)
                found = SampleSize(found.patients, found.have, f"{found.reason}; this many find {least:.4g}")
                rows.append(_row(one, prompt, f"{one.contender} / {two.contender}", found))
    return rows


def _row(cell: CellName, prompt: str, model: str, found: SampleSize) -> dict[str, Any]:
    needed = "none is enough" if found.patients is None else str(found.patients)
    return {"task": cell.task, "dataset": cell.dataset, "prompt": prompt, "model": model, "have": found.have,
            "needed": needed, "reason": found.reason}  # fmt: skip
