"""Any PyTorch (or MONAI) segmentation network from its checkpoint: a class or function that builds it, and the weights."""

# No `from __future__ import annotations`: the options are read from the fields' types.

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.plugins import resolve
from medeval.types import Image, LabelMap, PluginError, Structures
from medeval_adapters.image_tensors import Intensity, Placement, scaled
from medeval_adapters.torch_common import (
    Device,
    Precision,
    import_torch,
    inference,
    pick_device,
    pick_precision,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(kw_only=True, eq=False)
class TorchSegmenter:
    """A network whose forward gives logits (N, classes, *spatial), as a model of automatic segmentation that can be adapted.

    builder: ``package.module:Class``, a function, or ``path/file.py:Class``; called with ``arguments``.
    checkpoint: .pth or .safetensors, read without running what it holds. key: where in it the weights are.
    classes: names of the output channels, the background first; default: a channel's number is the dataset's label value.
    output: "softmax"; "sigmoid", where every channel is a structure of its own (``classes`` then has no background); or
        "probabilities" of a softmax. A single channel is always the logit of a binary foreground.
    intensity: "percentiles" (1 and 99 become ``scale``), "range" (smallest and largest), "z-score", or "none"; of each image
        and channel. window: values that are clipped to first. channels: of the image's; default all.
    slice_axis: along which a 2D network takes a volume apart; all slices are one batch, so that batch statistics are the
        volume's. size: of what the network sees, resized to it and back. divisible_by: sides are padded to multiples.
    roi: the network's window on larger volumes, moved with half overlap (MONAI's sliding window).
    device, precision: see ``torch_common``.
    Building raises ``PluginError`` for a network that cannot be built and for weights that are not its own.
    """

    baseline: ClassVar[bool] = False
    description: ClassVar[str] = "any PyTorch or MONAI segmentation network, from builder and checkpoint"

    builder: str
    checkpoint: Path
    arguments: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    classes: tuple[str, ...] | None = None
    output: Literal["softmax", "sigmoid", "probabilities"] = "softmax"
    intensity: Intensity = "percentiles"
    scale: tuple[float, float] = (-1.0, 1.0)
    window: tuple[float, float] | None = None
    channels: tuple[int, ...] | None = None
    slice_axis: Annotated[int, Field(ge=0, le=2)] = 2
    size: tuple[int, ...] | None = None
    divisible_by: Annotated[int, Field(ge=1)] = 16
    roi: tuple[int, ...] | None = None
    device: Device = "auto"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        """Build the network and load its weights."""
        self._device = pick_device(self.device)
        self._dtype = pick_precision(self.precision, self._device)
        self._network = self._built().to(self._device).eval()
        self._dimensions = dimensions_of(self._network, self.size)

    @property
    def module(self) -> "nn.Module":
        """The network, as methods of adaptation take it. Raises ``PluginError`` where its output is no softmax's logits."""
        if self.output == "probabilities" or (self.output == "sigmoid" and len(self.classes or ()) > 1):
            raise PluginError(
                f"output: {self.output}: adaptation needs a network that gives logits of a softmax (or one channel); "
                "build it without its last activation"
            )
        return self._network

    def with_module(self, module: "nn.Module") -> "TorchSegmenter":
        """The same model around another network, which gives logits of the same classes."""
        other = copy.copy(self)
        other._network = module.to(self._device).eval()
        return other

    def tensor(self, image: Image) -> "Tensor":
        """What the network sees of an image: (1, C, *spatial), or (slices, C, *spatial) for a 2D network and a volume; float32.

        Raises ``DataError`` for NaN, for channels that there are not, and for a 2D image where a volume is needed.
        """
        return self._placement(image).image(
            scaled(image, self.channels, self.window, self.intensity, self.scale)
        )

    def label_tensor(self, structures: Structures) -> "Tensor":
        """Class numbers on the grid of ``tensor``, (N, *spatial) int64; 0 where there is no class. For supervised training."""
        array = class_numbers(structures, self.classes)
        return Placement.of(
            structures.shape, self._dimensions, self.slice_axis, self.size, self.divisible_by
        ).label(array)

    def segment_image(self, image: Image, structures: Sequence[str]) -> LabelMap | NDArray[np.int64]:
        """Classes of every voxel, at the image's own size. Structures that ``classes`` does not name are not covered."""
        placement = self._placement(image)
        seen = self.tensor(image).to(self._device)
        with inference(self._device, self._dtype):
            out = placement.restore(self._forward(seen).float())
        if self.output == "sigmoid" and out.shape[0] > 1:
            return self._masks(out > 0)
        best = (out[0] > 0).long() if out.shape[0] == 1 else out.argmax(0)
        array = best.cpu().numpy()
        if self.classes is None:
            return array
        first = 1 if self.output == "sigmoid" else 0
        labels = {name: (number + first,) for number, name in enumerate(self.classes) if number + first}
        return LabelMap(array, labels)

    def _masks(self, found: "Tensor") -> Any:
        if self.classes is None:
            raise PluginError("output: sigmoid needs `classes`, the names of its channels")
        return dict(zip(self.classes, found.cpu().numpy(), strict=True))

    def _forward(self, seen: "Tensor") -> "Tensor":
        if self.roi is None:
            out = self._network(seen)
        else:
            from monai.inferers import sliding_window_inference

            out = sliding_window_inference(seen, self.roi, len(seen), self._network, overlap=0.5)
        out = out[0] if isinstance(out, list | tuple) else out
        if self.classes is not None and out.shape[1] not in (1, len(self.classes)):
            raise PluginError(f"the network gives {out.shape[1]} channels; classes names {len(self.classes)}")
        return out

    def _placement(self, image: Image) -> Placement:
        return Placement.of(image.grid.shape, self._dimensions, self.slice_axis, self.size, self.divisible_by)

    def _built(self) -> "nn.Module":
        import_torch()
        from medeval_models.weights import WeightsError, load_weights, read_weights

        build = resolve("medeval.networks", self.builder)
        try:
            network = build(**self.arguments)
        except (TypeError, ValueError) as error:
            raise PluginError(
                f"arguments: {self.builder} cannot be built from {self.arguments}: {error}"
            ) from error
        try:
            load_weights(network, read_weights(self.checkpoint, key=self.key), source=str(self.checkpoint))
        except WeightsError as error:
            raise PluginError(f"checkpoint: {error}") from error
        return network


def class_numbers(structures: Structures, classes: Sequence[str] | None) -> NDArray[np.int64]:
    """A network's class of every voxel, 0 where there is none: positions in ``classes``, or the dataset's own label values.

    Raises ``PluginError`` for separate masks without ``classes``.
    """
    if classes is not None:
        numbered = [
            (number, name) for number, name in enumerate(classes) if number and name in structures.names
        ]
    elif isinstance(structures, LabelMap):
        numbered = [(values[0], name) for name, values in structures.labels.items() if len(values) == 1]
    else:
        raise PluginError("a dataset of separate masks: name the network's `classes`")
    array = np.zeros(structures.shape, dtype=np.int64)
    for number, name in numbered:
        array[structures.mask(name)] = number
    return array


def dimensions_of(network: Any, size: tuple[int, ...] | None) -> int:
    """Spatial dimensions of a network: of its convolutions, else of ``size``."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            return 2
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            return 3
    return len(size) if size else 2
