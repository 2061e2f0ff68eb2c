"""Readers of the formats that people have. Every dataset is its configuration; see ``docs/datasets.md``.

``Dataset`` is what a reader is; ``images`` holds the file-level functions (read an image, a label map, somebody's
prediction on a case's grid; write a mask back). Names are loaded when first used: ``import medeval.datasets`` costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medeval.datasets.base import Dataset, ImagingDataset
    from medeval.datasets.image_mask_folder import ImageMaskFolder
    from medeval.datasets.mni152 import MNI152
    from medeval.datasets.nnunet import NNUNet
    from medeval.datasets.sa_med2d import SAMed2D
    from medeval.datasets.skimage_samples import SkimageSamples
    from medeval.datasets.table import TableDataset

_HOME = {
    "Dataset": "base",
    "ImageMaskFolder": "image_mask_folder",
    "ImagingDataset": "base",
    "MNI152": "mni152",
    "NNUNet": "nnunet",
    "SAMed2D": "sa_med2d",
    "SkimageSamples": "skimage_samples",
    "TableDataset": "table",
}

__all__ = [
    "MNI152", "Dataset", "ImageMaskFolder", "ImagingDataset", "NNUNet", "SAMed2D", "SkimageSamples", "TableDataset",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
