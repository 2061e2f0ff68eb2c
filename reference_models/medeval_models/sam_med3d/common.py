"""The one layer that only three dimensions need."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from medeval_models.sam_med2d.common import LayerNorm2d


class LayerNorm3d(LayerNorm2d):
    """Layer norm over the channels of (B, C, D, H, W), biased variance."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) -> the same shape."""
        normed = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
        return normed.movedim(-1, 1)
