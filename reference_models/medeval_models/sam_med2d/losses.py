"""SAM-Med2D's training loss: 20 focal + dice + mean squared error of the predicted IoU.

As in the official code, sums run over the whole batch at once, so large masks weigh more, and the soft IoU is one number
for the batch whose gradient reaches the masks.
"""

from __future__ import annotations

from torch import Tensor

FOCAL_WEIGHT = 20.0


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Focal loss (Lin et al. 2017), mean over pixels. logits, target: any equal shape, target in {0, 1}."""
    p = logits.sigmoid()
    positive = -alpha * target * (1 - p) ** gamma * (p + 1e-12).log()
    negative = -(1 - alpha) * (1 - target) * p**gamma * (1 - p + 1e-12).log()
    return (positive.sum() + negative.sum()) / target.numel()


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice coefficient of the whole batch."""
    p = logits.sigmoid()
    return 1 - (2 * (p * target).sum() + smooth) / (p.sum() + target.sum() + smooth)


def iou_loss(logits: Tensor, target: Tensor, predicted_iou: Tensor, eps: float = 1e-7) -> Tensor:
    """Mean squared difference between the batch's soft IoU and each mask's predicted one."""
    p = logits.sigmoid()
    overlap = (p * target).sum()
    iou = (overlap + eps) / (p.sum() + target.sum() - overlap + eps)
    return ((iou - predicted_iou) ** 2).mean()


def total_loss(logits: Tensor, target: Tensor, predicted_iou: Tensor) -> Tensor:
    """What training minimises. logits, target: (B, 1, H, W). predicted_iou: (B, 1)."""
    return (
        FOCAL_WEIGHT * focal_loss(logits, target)
        + dice_loss(logits, target)
        + iou_loss(logits, target, predicted_iou)
    )
