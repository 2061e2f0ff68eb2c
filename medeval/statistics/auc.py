"""AUROC with DeLong's variance, for one or several scores of the same studies; clusters after Obuchowski.

Sources: DeLong, DeLong & Clarke-Pearson 1988 (structural components); Sun & Xu 2014 (midranks in O(n log n));
Obuchowski 1997 (clustered data), which is DeLong's variance when each cluster is one study.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medeval.statistics.estimates import FEW_PATIENTS, Estimate
from medeval.statistics.paired import Tested

Floats = NDArray[np.float64]
ESTIMAND = "area under the ROC curve over all studies"
_ROUNDING = 1e-15  # a variance below it is 0


@dataclass(frozen=True, eq=False)
class AUCs:
    """areas: (k,) of k scores. covariance: (k, k). positives, negatives, clusters: numbers."""

    areas: Floats
    covariance: Floats
    positives: int
    negatives: int
    clusters: int


def delong(scores: ArrayLike, labels: ArrayLike, clusters: ArrayLike | None = None) -> AUCs | None:
    """Areas and their covariance; None where a class is missing, for then the area is undefined (not 0.5).

    scores: (k, n) or (n,) finite, larger means more positive. labels: (n,) {0, 1}. clusters: (n,) patient of each study;
    None: each study by itself. Raises ``ValueError`` for scores that are not finite or labels that are not 0 or 1.
    """
    table, truth, codes = _checked(scores, labels, clusters)
    if not truth.any() or truth.all():
        return None
    positive, negative = table[:, truth], table[:, ~truth]
    v10, v01 = _components(positive, negative)
    areas = v10.mean(axis=1)
    number = int(codes.max()) + 1
    above = _by_cluster(v10 - areas[:, None], codes[truth], number)
    below = _by_cluster(v01 - areas[:, None], codes[~truth], number)
    with_positive, with_negative = len(np.unique(codes[truth])), len(np.unique(codes[~truth]))
    m, n = positive.shape[1], negative.shape[1]
    covariance = (
        _factor(with_positive) * above @ above.T / m**2 + _factor(with_negative) * below @ below.T / n**2
        + _factor(number) * (above @ below.T + below @ above.T) / (m * n)
    )  # fmt: skip
    return AUCs(areas, covariance, m, n, number)


def auc_interval(
    scores: ArrayLike, labels: ArrayLike, clusters: ArrayLike | None = None, *, confidence: float = 0.95,
    transform: str = "logit", patients_known: bool = True,
) -> Estimate:  # fmt: skip
    """AUROC with DeLong's interval, on the logit scale (stays within [0, 1]; Pepe 2003, p. 107) or ``"none"`` (Wald).

    Undefined, and stated so, without a positive or without a negative study. One patient, or an area of exactly 0 or 1,
    has variance 0 and no interval. Arguments as in ``delong``; patients_known: False where clusters are images.
    """
    n = len(np.asarray(labels).ravel())
    found = delong(scores, labels, clusters)
    if found is None:
        return Estimate(None, None, None, n, None, "none", ESTIMAND, _missing_class(labels))
    area, variance = float(found.areas[0]), float(found.covariance[0, 0])
    notes = [f"{found.positives} positive, {found.negatives} negative"]
    kind = "patient" if patients_known else "image"
    patients = found.clusters if patients_known else None
    if found.clusters < 2 or variance <= _ROUNDING or not 0 < area < 1:
        notes.append(
            f"one {kind}: no interval" if found.clusters < 2 else "no interval: DeLong's variance is 0"
        )
        return Estimate(area, None, None, n, patients, "none", ESTIMAND, "; ".join(notes))
    if found.clusters < FEW_PATIENTS:
        notes.append(f"fewer than {FEW_PATIENTS} {kind}s: intervals are likely too narrow")
    low, high = _limits(area, math.sqrt(variance), confidence, transform)
    method = "delong" if found.clusters == n else "delong, clustered"
    return Estimate(area, low, high, n, patients, method, ESTIMAND, "; ".join(notes))


def auc_test(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike, clusters: ArrayLike | None = None
) -> Tested:
    """DeLong's two-sided test that two scores of the same studies have one area."""
    found = delong(np.stack([np.asarray(first), np.asarray(second)]), labels, clusters)
    if found is None:
        return Tested(math.nan, 0, note=_missing_class(labels))
    if found.clusters < 2:
        return Tested(math.nan, found.clusters, note="fewer than two patients: no test")
    gap = float(found.areas[0] - found.areas[1])
    variance = float(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    if variance <= _ROUNDING:
        same = abs(gap) < 1e-12
        return Tested(1.0 if same else math.nan, found.clusters, note="the difference has no variance")
    return Tested(math.erfc(abs(gap) / math.sqrt(2 * variance)), found.clusters)


def auc_difference(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike, clusters: ArrayLike | None = None, *, confidence: float = 0.95
) -> Estimate:  # fmt: skip
    """Area of the first score minus that of the second with DeLong's interval."""
    from scipy.special import ndtri

    found = delong(np.stack([np.asarray(first), np.asarray(second)]), labels, clusters)
    n = len(np.asarray(labels).ravel())
    if found is None:
        return Estimate(None, None, None, n, None, "none", f"difference, {ESTIMAND}", _missing_class(labels))
    gap = float(found.areas[0] - found.areas[1])
    variance = float(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    if found.clusters < 2:
        words = f"difference, {ESTIMAND}"
        return Estimate(gap, None, None, n, found.clusters, "none", words, "one patient: no interval")
    half = float(ndtri((1 + confidence) / 2)) * math.sqrt(max(variance, 0.0))
    return Estimate(gap, gap - half, gap + half, n, found.clusters, "delong", f"difference, {ESTIMAND}")


def _checked(
    scores: ArrayLike, labels: ArrayLike, clusters: ArrayLike | None
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    given = np.asarray(labels).ravel()
    if table.shape[1] != len(given) or not len(given):
        raise ValueError(f"{table.shape[1]} scores for {len(given)} labels; equal numbers above 0 are needed")
    if not np.isfinite(table).all():
        raise ValueError(f"{int((~np.isfinite(table)).sum())} scores are not finite")
    if not np.isin(given, (0, 1)).all():
        raise ValueError(f"labels must be 0 or 1, got {sorted(set(given.tolist()) - {0, 1})[:5]}")
    if clusters is None:
        return table, given.astype(bool), np.arange(len(given))
    codes = np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1]
    if len(codes) != len(given):
        raise ValueError(f"{len(codes)} clusters for {len(given)} labels")
    return table, given.astype(bool), codes.astype(np.int64)


def _components(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """(k, m) share of the negatives below each positive and (k, n) of the positives above each negative, ties half."""
    from scipy.stats import rankdata

    m, n = positive.shape[1], negative.shape[1]
    pooled = rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    v10 = (pooled[:, :m] - rankdata(positive, axis=1)) / n
    v01 = 1.0 - (pooled[:, m:] - rankdata(negative, axis=1)) / m
    return v10, v01


def _by_cluster(values: Floats, codes: NDArray[np.int64], number: int) -> Floats:
    return np.stack([np.bincount(codes, weights=row, minlength=number) for row in values])


def _factor(number: int) -> float:
    return number / (number - 1) if number > 1 else 1.0


def _limits(area: float, error: float, confidence: float, transform: str) -> tuple[float, float]:
    from scipy.special import expit, logit, ndtri

    if transform not in ("logit", "none"):
        raise ValueError(f"transform {transform!r}: logit or none is needed")
    z = float(ndtri((1 + confidence) / 2))
    if transform == "none":
        return max(0.0, area - z * error), min(1.0, area + z * error)
    half = z * error / (area * (1 - area))
    return float(expit(logit(area) - half)), float(expit(logit(area) + half))


def _missing_class(labels: ArrayLike) -> str:
    which = "negative" if np.asarray(labels).any() else "positive"
    return f"AUROC undefined: no {which} study"
