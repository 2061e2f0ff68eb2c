"""Scores of which some records are missing for reasons that are not the model's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medeval.metrics.base import Metric
from medeval.statistics.labels import Labels
from medeval.statistics.scores import Average, Sample, bind


def bounds(metric: Metric, statistics: Mapping[str, NDArray], missing_n: int, worst: float | Mapping[str, ArrayLike],
           best: float | Mapping[str, ArrayLike], *, average: Average = "records",
           groups: Sequence[str] | NDArray | Labels | None = None,
           missing_groups: Sequence[str] | NDArray | Labels | None = None,
           state: Any = None) -> tuple[float | None, float | None]:  # fmt: skip
    """(all worst, all best): the score if the ``missing_n`` records that nobody's model is to blame for were so.

    statistics: field -> (n,) of the records that are there; n may be 0. groups, missing_groups: (n,) and (missing_n,).
    worst, best: the statistic of a missing record by field, a scalar or (missing_n,); a number stands for {"value": number}.
    """
    if missing_n < 0:
        raise ValueError(f"missing_n is {missing_n}; it cannot be negative")
    if average != "records" and (groups is None or missing_groups is None):
        raise ValueError(f"average={average!r} needs groups and missing_groups")
    labels = (
        None
        if average == "records" or groups is None or missing_groups is None
        else _joined(groups, missing_groups)
    )
    within: Average = "cases" if average == "patients" else average

    def scored(filling: float | Mapping[str, ArrayLike]) -> float | None:
        fill = filling if isinstance(filling, Mapping) else {"value": filling}
        fields = {k: np.concatenate([np.asarray(statistics[k]), np.broadcast_to(np.asarray(fill[k]), (missing_n,))])
                  for k in metric.statistic}  # fmt: skip
        rows = len(next(iter(fields.values())))
        if rows == 0:
            return None
        nobody = np.zeros(rows, dtype=np.int64)
        value = bind(metric, Sample(fields, nobody, labels), nobody, 1, within, state).value()
        return None if math.isnan(value) else value

    return scored(worst), scored(best)


def _joined(
    first: Sequence[str] | NDArray | Labels, second: Sequence[str] | NDArray | Labels
) -> NDArray | Labels:
    if isinstance(first, Labels) and isinstance(second, Labels) and first.values is second.values:
        return Labels(np.concatenate([first.codes, second.codes]), first.values, first.ordered)
    return np.concatenate([np.asarray(first, dtype=str), np.asarray(second, dtype=str)])
