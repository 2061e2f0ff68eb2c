"""The same case asked again with other draws, or by other people: how much it matters, and what the worst of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.tasks.prompted_segmentation.sessions import Figure, figure_row
from medeval.tasks.summary import CellScorer

ABOUT = "prompt seeds"
_IDENTITY = ("seed", "case", "structure")


def repetition_scores(scorer: CellScorer) -> list[dict[str, Any]]:
    """Of each linear metric and each setting with several samples: spread inside a case, and the worst of K.

    After the last round. Spread is the standard deviation (n - 1) over the samples of one structure of one case, then the
    mean; the worst of K takes the worst sample of each, then the mean. A failed sample counts as the worst value; a
    structure with fewer than two samples that could be scored has neither.
    """
    rows = []
    for prompt, members in scorer.by_prompt(scorer.final):
        groups = list(by_structure(scorer, members).values())
        if max((len(group) for group in groups), default=0) > 1:
            for metric in scorer.task.bound_metrics:
                if metric.linear:
                    rows += _of_metric(scorer, metric, prompt, groups)
    return rows


def by_structure(scorer: CellScorer, members: NDArray[np.int64]) -> dict[tuple, list[int]]:
    """(seed, case, structure) -> row numbers of its repetitions."""
    found: dict[tuple, list[int]] = {}
    identity = [scorer.cell.columns.array(name) for name in _IDENTITY]
    for member in members:
        found.setdefault(tuple(column[member] for column in identity), []).append(int(member))
    return found


def _of_metric(
    scorer: CellScorer, metric: Metric, prompt: str, groups: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    spread, worst = [], []
    most = max(len(group) for group in groups)
    for group in groups:
        values = scorer.values_of(metric, group)
        if len(values) > 1:
            spread.append((group[0], float(np.std(values, ddof=1))))
            worst.append((group[0], float(min(values) if metric.direction == "higher" else max(values))))
    figures = (
        (Figure(f"{metric.name} spread", f"standard deviation over {most} samples of a case, mean", "lower", metric.unit), spread),
        (Figure(f"{metric.name} worst", f"worst of {most} samples of a case, mean", metric.direction, metric.unit), worst),
    )  # fmt: skip
    return [figure_row(scorer, figure, prompt, ABOUT, values) for figure, values in figures if values]
