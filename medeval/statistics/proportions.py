"""Proportions and ratios of counts: exact where studies are independent, clustered where patients have several.

Sensitivity, specificity and predictive values are proportions; F1 is a ratio of sums. Kappa's interval comes from its
own standard error over units, or from resampled patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medeval.metrics.agreement import Ratings, Weighting, cohen_kappa
from medeval.metrics.agreement_intervals import bootstrap_interval
from medeval.statistics.estimates import FEW_PATIENTS, Estimate
from medeval.statistics.paired import Tested, permutation_test

Floats = NDArray[np.float64]


def clopper_pearson(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson 1934); counts may be fractions (effective sample sizes)."""
    from scipy.special import betaincinv

    if not 0 <= successes <= trials or trials <= 0:
        raise ValueError(f"{successes} successes of {trials} trials are no proportion")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return low, high


def proportion(
    hits: ArrayLike, clusters: Sequence[str] | NDArray | None = None, *, confidence: float = 0.95,
    estimand: str = "share of all studies", patients_known: bool = True,
) -> Estimate:  # fmt: skip
    """Share of hits with an interval: Clopper-Pearson where each patient has one study, else Korn & Graubard (1998),
    which is Clopper-Pearson at the effective sample size of the clusters.

    hits: (n,) booleans; n = 0 gives no value, and the note says so. clusters: (n,) patients.
    """
    values = np.asarray(hits, dtype=bool).ravel()
    n = len(values)
    if not n:
        return Estimate(None, None, None, 0, 0, "none", estimand, "undefined: no study in the denominator")
    codes = (
        np.arange(n)
        if clusters is None
        else np.unique(np.asarray(clusters, dtype=str), return_inverse=True)[1]
    )
    number = int(codes.max()) + 1
    share = float(values.mean())
    patients = number if patients_known else None
    kind = "patient" if patients_known else "image"
    notes = [f"fewer than {FEW_PATIENTS} {kind}s: the interval is wide"] if number < FEW_PATIENTS else []
    if number == n:
        low, high = clopper_pearson(int(values.sum()), n, confidence)
        return Estimate(share, low, high, n, patients, "exact", estimand, "; ".join(notes))
    if number < 2:
        return Estimate(share, None, None, n, patients, "none", estimand, f"one {kind}: no interval")
    effective = _effective(values, codes, number, share, confidence)
    low, high = clopper_pearson(share * effective, effective, confidence)
    return Estimate(share, low, high, n, patients, "exact, clustered", estimand, "; ".join(notes))


def _effective(
    values: NDArray[np.bool_], codes: NDArray, number: int, share: float, confidence: float
) -> float:
    """Sample size of independent studies with the clusters' variance, with the degrees of freedom of the clusters."""
    from scipy.special import stdtrit

    sums, sizes = np.bincount(codes, weights=values), np.bincount(codes)
    n = len(values)
    variance = number / (number - 1) * float(((sums - share * sizes) ** 2).sum()) / n**2
    if variance <= 0:  # all hits, or none: as many independent studies as there are patients
        return float(number)
    level = (1 + confidence) / 2
    freedom = (float(stdtrit(n - 1, level)) / float(stdtrit(number - 1, level))) ** 2
    return float(min(n, share * (1 - share) / variance * freedom))


def ratio(
    numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[str] | NDArray | None = None, *,
    confidence: float = 0.95, estimand: str = "ratio of sums", patients_known: bool = True,
) -> Estimate:  # fmt: skip
    """Sum of numerators over sum of denominators, a ratio in [0, 1], with the delta-method cluster variance on the
    logit scale and Student's t. F1: numerators 2 TP, denominators 2 TP + FP + FN of each study.

    numerators, denominators: (n,). Undefined, and stated so, where the denominators add up to 0. patients_known: False
    where clusters are images.
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    codes = (
        np.arange(len(above))
        if clusters is None
        else np.unique(np.asarray(clusters, dtype=str), return_inverse=True)[1]
    )
    number, total = (int(codes.max()) + 1 if len(codes) else 0), float(below.sum())
    patients = number if patients_known else None
    if total == 0:
        return Estimate(
            None, None, None, len(above), patients, "none", estimand, "undefined: the denominator is 0"
        )
    value = float(above.sum() / total)
    influence = np.bincount(codes, weights=above - value * below) / total
    error = math.sqrt(number / (number - 1) * float((influence**2).sum())) if number > 1 else 0.0
    if error == 0 or not 0 < value < 1:
        kind = "patient" if patients_known else "image"
        why = "no interval: the variance is 0" if number > 1 else f"one {kind}: no interval"
        return Estimate(value, None, None, len(above), patients, "none", estimand, why)
    low, high = _logit_limits(value, error, number, confidence)
    return Estimate(value, low, high, len(above), patients, "delta", estimand)


def _logit_limits(value: float, error: float, number: int, confidence: float) -> tuple[float, float]:
    from scipy.special import expit, logit, stdtrit

    half = float(stdtrit(number - 1, (1 + confidence) / 2)) * error / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def f1_interval(
    labels: ArrayLike, calls: ArrayLike, clusters: Sequence[str] | NDArray | None = None, *, confidence: float = 0.95
) -> Estimate:  # fmt: skip
    """F1 of calls {0, 1} against labels {0, 1} with its interval (the linearisation of Takahashi et al. 2022)."""
    truth, called = np.asarray(labels, dtype=bool), np.asarray(calls, dtype=bool)
    return ratio(2.0 * (truth & called), truth.astype(float) + called, clusters, confidence=confidence,
                 estimand="F1 over all studies")  # fmt: skip


def kappa_interval(
    first: Sequence[float], second: Sequence[float], scale: Sequence[float] | None = None,
    clusters: Sequence[str] | None = None, *, weighting: Weighting = "identity", confidence: float = 0.95,
) -> Estimate:  # fmt: skip
    """Cohen's kappa of two raters: standard error over units (Gwet 2014) and Student's t, or resampled patients (BCa)
    where ``clusters`` are given. Undefined, and stated so, where only one value occurs."""
    from scipy.special import stdtrit

    ratings = Ratings.of(list(zip(first, second, strict=True)), scale)
    found, estimand = cohen_kappa(ratings, weighting), f"Cohen's kappa, {weighting} weights"
    if not found.defined:
        return Estimate(None, None, None, found.n, None, "none", estimand, found.rule)
    if clusters is not None:
        drawn = bootstrap_interval(lambda table: cohen_kappa(table, weighting).value, ratings, clusters,
                                   confidence=confidence, method="bca")  # fmt: skip
        low, high = (None, None) if math.isnan(drawn.low) else (drawn.low, drawn.high)
        return Estimate(
            found.value, low, high, found.n, drawn.clusters, "bca" if low is not None else "none", estimand
        )
    if math.isnan(found.se):
        return Estimate(found.value, None, None, found.n, None, "none", estimand, "one unit: no interval")
    half = float(stdtrit(found.n - 1, (1 + confidence) / 2)) * found.se
    return Estimate(
        found.value, max(-1.0, found.value - half), min(1.0, found.value + half), found.n, None, "t", estimand
    )


def mcnemar(first: ArrayLike, second: ArrayLike, clusters: Sequence[str] | NDArray | None = None) -> Tested:
    """McNemar's exact test of two models' hits on the same studies; with several studies a patient, the permutation test
    that exchanges the models patient by patient.

    first, second: (n,) booleans. p = 1 where the two never disagree.
    """
    from scipy.stats import binomtest

    one, two = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.shape != two.shape:
        raise ValueError(f"{len(one)} against {len(two)} studies: the same studies are needed")
    if not len(one):
        return Tested(math.nan, 0, note="no study to compare")
    if clusters is not None and len(set(np.asarray(clusters, dtype=str).tolist())) < len(one):
        return permutation_test(one.astype(float) - two, np.asarray(clusters))
    only_first, only_second = int((one & ~two).sum()), int((~one & two).sum())
    if only_first + only_second == 0:
        return Tested(1.0, len(one), exact=True, note="the two never disagree")
    return Tested(float(binomtest(only_first, only_first + only_second).pvalue), len(one), exact=True)
