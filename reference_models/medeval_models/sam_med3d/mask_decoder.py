"""The mask decoder: that of SAM, with the last step back to full size in three dimensions."""

from __future__ import annotations

from typing import Any

from torch import nn

from medeval_models.sam_med2d.mask_decoder import MaskDecoder
from medeval_models.sam_med3d.common import LayerNorm3d


class MaskDecoder3D(MaskDecoder):
    """As ``sam_med2d.MaskDecoder``, with (D, H, W) for (height, width): logits are (B, m, 4 * D, 4 * H, 4 * W).

    The official evaluation uses mask 0 alone (``multimask_output=False``); nothing ever trained the predicted IoU.
    """

    def __init__(self, *, transformer_dim: int, **sizes: Any) -> None:
        super().__init__(transformer_dim=transformer_dim, **sizes)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(transformer_dim, transformer_dim // 4, 2, stride=2),
            LayerNorm3d(transformer_dim // 4),
            nn.GELU(),
            nn.ConvTranspose3d(transformer_dim // 4, transformer_dim // 8, 2, stride=2),
            nn.GELU(),
        )
