"""Corrections of p-values for a declared family of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Correction = Literal["holm", "bh", "none"]
CORRECTIONS: dict[str, str] = {
    "holm": "Holm (family-wise error)",
    "bh": "Benjamini-Hochberg (false discovery rate)",
    "none": "no correction",
}


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """(n,) adjusted p-values of Holm (1979): family-wise error. NaN (no test) stays NaN and is not counted."""
    return _adjusted(p_values, step_down=True)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """(n,) adjusted p-values of Benjamini & Hochberg (1995): false discovery rate. NaN stays NaN and is not counted."""
    return _adjusted(p_values, step_down=False)


def corrected(
    p_values: Sequence[float | None] | NDArray, correction: Correction = "holm"
) -> NDArray[np.float64]:
    """(n,) p-values after this correction; None is NaN. Raises ``ValueError`` for an unknown one."""
    if correction not in CORRECTIONS:
        raise ValueError(f"correction {correction!r}: one of {', '.join(CORRECTIONS)} is needed")
    values = np.array([np.nan if p is None else p for p in p_values], dtype=np.float64)
    if correction == "none":
        return values
    return holm(values) if correction == "holm" else benjamini_hochberg(values)


def _adjusted(p_values: ArrayLike, step_down: bool) -> NDArray[np.float64]:
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise ValueError(f"p-values must lie in [0, 1], got {values[known].min()} to {values[known].max()}")
    order = known[np.argsort(values[known], kind="stable")]
    number, rank = len(order), np.arange(len(order))
    result = np.full(len(values), np.nan)
    if step_down:
        result[order] = np.maximum.accumulate(values[order] * (number - rank))
    else:
        scaled = values[order] * number / (rank + 1)
        result[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(result, 1.0)
