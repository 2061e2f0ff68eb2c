"""Small image files made on the spot, the real ones of ../shared, and a cache folder of each test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data_files import own_cache, png, shared

__all__ = ["own_cache", "png", "shared"]


@pytest.fixture
def nifti() -> Callable[..., Path]:
    def write(path: Path, array: NDArray, affine: NDArray | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
        return path

    return write


@pytest.fixture
def dump() -> Callable[[Path, object], Path]:
    def write(path: Path, value: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return write
