"""Tests of paired differences, patients as the unit, and Holm's correction for having asked several questions.

The sign-flip permutation test (Good 2005, section 3.2; ``scipy.stats.permutation_test`` with ``permutation_type="samples"``)
asks how often a mean difference as large would come about if each patient's two scores were exchangeable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medeval.types.seeds import rng

_EXACT = 16  # patients with a difference up to which all 2**n sign patterns are looked at
_DRAWS = 2**16
_ROWS = 4096


def sign_flip(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p value of the mean of (n,) differences, one a patient; NaN (no pair) is left out.

    Patients without a difference say nothing in either direction and drop out. Exact up to 16 others; beyond it by 65,536
    seeded draws, with the observed pattern counted among them (Phipson & Smyth 2010), so that p is never 0.
    1.0 when no patient differs.
    """
    given = np.asarray(differences, dtype=np.float64)
    moved = np.abs(given[~np.isnan(given) & (given != 0)])
    observed = abs(float(given[~np.isnan(given)].sum()))
    n = len(moved)
    if n == 0:
        return 1.0
    limit = observed * (1 - 1e-12)  # the same sum, added in another order, counts as equal
    if n <= _EXACT:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float(np.mean(np.abs((2 * patterns - 1) @ moved) >= limit))
    generator = rng(seed, "sign flip", n)
    hits = 0
    for _ in range(_DRAWS // _ROWS):
        signs = 2 * generator.integers(0, 2, size=(_ROWS, n), dtype=np.int8) - 1
        hits += int((np.abs(signs @ moved) >= limit).sum())
    return (hits + 1) / (_DRAWS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the order given: they hold the family-wise error rate.

    Raises ``ValueError`` for a value outside [0, 1].
    """
    given = np.asarray(p_values, dtype=np.float64)
    if len(given) and not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"p values must lie in [0, 1]; got {list(p_values)}")
    order = np.argsort(given, kind="stable")
    stepped = given[order] * (len(given) - np.arange(len(given)))
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(p) for p in adjusted]
