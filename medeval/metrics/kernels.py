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

from medeval.metrics.distances import SurfaceDistances
from medeval.metrics.inputs import Bytes

logger = logging.getLogger(__name__)

Path = Literal["c", "python"]
_MODULES: dict[Path, str] = {"c": "medeval.metrics.native", "python": "medeval.metrics.fallback"}
_backend: ModuleType


def use(path: Path) -> None:
    """Choose the path for this process; ``ImportError`` for ``"c"`` where the extension was not built."""
    global _backend
    _backend = importlib.import_module(
        _MODULES[path]
    )  # only the one in use: the fallback needs more of scipy


def path() -> Path:
    """The path in use."""
    return "c" if _backend.__name__ == _MODULES["c"] else "python"


def scan(
    prediction: Bytes, reference: Bytes, size: int, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Joint counts (size, size), rows by the prediction's value, and boxes (size, 2, ndim) of both maps' values.

    ``ValueError(value)`` when a value is not below ``size``. Boxes are half-open, zeros for an absent value.
    """
    return _backend.scan(prediction, reference, size, threads)


def narrow(labels: NDArray) -> Bytes | None:
    """A label map with one byte a voxel (a view where it has one), or None when a label is no integer in [0, 255]."""
    return labels.view(np.uint8) if labels.dtype in (np.uint8, np.bool_) else _backend.narrow(labels)


def surfaces(
    prediction: Bytes, reference: Bytes, values: tuple[int, ...], spacing: tuple[float, ...], surfel: bool
) -> SurfaceDistances:
    """Distances between the surfaces of ``values`` in two crops of one shape; neither surface is empty."""
    return _backend.surfaces(prediction, reference, values, spacing, surfel)


def _choose() -> None:
    if os.environ.get("MEDEVAL_KERNELS", "c") == "python":
        use("python")
        return
    try:
        use("c")
    except ImportError:
        use("python")
        logger.info(
            "medeval.metrics was installed without its C extension: segmentation metrics take the slower numpy path, "
            "with the same values (a C compiler and a new `pip install` build it)"
        )


_choose()
