"""A segmentation network that is trained when it is first needed: for demonstrations and claims without any file."""

# No `from __future__ import annotations`: the options are read from the fields' types.

import json
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from medeval.datasets.base import Dataset
from medeval.datasets.fingerprints import cache_folder
from medeval.plugins import OptionsError, build, resolve
from medeval.types import PluginError, digest
from medeval_adapters.torch_common import import_torch
from medeval_adapters.torch_segmenter import TorchSegmenter

_SHARED = (
    "builder",
    "arguments",
    "classes",
    "intensity",
    "scale",
    "window",
    "channels",
    "slice_axis",
    "size",
    "divisible_by",
)
_TRAINED = Path("trained") / "weights.safetensors"


@dataclass(kw_only=True, eq=False)
class TrainedSegmenter(TorchSegmenter):
    """``torch-segmenter`` around weights that ``medeval train segmentation`` makes, kept in the cache folder.

    training: options of that recipe, the labelled ``dataset:`` above all ({format: ..., ...}). What the two have in common
    (builder, arguments, classes, intensities, sizes, device) is said once, outside of it.
    The weights are kept by a hash of the options and of the dataset's files. Raises ``PluginError`` for options that do not fit.
    """

    description: ClassVar[str] = (
        "a segmentation network trained on a labelled dataset when first needed, kept in the cache"
    )

    checkpoint: Path = _TRAINED
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Train unless that was done before; then as ``torch-segmenter``."""
        import_torch()
        self.checkpoint = self._trained()
        super().__post_init__()

    def _trained(self) -> Path:
        from medeval_adapters.train_segmentation import TrainSegmentation

        if twice := sorted({*_SHARED, "device"} & set(self.training)):
            raise PluginError(f"training: {', '.join(twice)} belong beside `training`, not into it")
        shared = {name: getattr(self, name) for name in (*_SHARED, "device")}
        try:
            recipe = build(TrainSegmentation, {**shared, **self.training})
        except OptionsError as error:
            raise PluginError(f"training: {error}") from None
        folder = cache_folder() / "trained" / _identity(recipe)
        weights = folder / "weights.safetensors"
        if not weights.is_file():
            partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
            recipe.run(partial, lambda text: None)
            _published(partial, folder)
        return weights


def _identity(recipe: Any) -> str:
    """A hash of all that the weights depend on."""
    entry = dict(recipe.dataset)
    dataset: Dataset = build(resolve("medeval.datasets", entry.pop("format")), entry)
    prints = [dataset.fingerprint(case_id) for case_id in dataset.index.ids]
    return digest(json.dumps(recipe.model_dump(mode="json"), sort_keys=True), *prints)[:24]


def _published(partial: Path, folder: Path) -> None:
    """Rename; where another process was first its work stands, which is the same."""
    try:
        partial.rename(folder)
    except OSError:
        if not (folder / "weights.safetensors").is_file():
            raise
        shutil.rmtree(partial, ignore_errors=True)
