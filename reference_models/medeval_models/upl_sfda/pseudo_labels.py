"""Reliable pseudo labels from the heads' mean prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def mean_prediction(head_prob: Tensor) -> Tensor:
    """pbar = mean over heads. head_prob: (K, N, C, *spatial) probabilities, transforms undone."""
    return head_prob.mean(dim=0)


def pseudo_label(mean_prob: Tensor) -> Tensor:
    """One-hot of the likeliest class (the paper's y~). mean_prob: (N, C, *spatial); the same shape in {0, 1}."""
    best = mean_prob.argmax(dim=1, keepdim=True)
    return torch.zeros_like(mean_prob).scatter_(1, best, 1.0)


def reliability_map(mean_prob: Tensor, threshold: float) -> Tensor:
    """M: 1 where the likeliest class's mean probability exceeds ``threshold``. (N, 1, *spatial) float."""
    return (mean_prob.amax(dim=1, keepdim=True) > threshold).to(mean_prob.dtype)


def reliable_classes(mean_prob: Tensor, threshold: float) -> Tensor:
    """b_c = 1[pbar_c > threshold], background included: the official code's pseudo label and reliability in one map.

    Above 0.5 it equals ``pseudo_label * reliability_map``; at or below 0.5 two classes of a pixel can both be 1.
    """
    return (mean_prob > threshold).to(mean_prob.dtype)


def largest_components(label: Tensor, volumes: Sequence[int] | None = None) -> Tensor:
    """Each class's largest connected component (faces touch), the rest 0.

    label: (N, C, H, W), whose N slices are stacked to a volume, or (N, C, D, H, W), each sample a volume.
    volumes: numbers of consecutive slices that belong together, for a batch of several volumes' slices; default all N.
    Of components of equal size the first in scan order is kept (the official code stops with an error there).
    """
    array = label.detach().cpu().numpy() > 0
    kept = np.zeros(array.shape, dtype=np.float32)
    for at in _volumes_of(array, volumes):
        for channel in range(array.shape[1]):
            kept[at, channel] = _largest(array[at, channel])
    return torch.from_numpy(kept).to(label)


def _volumes_of(array: NDArray[np.bool_], volumes: Sequence[int] | None) -> list[Any]:
    """What indexes axis 0 to give one volume."""
    if array.ndim == 5:
        return list(range(len(array)))
    lengths = [len(array)] if volumes is None else list(volumes)
    if sum(lengths) != len(array):
        raise ValueError(f"volumes {lengths} do not sum to the batch's {len(array)} slices")
    ends = np.cumsum(lengths)
    return [slice(int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True)]


def _largest(volume: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    components, count = ndimage.label(volume)
    if count < 2:
        return volume
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()
