"""The losses of source training and of adaptation.

Two forms of the pseudo-label loss are kept: the official code multiplies each head's probability of a class by that
class's own map, so a reliable voxel of another class never enters the class's denominator; the paper's mask of reliable
voxels keeps it there.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

SMOOTH_2D = 1e-4
SMOOTH_3D = 1e-5  # MONAI's DiceLoss, which the official 3D code calls

Form = Literal["official", "masked"]


def batch_dice_loss(prob: Tensor, target: Tensor) -> Tensor:
    """Official 2D soft Dice: per class over the whole batch, squared probabilities, mean over all classes.

    prob: (N, C, *spatial) probabilities. target: the same shape, one-hot.
    """
    axes = (0, *range(2, prob.ndim))
    overlap = (prob * target).sum(axes)
    total = target.sum(axes) + (prob * prob).sum(axes)
    return (1 - (2 * overlap + SMOOTH_2D) / (total + SMOOTH_2D)).mean()


def sample_dice_loss(prob: Tensor, target: Tensor) -> Tensor:
    """MONAI's ``DiceLoss()`` with its defaults, as the 3D code uses it: per sample and class, then the mean.

    prob, target: (N, C, *spatial).
    """
    axes = tuple(range(2, prob.ndim))
    overlap = (prob * target).sum(axes)
    return (1 - (2 * overlap + SMOOTH_3D) / (prob.sum(axes) + target.sum(axes) + SMOOTH_3D)).mean()


def pseudo_label_loss(head_prob: Tensor, label: Tensor, form: Form = "official") -> Tensor:
    """L_RPL: Dice of every head against the reliable pseudo labels.

    head_prob: (K, N, C, H, W) or (K, N, C, D, H, W). label: (N, C, *spatial), 0 in all channels where unreliable.
    form: "official" (2D: mean over heads of ``batch_dice_loss``; 3D: sum over heads of ``sample_dice_loss``), or "masked".
    A class without reliable voxels adds 0 in the official forms.
    """
    if form == "masked":
        mask = label.amax(dim=1, keepdim=True)
        return torch.stack([batch_dice_loss(prob * mask, label) for prob in head_prob]).mean()
    if label.ndim == 4:
        return torch.stack([batch_dice_loss(prob * label, label) for prob in head_prob]).mean()
    return torch.stack([sample_dice_loss(prob * label, label) for prob in head_prob]).sum()


def mean_entropy_loss(head_prob: Tensor) -> Tensor:
    """L_ment: entropy of the mean prediction in bits, over all elements, classes included (the official divisor N C H W).

    head_prob: (K, N, C, *spatial).
    """
    mean = head_prob.mean(dim=0)
    return -(mean * torch.log2(mean + 1e-10)).sum() / mean.numel()


def normalised_entropy(prob: Tensor) -> Tensor:
    """Mean entropy per voxel, 1 for a uniform prediction: what the repository's TENT minimises. prob: (N, C, *spatial)."""
    voxels = prob.numel() / prob.shape[1]
    return -(prob * torch.log2(prob + 1e-10)).sum() / (voxels * math.log2(prob.shape[1]))
