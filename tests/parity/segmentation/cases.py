"""The fixtures, and how a value of a peer is read."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[3] / "shared"


@cache
def load(name: str) -> dict[str, Any]:
    """One JSON file of values."""
    return json.loads((HERE / f"{name}.json").read_text())


@cache
def _arrays(name: str) -> dict[str, NDArray]:
    with np.load(HERE / f"{name}.npz") as file:
        return dict(file)


def masks(case: str) -> tuple[NDArray, NDArray, tuple[float, ...]]:
    """(prediction, reference, spacing) of a small case."""
    arrays = _arrays("masks_small")
    return (
        arrays[f"{case}__pred"],
        arrays[f"{case}__ref"],
        tuple(load("masks_small")["cases"][case]["spacing"]),
    )


def instance_maps(case: str) -> tuple[NDArray, NDArray]:
    """(prediction, reference) instance maps."""
    arrays = _arrays("instances")
    return arrays[f"{case}__pred"], arrays[f"{case}__ref"]


def finite(value: Any) -> float | None:
    """A peer's number; None for what is no finite number (nan, inf, an exception, absent)."""
    return float(value) if isinstance(value, int | float) else None
