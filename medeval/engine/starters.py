"""Suites to begin with: ``medeval init FORMAT DIR`` writes one that runs as it is."""

from __future__ import annotations

from pathlib import Path

import yaml

from medeval.datasets.base import Dataset
from medeval.engine.plan import DATASETS
from medeval.plugins import build, names, resolve
from medeval.types import DatasetError, UserError

_TEMPLATE = """\
# Written by `medeval init {format}`. Run it:  medeval run {file}
# What can stand here: docs/suite.md; editors complete from `medeval schema`.
name: {name}
seed: 0

datasets:
  {name}: {dataset}

models:                                     # floors and classical methods that need no weights; put yours beside them
  box-as-mask: {{adapter: box-as-mask}}
  region-growing: {{adapter: region-growing}}
  # mine: {{adapter: "my_model.py:MyModel"}}            # encode(image), segment(encoded, prompts)
{predictions}
tasks:
  - task: prompted-segmentation
    prompts: [box, 1 point, 3 clicks]
    metrics: [dice, iou, hd95, "nsd@2mm"]
    by: [structure]
    models: [box-as-mask, region-growing]
{automatic}"""

_PREDICTIONS = """\
  {name}: {{adapter: predictions, root: {root}}}
"""

_AUTOMATIC = """\
  - task: segmentation                      # label maps of another system, in the same table
    metrics: [dice, iou, hd95, "nsd@2mm"]
    by: [structure]
    models: [{name}]
"""


def starter(format_: str, root: Path, predictions: Path | None = None, file: str = "suite.yaml") -> str:
    """The text of a suite for a dataset folder.

    predictions: a folder of somebody's outputs to put beside the models. Raises ``UserError`` when the format is not known
    or the folder does not hold a dataset of it.
    """
    cls = resolve(DATASETS, format_)
    fields = cls.model_fields
    if "root" not in fields:
        raise UserError(f"format {format_!r} has no folder; formats with one: {', '.join(_with_root())}")
    root = root.resolve()
    options = {"root": str(root)}
    dataset: Dataset = build(cls, options)
    _ = dataset.index  # tells what is wrong now and not at the first run
    name = _safe(root.name)
    other = _safe(predictions.name) if predictions is not None else ""
    if predictions is not None and not predictions.is_dir():
        raise DatasetError(f"{predictions}: no such folder")
    return _TEMPLATE.format(
        format=format_,
        file=file,
        name=name,
        dataset=_flow({"format": format_, **options}),
        predictions=_PREDICTIONS.format(name=other, root=_flow(str(predictions.resolve())))
        if predictions
        else "",
        automatic=_AUTOMATIC.format(name=other) if predictions else "",
    )


def _with_root() -> list[str]:
    takes = {name: "root" in resolve(DATASETS, name).model_fields for name in names(DATASETS)}
    return [name for name, has_root in takes.items() if has_root]


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name) or "data"


def _flow(value: object) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")
    )
