"""Small image files made on the spot, the real ones of ../shared, and a cache folder of each test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MEDEVAL_CACHE", str(folder))
    return folder


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The folder of real data by name; the test is skipped where it is not there."""

    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            pytest.skip(f"real data {name!r} is not on this machine (looked in ../shared/data)")
        return folder

    return find


@pytest.fixture
def png() -> Callable[..., Path]:
    def write(path: Path, array: NDArray, **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path, **options)
        return path

    return write


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
