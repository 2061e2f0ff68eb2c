"""How many patients a study needs: for an interval of some width, or to separate two models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.statistics.paired import cluster_sums

Floats = NDArray[np.float64]
_MOST = 10_000_000


@dataclass(frozen=True)
class SampleSize:
    """patients: how many are needed, None where no number is enough. have: how many the pilot has. reason: in words."""

    patients: int | None
    have: int
    reason: str


def patients_for_width(
    values: Floats, clusters: NDArray, width: float, *, confidence: float = 0.95
) -> SampleSize:
    """Patients so that the interval of the mean is ``width`` wide in all, from a pilot's records.

    values, clusters: (n,). Records per patient are taken to stay as in the pilot. Raises ``ValueError`` for width <= 0
    or fewer than two patients.
    """
    if not width > 0:
        raise ValueError(f"width is {width}; it must be above 0: the whole width of the interval")
    spread, have = _spread(values, clusters)
    needed = _smallest(lambda n: 2 * _t(n - 1, (1 + confidence) / 2) * spread / math.sqrt(n) <= width)
    return SampleSize(
        needed,
        have,
        f"standard deviation over patients {spread:.4g}, {confidence:.0%} interval {width:g} wide",
    )


def patients_to_separate(
    differences: Floats, clusters: NDArray, *, difference: float | None = None, power: float = 0.8, alpha: float = 0.05
) -> SampleSize:  # fmt: skip
    """Patients so that a paired two-sided test finds a difference with this power.

    differences: (n,) first minus second on a pilot's records. difference: the one to find; default: the pilot's own,
    which makes the number itself uncertain. Source: the usual formula with Student's t, iterated.
    """
    if not 0 < power < 1 or not 0 < alpha < 1:
        raise ValueError(f"power {power} and alpha {alpha} must be shares in (0, 1)")
    spread, have = _spread(differences, clusters)
    effect = abs(float(np.mean(differences)) if difference is None else difference)
    words = f"standard deviation of the patients' differences {spread:.4g}, difference {effect:.4g}, power {power:.0%}, alpha {alpha:g}"
    if effect == 0:
        return SampleSize(None, have, f"{words}: no number of patients separates equal models")
    needed = _smallest(
        lambda n: (_t(n - 1, 1 - alpha / 2) + _t(n - 1, power)) * spread / math.sqrt(n) <= effect
    )
    return SampleSize(needed, have, words)


def detectable_difference(
    differences: Floats, clusters: NDArray, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest mean difference that a paired test of as many patients finds with this power."""
    spread, have = _spread(differences, clusters)
    return (_t(have - 1, 1 - alpha / 2) + _t(have - 1, power)) * spread / math.sqrt(have)


def _spread(values: Floats, clusters: NDArray) -> tuple[float, int]:
    """Standard deviation of one patient's share in the pooled mean, in units of the mean; number of patients."""
    sums, numbers = cluster_sums(np.asarray(values, dtype=np.float64), clusters)
    if len(sums) < 2:
        raise ValueError(f"{len(sums)} patient: at least two are needed to know the spread")
    influence = (sums - sums.sum() / numbers.sum() * numbers) / numbers.mean()
    return float(np.sqrt((influence**2).sum() / (len(sums) - 1))), len(sums)


def _t(freedom: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), level))


def _smallest(enough: Callable[[int], bool]) -> int | None:
    """The smallest number of at least 2 for which ``enough`` holds; it holds for all larger ones."""
    low, high = 2, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
