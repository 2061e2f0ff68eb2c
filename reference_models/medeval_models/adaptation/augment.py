"""Perturbations of a batch that move no voxel. All draws come from PyTorch's global generator, which the trainer seeds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def perturbed(x: Tensor, strength: float = 1.0) -> Tensor:
    """Contrast, brightness, gamma, blur and noise, each drawn per image. x: (N, C, *spatial).

    strength: of all; at 1 contrast and gamma vary by 20%, brightness by 10% and noise is 5% of the image's range.
    """
    each = (len(x), *[1] * (x.ndim - 1))
    axes = tuple(range(1, x.ndim))
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    unit = (x - low) / span
    unit = unit.clamp(0, 1) ** (1 + 0.2 * strength * _draw(each, x))
    unit = (unit - 0.5) * (1 + 0.2 * strength * _draw(each, x)) + 0.5 + 0.1 * strength * _draw(each, x)
    mix = torch.rand(each, device=x.device, dtype=x.dtype) * min(strength, 1.0)
    unit = (1 - mix) * unit + mix * _blurred(unit)
    unit = unit + 0.05 * strength * torch.randn_like(unit)
    return unit * span + low


def weakly_augmented(x: Tensor, strength: float = 1.0) -> Tensor:
    """DPL's weak augmentation: light, salt and pepper, erasing, each of one half of the images. x: (N, C, *spatial).

    strength: of all; at 1 gamma is between 1/2 and 2, 2% of the voxels become the image's extremes, and a box of 2 to 6% of
    the image, at most three times as long as wide, gets one random intensity. 0 changes nothing.
    """
    each, axes = (len(x), *[1] * (x.ndim - 1)), tuple(range(1, x.ndim))
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    unit = ((x - low) / span).clamp(0, 1)
    unit = torch.where(_half(each, x), unit ** (2 ** (strength * _draw(each, x))), unit)
    draws = torch.rand_like(unit[:, :1])
    touched = _half(each, x) & (draws < 0.02 * strength)
    unit = torch.where(touched, (draws < 0.01 * strength).to(x), unit)
    if strength > 0:
        unit = torch.stack([_erased(image, strength) for image in unit])
    return unit * span + low


def _half(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """True with probability 1/2."""
    return torch.rand(shape, device=like.device) < 0.5


def _erased(image: Tensor, strength: float) -> Tensor:
    """(C, *spatial) with probability 1/2 with a box of one intensity."""
    if torch.rand(()) >= 0.5:
        return image
    area = float(torch.empty(()).uniform_(0.02, 0.06)) * strength
    aspect = 3.0 ** float(torch.empty(()).uniform_(-1, 1))
    sides = [area**0.5 * aspect**0.5, area**0.5 / aspect**0.5, *[1.0] * (image.ndim - 3)]
    box: list[slice] = [slice(None)]
    for length, side in zip(image.shape[1:], sides, strict=True):
        size = max(1, min(length, round(length * side)))
        start = int(torch.randint(length - size + 1, ()))
        box.append(slice(start, start + size))
    image = image.clone()
    image[tuple(box)] = torch.rand(()).item()
    return image


def flipped(x: Tensor, flip: bool) -> Tensor:
    """Mirrored in the last axis; its own inverse."""
    return x.flip(-1) if flip else x


def _draw(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform in [-1, 1]."""
    return 2 * torch.rand(shape, device=like.device, dtype=like.dtype) - 1


def _blurred(x: Tensor) -> Tensor:
    """Mean of three voxels along each axis, edges repeated."""
    for axis in range(2, x.ndim):
        if x.shape[axis] > 1:
            first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
            padded = torch.cat([first, x, last], dim=axis)
            length = x.shape[axis]
            x = sum(padded.narrow(axis, start, length) for start in range(3)) / 3
    return x


def channel_dropout(features: Tensor, rate: float) -> Tensor:
    """Whole channels dropped, as ``Dropout2d`` and ``Dropout3d`` do in training mode. features: (N, F, *spatial)."""
    drop = functional.dropout2d if features.ndim == 4 else functional.dropout3d
    return drop(features, rate, training=True)
