"""Recorded people beside simulated users: by how much ideal prompts overestimate, on the same structures."""

from __future__ import annotations

from typing import Any

import numpy as np

from medeval.metrics.base import Metric
from medeval.tasks.prompted_segmentation.repetition import by_structure
from medeval.tasks.prompted_segmentation.sessions import Figure, figure_row
from medeval.tasks.summary import CellScorer

ABOUT = "human gap"
PEOPLE = "recorded"
Finals = dict[tuple, tuple[int, float]]


def gap_scores(scorer: CellScorer) -> list[dict[str, Any]]:
    """Of each linear metric and each simulated setting: people less simulation, after the last round.

    Per structure of a case: mean over its people less mean over its samples; then the mean over structures that have both.
    The interval resamples patients, so that the difference is paired.
    """
    members = dict(scorer.by_prompt(scorer.final))
    if PEOPLE not in members:
        return []
    rows = []
    for metric in (metric for metric in scorer.task.bound_metrics if metric.linear):
        people = _finals(scorer, metric, members[PEOPLE])
        for prompt in (prompt for prompt in members if prompt != PEOPLE):
            simulated = _finals(scorer, metric, members[prompt])
            both = [
                (row, value - simulated[key][1]) for key, (row, value) in people.items() if key in simulated
            ]
            if both:
                figure = Figure(
                    f"{metric.name} of people less simulated",
                    "paired, after the last round",
                    metric.direction,
                    metric.unit,
                )
                rows.append(figure_row(scorer, figure, prompt, ABOUT, both))
    return rows


def _finals(scorer: CellScorer, metric: Metric, members: Any) -> Finals:
    groups = by_structure(scorer, members)
    found = {key: (group[0], scorer.values_of(metric, group)) for key, group in groups.items()}
    return {key: (row, float(np.mean(values))) for key, (row, values) in found.items() if values}
