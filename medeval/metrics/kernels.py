"""The hot paths: compiled where the extension was built, else numpy and scipy with the same numbers.

``MEDEVAL_KERNELS=python`` (before import), or ``use("python")``, chooses the fallback.
"""

from __future__ import annotations

import importlib
import logging
import os
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics import fallback
from medeval.metrics.distances import SurfaceDistances
from medeval.metrics.inputs import Bytes

compiled: ModuleType | None = None  # the C side's wrapper

logger = logging.getLogger(__name__)

Path = Literal["c", "python"]


def use(path: Path) -> None:
    """Choose the path for this process; ``RuntimeError`` for ``"c"`` where the extension was not built."""
    global compiled
    if path == "python":
        compiled = None
        return
    compiled = importlib.import_module("medeval.metrics.native")


def path() -> Path:
    """The path in use."""
    return "python" if compiled is None else "c"


def scan(
    prediction: Bytes, reference: Bytes, size: int, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Joint counts (size, size), rows by the prediction's value, and boxes (size, 2, ndim) of both maps' values.

    ``ValueError(value)`` when a value is not below ``size``. Boxes are half-open, zeros for an absent value.
    """
    return (compiled or fallback).scan(prediction, reference, size, threads)


def surfaces(
    prediction: Bytes, reference: Bytes, values: tuple[int, ...], spacing: tuple[float, ...], surfel: bool
) -> SurfaceDistances:
    """Distances between the surfaces of ``values`` in two crops of one shape; neither surface is empty."""
    return (compiled or fallback).surfaces(prediction, reference, values, spacing, surfel)


def _choose() -> None:
    if os.environ.get("MEDEVAL_KERNELS", "c") == "python":
        return
    try:
        use("c")
    except ImportError:
        logger.info(
            "medeval.metrics was installed without its C extension: segmentation metrics take the slower numpy path, "
            "with the same values (a C compiler and a new `pip install` build it)"
        )


_choose()
