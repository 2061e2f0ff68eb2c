"""Signed rubric points, reliability over samples, and how a grader agrees with physicians criterion by criterion.

Definitions of HealthBench (arXiv 2505.08775; openai/simple-evals healthbench_eval.py and healthbench_meta_eval.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.types.errors import MetricError


def points_score(points: Sequence[float], met: Sequence[bool]) -> float:
    """Points of the criteria that are met (negative ones subtract) over the sum of positive points; not clipped.

    NaN when no criterion has positive points. Negative criteria count when they are *present*.
    """
    if len(points) != len(met):
        raise MetricError(f"{len(met)} grades for {len(points)} criteria; one grade a criterion is needed")
    possible = sum(p for p in points if p > 0)
    return sum(p for p, m in zip(points, met, strict=True) if m) / possible if possible > 0 else math.nan


def clipped_mean(scores: Sequence[float]) -> float:
    """HealthBench's headline: the *mean* clipped to [0, 1], single cases are not. NaN for no scores."""
    return float(np.clip(np.mean(scores), 0, 1)) if len(scores) else math.nan


def worst_at_k(scores: Sequence[Sequence[float]] | NDArray, k: int) -> float:
    """Mean over cases of the expected worst of k samples, each case having N >= k samples; not clipped.

    Closed form of the average over all k-subsets: sum_i C(N - i, k - 1) s_(i) / C(N, k), s sorted ascending, i from 1.
    """
    values = []
    for number, samples in enumerate(scores):
        n = len(samples)
        if not 1 <= k <= n:
            raise MetricError(
                f"case {number} has {n} samples; the worst of {k} needs at least {k} and k >= 1"
            )
        ways = np.array([math.comb(n - i, k - 1) for i in range(1, n + 1)], dtype=np.float64)
        values.append(float(np.sort(np.asarray(samples, dtype=np.float64)) @ ways / math.comb(n, k)))
    return float(np.mean(values)) if values else math.nan


def length_adjusted(score: float, characters: int, penalty: float, centre: int = 2000) -> float:
    """score - penalty * (characters - centre) / 500: an answer shorter than the centre earns a bonus."""
    return score - penalty * (characters - centre) / 500


@dataclass(frozen=True)
class PairwiseGrades:
    """Grader against physicians, one pair a (criterion, physician). ``met`` and ``unmet``: (precision, recall, f1) of
    either class, NaN where undefined; n_*: denominators."""

    precision: tuple[float, float]
    recall: tuple[float, float]
    f1: tuple[float, float]
    n_predicted: tuple[int, int]
    n_true: tuple[int, int]

    def balanced(self, name: str) -> float:
        """Mean of both classes (macro); NaN where either does not exist."""
        return float(np.mean(getattr(self, name)))


def pairwise_grades(grader: Sequence[bool], physicians: Sequence[Sequence[bool]]) -> PairwiseGrades:
    """Precision, recall and F1 of the classes (met, unmet): each physician's vote is one truth to compare with.

    The mean of both classes' F1 is HealthBench's meta-evaluation score. The same call with a physician in the grader's
    place, left out of ``physicians``, gives the human ceiling.
    """
    if len(grader) != len(physicians):
        raise MetricError(f"{len(grader)} grades for {len(physicians)} rated criteria")
    pairs = np.array([(g, p) for g, votes in zip(grader, physicians, strict=True) for p in votes], dtype=bool)
    pairs = pairs.reshape(-1, 2)
    columns = [_one_class(pairs[:, 0] == side, pairs[:, 1] == side) for side in (True, False)]
    return PairwiseGrades(*(tuple(values) for values in zip(*columns, strict=True)))


def pairwise_grades_by(
    groups: Sequence[str], grader: Sequence[bool], physicians: Sequence[Sequence[bool]]
) -> Mapping[str, PairwiseGrades]:
    """The same for each group of criteria (theme, axis, cluster), in order of name."""
    return {
        name: pairwise_grades(
            [g for g, group in zip(grader, groups, strict=True) if group == name],
            [p for p, group in zip(physicians, groups, strict=True) if group == name],
        )
        for name in sorted(set(groups))
    }


def _one_class(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> tuple[float, float, float, int, int]:
    hit, n_said, n_true = int((said & true).sum()), int(said.sum()), int(true.sum())
    precision = hit / n_said if n_said else math.nan
    recall = hit / n_true if n_true else math.nan
    total = precision + recall
    f1 = 2 * precision * recall / total if total > 0 else math.nan
    return precision, recall, f1, n_said, n_true
