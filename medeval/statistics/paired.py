"""Paired tests between two models on the same records, with patients as the independent units.

The permutation test exchanges the two models within a patient, all of the patient's records together: under the null
hypothesis that the models are exchangeable its size is exact, whatever the distribution and however many records a
patient has (Good 2005, section 3.7). Wilcoxon's signed-rank test is of the patients' mean differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.types.seeds import rng

Alternative = Literal["two-sided", "greater", "less"]
_EXACT = 13  # up to so many patients with a difference all 2**k exchanges are enumerated
_BLOCK = 512  # exchanges at once
_TIE = 1e-12  # relative: sums that differ by rounding alone count as equal
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tested:
    """p: NaN where there is no test, and ``note`` says why. exchanges: how many were looked at. exact: all there are."""

    p: float
    patients: int
    exchanges: int = 0
    exact: bool = False
    note: str = ""


def cluster_sums(values: Floats, clusters: NDArray) -> tuple[Floats, Floats]:
    """(patients,) sums and numbers of the records of each patient, patients in sorted order."""
    _, codes = np.unique(np.asarray(clusters).astype(str), return_inverse=True)
    order = np.lexsort([values, codes])
    sums = np.bincount(codes[order], weights=values[order]).astype(np.float64)
    return sums, np.bincount(codes).astype(np.float64)


def permutation_test(
    differences: Floats, clusters: NDArray, *, alternative: Alternative = "two-sided", exchanges: int = 10_000,
    seed: int = 0,
) -> Tested:  # fmt: skip
    """Paired permutation test of the mean difference by cluster sign flips.

    differences: (n,) first minus second of each record, finite. clusters: (n,) patient of each. exchanges: random ones
    where there are too many to enumerate; p is then (1 + hits) / (1 + exchanges). Raises ``ValueError`` for NaN.
    """
    sums = _checked(differences, clusters)
    moved = sums[sums != 0]
    if len(sums) < 2:
        return Tested(math.nan, len(sums), note="fewer than two patients: no test")
    if not len(moved):
        return Tested(1.0, len(sums), 1, True, "all differences are 0")
    observed = np.array([moved.sum()])
    if len(moved) <= _EXACT:
        bits = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        hits = _hits((1.0 - 2.0 * bits) @ moved, observed, alternative)
        return Tested(hits / len(bits), len(sums), len(bits), True)
    generator, hits = rng("sign flips", seed, len(moved)), 0
    for start in range(0, exchanges, _BLOCK):
        signs = random_signs(generator, min(_BLOCK, exchanges - start), len(moved))
        hits += _hits(signs @ moved, observed, alternative)
    return Tested((1 + hits) / (1 + exchanges), len(sums), exchanges)


def random_signs(generator: np.random.Generator, rows: int, columns: int) -> Floats:
    """(rows, columns) of +1 and -1 with equal chances."""
    raw = np.frombuffer(generator.bytes(rows * ((columns + 7) // 8)), dtype=np.uint8).reshape(rows, -1)
    return 1.0 - 2.0 * np.unpackbits(raw, axis=1, count=columns).astype(np.float64)


def _hits(found: Floats, observed: Floats, alternative: Alternative) -> int:
    """How many exchanges are at least as extreme as what was observed."""
    if alternative == "two-sided":
        found, observed = np.abs(found), np.abs(observed)
    elif alternative == "less":
        found, observed = -found, -observed
    slack = _TIE * max(float(np.abs(observed[0])), float(np.abs(found).max()))
    return int((found >= observed[0] - slack).sum())


def exchange_test(
    metric: Metric, first: Mapping[str, NDArray], second: Mapping[str, NDArray], clusters: NDArray, *,
    state: Any = None, exchanges: int = 2_000, seed: int = 0,
) -> Tested:  # fmt: skip
    """The same test, two-sided, for a metric that exists only over a corpus (AUROC, F1): it is reduced anew each time.

    first, second: field -> (n,) statistics of the same records in the same order. clusters: (n,).
    """
    names, codes = np.unique(np.asarray(clusters).astype(str), return_inverse=True)
    if len(names) < 2:
        return Tested(math.nan, len(names), note="fewer than two patients: no test")
    both = {name: np.concatenate([first[name], second[name]]) for name in metric.statistic}

    def differences(kept: Floats) -> Floats:
        chosen = np.concatenate([kept[:, codes], 1.0 - kept[:, codes]], axis=1)
        return metric.reduce(both, chosen, state) - metric.reduce(both, 1.0 - chosen, state)

    observed = differences(np.ones((1, len(names))))
    if math.isnan(observed[0]):
        return Tested(math.nan, len(names), note="undefined on these records")
    generator, hits, used = rng("exchanges", seed, len(names)), 0, 0
    step = max(1, 2**20 // max(1, 2 * len(codes)))
    for start in range(0, exchanges, step):
        kept = (random_signs(generator, min(step, exchanges - start), len(names)) + 1) / 2
        found = differences(kept)
        found = found[~np.isnan(found)]
        used += len(found)
        hits += _hits(found, observed, "two-sided") if len(found) else 0
    return Tested((1 + hits) / (1 + used), len(names), used)


def wilcoxon(differences: Floats, clusters: NDArray, *, alternative: Alternative = "two-sided") -> Tested:
    """Wilcoxon's signed-rank test of the patients' mean differences (scipy; patients without a difference left out)."""
    from scipy.stats import wilcoxon as signed_rank

    _checked(differences, clusters)
    sums, numbers = cluster_sums(differences, clusters)
    means = sums / numbers
    if len(means) < 2:
        return Tested(math.nan, len(means), note="fewer than two patients: no test")
    if not means.any():
        return Tested(1.0, len(means), note="all differences are 0")
    found = signed_rank(means[means != 0], alternative=alternative)
    return Tested(float(found.pvalue), len(means), exact=True)


@dataclass(frozen=True)
class EffectSize:
    """Of the patients' mean differences. NaN where undefined.

    cohen_dz: mean over standard deviation (Cohen 1988). rank_biserial: matched-pairs rank-biserial correlation
    (Kerby 2014), in [-1, 1]. superiority: share of patients on which the first is larger, ties half.
    """

    cohen_dz: float
    rank_biserial: float
    superiority: float


def effect_size(differences: Floats, clusters: NDArray) -> EffectSize:
    """Effect sizes of first minus second; differences: (n,), clusters: (n,) patient of each."""
    from scipy.stats import rankdata

    _checked(differences, clusters)
    sums, numbers = cluster_sums(differences, clusters)
    means = sums / numbers
    spread = means.std(ddof=1) if len(means) > 1 else 0.0
    dz = float(means.mean() / spread) if spread > 0 else (0.0 if not means.any() else math.nan)
    moved = means[means != 0]
    ranks = rankdata(np.abs(moved))
    biserial = float((ranks * np.sign(moved)).sum() / ranks.sum()) if len(moved) else 0.0
    return EffectSize(dz, biserial, float(((means > 0) + 0.5 * (means == 0)).mean()))


def _checked(differences: Floats, clusters: NDArray) -> Floats:
    """Sums by patient. Raises ``ValueError`` for what cannot be tested."""
    if len(differences) != len(clusters) or not len(differences):
        raise ValueError(
            f"{len(differences)} differences for {len(clusters)} clusters; equal numbers above 0 are needed"
        )
    if not np.isfinite(differences).all():
        raise ValueError(f"{int((~np.isfinite(differences)).sum())} of {len(differences)} differences are not finite; "
                         "leave undefined records out of both models")  # fmt: skip
    return cluster_sums(np.asarray(differences, dtype=np.float64), clusters)[0]
