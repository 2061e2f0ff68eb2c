"""Target images: checked as they are read, and given in seeded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from medeval_models.adaptation.base import AdaptationError

Crop = tuple[slice, ...]


@dataclass(frozen=True)
class Batch:
    """One step's images.

    images: (N, C, *spatial) on the network's device. items: number of each target image in it, and its crop, an index of
    (N, *spatial). lengths: how many of the N are of each item. labels: (N, *spatial) class numbers, or None.
    """

    images: Tensor
    items: tuple[tuple[int, Crop], ...]
    lengths: tuple[int, ...]
    labels: Tensor | None = None

    def of(self, maps: Sequence[Tensor]) -> Tensor:
        """The batch's part of maps (N, *spatial) that are kept by number of the target image, (N, *spatial)."""
        return torch.cat([maps[number][crop] for number, crop in self.items]).to(self.images.device)


class TargetImages:
    """The images of a target domain.

    images: (N, C, *spatial) each. labels: (N, *spatial) beside them or None. Reading raises ``AdaptationError`` for an image
    with NaN, of other channels than the model takes, or of other dimensions.
    """

    def __init__(
        self, images: Sequence[Tensor], model: nn.Module, labels: Sequence[Tensor] | None = None
    ) -> None:
        if len(images) == 0:
            raise AdaptationError("no target images; an adaptation needs one at least")
        if labels is not None and len(labels) != len(images):
            raise AdaptationError(f"{len(labels)} label maps for {len(images)} target images")
        self._images = images
        self._labels = labels
        self._channels, self._ndim = _input_of(model)
        self.device = device_of(model)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> Tensor:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return checked(self._images[number], f"target image {number}", self._channels, self._ndim)

    def whole(self) -> Iterator[Tensor]:
        """Every image, on the network's device, in order."""
        for number in range(len(self)):
            yield self[number].to(self.device)

    def batches(
        self, seed: int, epoch: int, batch_size: int = 1, slices: int | None = None, patch: tuple[int, ...] | None = None
    ) -> Batches:  # fmt: skip
        """The epoch's batches in an order, and with crops, that depend on (seed, epoch) alone."""
        return Batches(self, seed, epoch, batch_size, slices, patch)

    def together(self) -> Batch:
        """All images as one batch, in order, uncropped."""
        return Batches(self, 0, 0, len(self), None, None).of(range(len(self)))

    def label(self, number: int) -> Tensor | None:
        """The label map of one image."""
        return None if self._labels is None else self._labels[number].long()


class Batches:
    """One epoch's batches, read as they are asked for."""

    def __init__(
        self, images: TargetImages, seed: int, epoch: int, batch_size: int, slices: int | None,
        patch: tuple[int, ...] | None,
    ) -> None:  # fmt: skip
        self._images, self._size, self._slices, self._patch = images, batch_size, slices, patch
        self._rng = np.random.default_rng([seed & 0xFFFFFFFF, seed >> 32, epoch])
        self._order = self._rng.permutation(len(images)).tolist()

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self._order), self._size):
            yield self.of(self._order[start : start + self._size])

    def of(self, numbers: Sequence[int]) -> Batch:
        """The batch of these target images, with the next random crops."""
        images, labels, items = [], [], []
        for number in numbers:
            image = self._images[number]
            crop = self._crop(image)
            images.append(image[(crop[0], slice(None), *crop[1:])])
            items.append((number, crop))
            label = self._images.label(number)
            labels += [] if label is None else [label[crop]]
        sizes = {tuple(image.shape[2:]) for image in images}
        if len(sizes) > 1:
            raise AdaptationError(
                f"target images {', '.join(map(str, numbers))} are of sizes {sorted(sizes)}; give batch_size: 1, or one "
                "size to all (`size` of the adapter, or `patch` of the method)"
            )
        device = self._images.device
        joined = torch.cat(labels).to(device) if labels else None
        lengths = tuple(len(image) for image in images)
        return Batch(torch.cat(images).to(device), tuple(items), lengths, joined)

    def _crop(self, image: Tensor) -> Crop:
        first = self._window(len(image), self._slices)
        if self._patch is None:
            return (first, *(slice(None) for _ in image.shape[2:]))
        if len(self._patch) != image.ndim - 2:
            raise AdaptationError(f"patch {list(self._patch)} for images of {image.ndim - 2} spatial axes")
        return (
            first,
            *(self._window(side, part) for side, part in zip(image.shape[2:], self._patch, strict=True)),
        )

    def _window(self, length: int, most: int | None) -> slice:
        if most is None or length <= most:
            return slice(None)
        start = int(self._rng.integers(length - most + 1))
        return slice(start, start + most)


def checked(image: Tensor, what: str, channels: int | None, ndim: int | None) -> Tensor:
    """The image as float32. Raises ``AdaptationError`` naming it and what is wrong."""
    if not isinstance(image, Tensor):
        raise AdaptationError(f"{what} is a {type(image).__name__}; a tensor (N, C, *spatial) is needed")
    if ndim is not None and image.ndim != ndim + 2:
        raise AdaptationError(
            f"{what} has shape {tuple(image.shape)}; this {ndim}D model takes (N, C, {', '.join('RAS'[:ndim])})"
        )
    if channels is not None and image.shape[1] != channels:
        raise AdaptationError(
            f"{what} has {image.shape[1]} channels; the model's first convolution takes {channels}"
        )
    if image.numel() == 0:
        raise AdaptationError(f"{what} has shape {tuple(image.shape)}: no voxels")
    image = image.float()
    if not torch.isfinite(image).all():
        raise AdaptationError(f"{what} holds NaN or infinite values; mend or leave it out")
    return image


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lies; the CPU for one without."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _input_of(model: nn.Module) -> tuple[int | None, int | None]:
    """Channels and spatial dimensions of the first convolution; None where there is none."""
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    first = next(convolutions, None)
    return (None, None) if first is None else (first.in_channels, first.weight.ndim - 2)
