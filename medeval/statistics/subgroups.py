"""Subgroups: the score of each group, the worst one, the gap, and whether it is more than chance.

Tests are permutations of the group labels over patients: a patient's records move together. Where most patients have
records in several groups (a structure, a view) labels are permuted within each patient instead. The family of the
correction is the groups of one column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics.corrections import Correction, corrected
from medeval.statistics.estimates import Estimate, estimate
from medeval.statistics.resamples import Resamples
from medeval.types.seeds import rng

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """One group. difference: its mean minus that of all other records. p: of that difference, corrected over the groups;
    NaN where there is no test."""

    name: str
    estimate: Estimate
    difference: float
    p: float


@dataclass(frozen=True)
class Subgroups:
    """groups: in order of name. worst, best: names. gap: between them, at least 0. p: of no difference between any groups.

    equity_scaled: overall / (1 + standard deviation of the groups' values) (ES-Dice, first form; Tian et al. 2023,
    arXiv 2311.02189), NaN for a metric of which less is better. note: what to know before believing it.
    """

    groups: tuple[Group, ...]
    worst: str
    best: str
    gap: float
    p: float
    equity_scaled: float
    note: str = ""


def subgroups(
    metric: Metric, values: Floats, labels: Sequence[str] | NDArray, clusters: NDArray, resamples: Resamples, *,
    correction: Correction = "holm", permutations: int = 2_000, seed: int = 0,
) -> Subgroups:  # fmt: skip
    """Compare groups of a mean metric's records.

    values: (n,). labels: (n,) group of each record. clusters: (n,) its patient. Raises ``ValueError`` unless there are
    two groups or more, and for a metric that is no mean.
    """
    names, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    if not metric.linear or len(names) < 2:
        what = (
            f"{metric.name} is no mean over records" if not metric.linear else f"one group, {names.tolist()}"
        )
        raise ValueError(f"{what}; subgroups need a mean metric and two groups or more")
    found = [
        estimate(metric, {"value": values[codes == g]}, clusters[codes == g], resamples)
        for g in range(len(names))
    ]
    scores = np.array([math.nan if e.value is None else e.value for e in found])
    order = np.argsort(scores if metric.direction == "higher" else -scores, kind="stable")
    differences, p_each, p_all = _permuted(values, codes, clusters, len(names), permutations, seed)
    adjusted = corrected(p_each, correction)
    groups = tuple(
        Group(str(name), e, float(d), float(p))
        for name, e, d, p in zip(names, found, differences, adjusted, strict=True)
    )
    scaled = math.nan if metric.direction == "lower" else float(values.mean() / (1 + scores.std(ddof=1)))
    return Subgroups(groups, str(names[order[0]]), str(names[order[-1]]), float(abs(scores[order[-1]] - scores[order[0]])),
                     p_all, scaled, _note(codes, clusters))  # fmt: skip


def _permuted(
    values: Floats, codes: NDArray, clusters: NDArray, number: int, permutations: int, seed: int
) -> tuple[Floats, Floats, float]:
    """Each group's difference to the rest, its p, and the p of the largest standardised difference."""
    patients, owner = np.unique(np.asarray(clusters).astype(str), return_inverse=True)
    units, unit = np.unique(owner * number + codes, return_inverse=True)  # a patient's records of one group
    sums = np.bincount(unit, weights=values).astype(np.float64)
    sizes = np.bincount(unit).astype(np.float64)
    member = units % number
    if len(patients) < 3 or len(units) < 3:
        return _gaps(sums, sizes, member[None], number)[0], np.full(number, np.nan), math.nan
    generator = rng("subgroups", seed, len(units), number)
    home = units // number
    within = _several(home) > len(patients) / 2
    order = _orders(generator, home if within else np.zeros_like(home), permutations)
    drawn = np.empty_like(order)
    drawn[:, np.argsort(home if within else np.zeros_like(home), kind="stable")] = member[order]
    observed = _gaps(sums, sizes, member[None], number)[0]
    null = _gaps(sums, sizes, drawn, number)
    spread = null.std(axis=0)
    slack = 1e-12 + 1e-9 * np.abs(observed)
    each = (1 + (np.abs(null) >= np.abs(observed) - slack).sum(axis=0)) / (1 + permutations)
    scaled = np.divide(np.abs(null), spread, out=np.zeros_like(null), where=spread > 0).max(axis=1)
    own = np.divide(np.abs(observed), spread, out=np.zeros_like(observed), where=spread > 0).max()
    return observed, each, float((1 + (scaled >= own - 1e-9).sum()) / (1 + permutations))


def _gaps(sums: Floats, sizes: Floats, member: NDArray, number: int) -> Floats:
    """(r, groups) mean of a group minus the mean of all others, under (r, units) memberships; 0 where there are no others."""
    inside = np.stack([(member == g) @ np.stack([sums, sizes], axis=1) for g in range(number)], axis=1)
    total, size = inside[..., 0], inside[..., 1]
    others = sizes.sum() - size
    own = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
    rest = np.divide(sums.sum() - total, others, out=np.zeros_like(total), where=others > 0)
    return np.where((size > 0) & (others > 0), own - rest, 0.0)


def _orders(generator: np.random.Generator, blocks: NDArray, permutations: int) -> NDArray[np.int64]:
    """(permutations, units) positions, shuffled within each block; blocks stand one after another."""
    keys = generator.random((permutations, len(blocks))) + np.asarray(
        blocks
    )  # a block's keys stay below the next one's
    return np.argsort(keys, axis=1)


def _several(owners: NDArray) -> int:
    """How many patients have more than one unit."""
    return int((np.unique(owners, return_counts=True)[1] > 1).sum())


def _note(codes: NDArray, clusters: NDArray) -> str:
    pairs = set(zip(np.asarray(clusters).astype(str).tolist(), codes.tolist(), strict=True))
    owners = np.array([patient for patient, _ in pairs])
    several, patients = _several(owners), len(set(owners.tolist()))
    if several > patients / 2:
        return "labels permuted within patients, most of whom have records in several groups"
    return (
        f"{several} patients have records in several groups: the test takes them for different patients"
        if several
        else ""
    )


@dataclass(frozen=True)
class Suitability:
    """Whether a data set can separate methods (Isensee et al. 2024, nnU-Net Revisited).

    between: standard deviation of the methods' means. within: of one method's repeats (seeds, folds), pooled.
    ratio: between / within. verdict: "can separate" above 1, else "cannot separate"; "unknown" without repeats.
    """

    between: float
    within: float
    ratio: float
    verdict: Literal["can separate", "cannot separate", "unknown"]


def suitability(repeats: dict[str, Sequence[float]]) -> Suitability:
    """repeats: method -> its scores over seeds or folds. Raises ``ValueError`` for fewer than two methods."""
    if len(repeats) < 2:
        raise ValueError(f"{len(repeats)} method: the spread between methods needs two or more")
    between = float(np.std([np.mean(scores) for scores in repeats.values()], ddof=1))
    several = [np.asarray(scores, dtype=np.float64) for scores in repeats.values() if len(scores) > 1]
    if not several:
        return Suitability(between, math.nan, math.nan, "unknown")
    freedom = sum(len(scores) - 1 for scores in several)
    within = math.sqrt(sum(float(((s - s.mean()) ** 2).sum()) for s in several) / freedom)
    ratio = between / within if within > 0 else math.inf
    return Suitability(between, within, ratio, "can separate" if between > within else "cannot separate")
