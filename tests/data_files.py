"""What tests of data sets share: the real ones of ../shared, a cache folder of each test's own, pictures on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


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
