"""What SAM-Med3D's training minimises: Dice with squared denominators plus binary cross-entropy, both weighted 1."""

from __future__ import annotations

from torch import Tensor


def dice_ce_loss(logits: Tensor, target: Tensor) -> Tensor:
    """MONAI's ``DiceCELoss(sigmoid=True, squared_pred=True)``. logits, target: (B, 1, ...), target in {0, 1}."""
    from monai.losses import DiceCELoss

    loss = DiceCELoss(sigmoid=True, squared_pred=True, reduction="mean")
    return loss(logits, target.to(logits.dtype))
