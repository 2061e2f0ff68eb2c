"""Small nnU-Net data sets made on the spot, the real ones of ../shared, and a cache folder of each test's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from numpy.typing import NDArray
from toy_volumes import LABELS, OBLIQUE, volume

from medeval.datasets.building.options import BuildOptions
from medeval.datasets.building.run import build
from medeval.datasets.building.sources import plan_nnunet
from tests.data_files import own_cache, png, shared

__all__ = ["own_cache", "png", "shared"]


@pytest.fixture
def nnunet(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set: case -> (channels, labels)."""

    def write(
        cases: Mapping[str, tuple[Any, NDArray | None]],
        *,
        name: str = "Dataset007_Toy",
        labels: Mapping[str, Any] = LABELS,
        channels: tuple[str, ...] = ("CT",),
        affine: NDArray = OBLIQUE,
        part: str = "Tr",
    ) -> Path:
        root = tmp_path / "source" / name
        (root / f"images{part}").mkdir(parents=True, exist_ok=True)
        (root / f"labels{part}").mkdir(exist_ok=True)
        for case, (images, mask) in cases.items():
            for number, image in enumerate(images if isinstance(images, list) else [images]):
                nib.save(nib.Nifti1Image(image, affine), root / f"images{part}/{case}_{number:04d}.nii.gz")
            if mask is not None:
                nib.save(nib.Nifti1Image(mask, affine), root / f"labels{part}/{case}.nii.gz")
        about = {
            "channel_names": {str(n): c for n, c in enumerate(channels)},
            "labels": labels,
            "file_ending": ".nii.gz",
        }
        (root / "dataset.json").write_text(json.dumps(about))
        return root

    return write


@pytest.fixture
def built(nnunet: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Build a data set of two cases (or the given ones) with options; the folder."""

    def make(
        cases: Any = None, out: str = "out", *, source: Any = None, packed: bool = False, **options: Any
    ) -> Path:
        root = nnunet(cases or {"a_1": volume(1), "b_2": volume(2)}, **(source or {}))
        build(plan_nnunet(root, {}), tmp_path / out, BuildOptions(**options), packed=packed)
        return tmp_path / out

    return make
