"""CUDA tensors: counts and boxes are found on the device, and only the crop that surfaces need is brought over."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.inputs import Bytes, not_a_mask
from medeval.types.errors import MetricError


class DeviceMasks(NamedTuple):
    """Two masks on a device.

    tp, fp, fn: voxel counts. box: (2, ndim) half-open, of both masks; zeros when both are empty.
    crops: bool tensors over the box, still on the device. shape: of the whole image.
    """

    tp: int
    fp: int
    fn: int
    box: NDArray[np.int64]
    crops: tuple[Any, Any]
    shape: tuple[int, ...]

    def host(self) -> tuple[Bytes, Bytes]:
        """Both crops as bytes 0 and 1 in host memory."""
        first, second = (crop.cpu().numpy().view(np.uint8) for crop in self.crops)
        return first, second


def on_device(*arrays: Any) -> bool:
    """True when all are CUDA tensors; torch is not imported."""
    return all(getattr(array, "is_cuda", False) for array in arrays)


def device_masks(prediction: Any, reference: Any) -> DeviceMasks:
    """Count and box two masks {0, 1} where they are.

    prediction, reference: tensors of one shape on one device. Raises ``MetricError`` naming the argument.
    """
    first, second = _checked(prediction, "prediction"), _checked(reference, "reference")
    _same_shape(first, second)
    for tensor, argument in ((first, "prediction"), (second, "reference")):
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise MetricError(f"{argument} holds NaN")
        other = (tensor != 0) & (tensor != 1)
        if bool(other.any()):
            raise not_a_mask(argument, float(tensor[other][0]))
    first, second = first != 0, second != 0
    tp = int((first & second).sum())
    box = _box(first | second)
    crop = tuple(slice(int(a), int(b)) for a, b in zip(*box, strict=True))
    counts = tp, int(first.sum()) - tp, int(second.sum()) - tp
    crops = first[crop].contiguous(), second[crop].contiguous()
    return DeviceMasks(*counts, box, crops, tuple(first.shape))


def labels_to_host(
    prediction: Any, reference: Any
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.int64]]:
    """Two label maps cropped to their joint foreground on the device, narrowed to bytes where the labels allow it.

    Returns both crops in host memory and the crop's origin. Raises ``MetricError`` naming the argument.
    """
    first, second = _checked(prediction, "prediction"), _checked(reference, "reference")
    _same_shape(first, second)
    box = _box((first != 0) | (second != 0))
    if not box.any():  # nothing but background: one voxel of it will do
        box[1] = 1
    crop = tuple(slice(int(a), int(b)) for a, b in zip(*box, strict=True))
    crops = []
    for tensor in (first[crop], second[crop]):
        whole = not tensor.is_floating_point()
        if whole and str(tensor.dtype) != "torch.bool" and int(tensor.min()) >= 0 and int(tensor.max()) < 256:
            tensor = tensor.byte()
        crops.append(tensor.contiguous().cpu().numpy())
    return crops[0], crops[1], box[0]


def _checked(tensor: Any, argument: str) -> Any:
    if tensor.ndim not in (2, 3):
        raise MetricError(f"{argument} must be 2D or 3D without channels, not of shape {tuple(tensor.shape)}")
    if tensor.numel() == 0:
        raise MetricError(f"{argument} has no voxel: shape {tuple(tensor.shape)}")
    if tensor.is_complex():
        raise MetricError(f"{argument} must hold booleans, integers or floats {{0, 1}}, not {tensor.dtype}")
    return tensor.detach()


def _same_shape(first: Any, second: Any) -> None:
    if first.shape != second.shape:
        raise MetricError(
            f"prediction has shape {tuple(first.shape)}, but reference has shape {tuple(second.shape)}"
        )


def _box(union: Any) -> NDArray[np.int64]:
    box = np.zeros((2, union.ndim), dtype=np.int64)
    for axis in range(union.ndim):
        along = union.movedim(axis, 0).reshape(union.shape[axis], -1).any(dim=1).nonzero()
        if len(along):
            box[:, axis] = int(along[0]), int(along[-1]) + 1
    return box
