"""A suite made from two folders: predictions and references, no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medeval.datasets.images import read_grid, read_mask_like
from medeval.datasets.labels import parse_labels
from medeval.datasets.paths import IMAGES, read_json, stem_of, suffix_of
from medeval.suite import Suite
from medeval.types import DatasetError


def evaluation_suite(
    predictions: Path,
    references: Path,
    metrics: tuple[str, ...],
    labels: Mapping[str, Any] | None = None,
    by: tuple[str, ...] = (),
) -> Suite:
    """The suite of ``medeval evaluate``.

    Label names come from ``labels``, from a dataset.json in or above the references, or else are the values that occur
    (``label 1`` ...). Raises ``DatasetError`` when a folder is not there or the two have no file name in common.
    """
    predictions, references = predictions.resolve(), references.resolve()
    for folder in (predictions, references):
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder")
    references, described = _reference_folder(references)
    files = _images(references)
    if not files:
        raise DatasetError(f"{references}: no label maps; files ending in {', '.join(IMAGES)} are read")
    predictions = _prediction_folder(predictions, files, described)
    suffix = _suffix(files)
    data = {
        "name": f"evaluate {predictions.name}"[:60],
        "datasets": {
            "references": {
                "format": "image-mask-folder",
                "root": str(references),
                "images": "{id}" + suffix,
                "masks": "{id}" + suffix,
                "labels": dict(labels) if labels else _labels(described, files),
            }
        },
        "models": {
            predictions.name: {"adapter": "predictions", "root": str(predictions), "pattern": "{id}" + suffix}
        },
        "tasks": [{"task": "segmentation", "metrics": list(metrics), "by": ["structure", *by]}],
    }
    return Suite.from_dict(data, base=Path.cwd())


def _reference_folder(folder: Path) -> tuple[Path, Path | None]:
    """(folder of the label maps, the dataset.json that describes them or None)."""
    for holder, labels in ((folder, folder / "labelsTs"), (folder.parent, folder)):
        if (holder / "dataset.json").is_file() and labels.is_dir():
            return labels, holder / "dataset.json"
    return folder, folder / "dataset.json" if (folder / "dataset.json").is_file() else None


def _prediction_folder(folder: Path, references: Mapping[str, Path], described: Path | None) -> Path:
    """The folder itself, or the one folder below it that bears the data set's name, when the files are there."""
    below = [folder / described.parent.name] if described is not None else []
    for candidate in (folder, *below):
        if candidate.is_dir() and set(_images(candidate)) & set(references):
            return candidate
    raise DatasetError(
        f"{folder}: no prediction bears the name of a reference, such as {next(iter(references))!r}; predictions are "
        "matched by file name"
    )


def _images(folder: Path) -> dict[str, Path]:
    """Stem -> file, in order of names."""
    paths = sorted(
        p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and suffix_of(p) in IMAGES
    )
    return {stem_of(path): path for path in paths}


def _suffix(files: Mapping[str, Path]) -> str:
    suffixes = sorted({suffix_of(path) for path in files.values()})
    if len(suffixes) > 1:
        raise DatasetError(f"references of several kinds in one folder: {', '.join(suffixes)}; use one kind")
    return suffixes[0]


def _labels(described: Path | None, files: Mapping[str, Path]) -> dict[str, Any]:
    if described is not None:
        found = read_json(described).get("labels", {})
        if all(str(key).isdigit() and isinstance(value, str) for key, value in found.items()):  # nnU-Net v1
            found = {name: int(value) for value, name in found.items()}
        parse_labels(found, f"{described}: labels")
        return found
    values = sorted({value for path in files.values() for value in _values(path)})
    if len(values) > 1000:
        raise DatasetError(
            f"{next(iter(files.values())).parent}: {len(values)} different values; these are no label maps"
        )
    return {"background": 0, **{f"label {value}": value for value in values}}


def _values(path: Path) -> set[int]:
    array, _ = read_mask_like(path, read_grid(path), "error")
    return set(np.unique(array).tolist()) - {0}
