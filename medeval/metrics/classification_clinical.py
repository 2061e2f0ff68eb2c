"""What calls mean in a clinic: alerts, predictive values at a stated prevalence, net benefit, operating points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AtPrevalence:
    """alerts_per_100: calls in 100 studies. ppv, npv: NaN where nothing (or everything) would be called."""

    prevalence: float
    alerts_per_100: float
    ppv: float
    npv: float


def at_prevalence(sensitivity: float, specificity: float, prevalence: float) -> AtPrevalence:
    """Bayes' rule. All arguments are shares in [0, 1]; raises ``ValueError`` otherwise."""
    for name, value in (
        ("sensitivity", sensitivity),
        ("specificity", specificity),
        ("prevalence", prevalence),
    ):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it must be a share in [0, 1]")
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, cleared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    ppv = true / (true + false) if true + false > 0 else math.nan
    npv = cleared / (cleared + missed) if cleared + missed > 0 else math.nan
    return AtPrevalence(prevalence, 100 * (true + false), ppv, npv)


def net_benefit(labels: NDArray, called: NDArray, threshold: float, prevalence: float | None = None) -> float:
    """TP/n - FP/n x t/(1-t) at threshold probability t (Vickers & Elkin 2006), per study.

    labels, called: (n,) {0, 1}. prevalence: where given, in the place of the data's own. Raises ``ValueError`` for t
    outside (0, 1); NaN without a positive or a negative study when a prevalence is given.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold probability {threshold} must lie in (0, 1)")
    truth, calls = np.asarray(labels, dtype=bool), np.asarray(called, dtype=bool)
    true, false = float((truth & calls).mean()), float((~truth & calls).mean())
    if prevalence is not None:
        share = float(truth.mean())
        if not 0 < share < 1:
            return math.nan
        true, false = true / share * prevalence, false / (1 - share) * (1 - prevalence)
    return true - false * threshold / (1 - threshold)


def matched_threshold(scores: Floats, labels: NDArray, specificity: float) -> float:
    """The lowest threshold (a score from it on is a call) with at least this specificity on these studies.

    Infinite where even the highest score is reached by too many negatives; NaN without a negative study.
    """
    negatives = np.sort(np.asarray(scores, dtype=np.float64)[np.asarray(labels) == 0])[::-1]
    if not len(negatives):
        return math.nan
    allowed = math.floor((1 - specificity) * len(negatives) * (1 + 1e-12))
    above = (
        np.asarray(scores)[np.asarray(scores) > negatives[allowed]]
        if allowed < len(negatives)
        else np.asarray(scores)
    )
    return float(above.min()) if len(above) else math.inf


def roc_points(scores: Floats, labels: NDArray) -> tuple[Floats, Floats]:
    """(false positive rate, true positive rate) from (0, 0) to (1, 1), one point a distinct score."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    score, truth = np.asarray(scores)[order], np.asarray(labels)[order] == 1
    last = np.r_[np.diff(score) != 0, True]
    true, false = np.cumsum(truth)[last], np.cumsum(~truth)[last]
    return np.r_[0.0, false / max(1, false[-1])], np.r_[0.0, true / max(1, true[-1])]
