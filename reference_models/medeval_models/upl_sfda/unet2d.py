"""The paper's 2D U-Net: encoder and decoder with the official names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and leaky ReLU, element-wise dropout between them."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.conv_conv = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        return self.conv_conv(x)


class UpBlock(nn.Module):
    """Twice the size, the skip beside it, two convolutions."""

    def __init__(self, inputs: int, outputs: int, up_mode: str, dropout: float) -> None:
        super().__init__()
        self.up: nn.Module
        if up_mode == "upconv":
            self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        else:
            self.up = nn.Sequential(
                nn.Upsample(mode="bilinear", scale_factor=2), nn.Conv2d(inputs, outputs, 1)
            )
        self.conv_block = ConvBlock(inputs, outputs, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inputs, H, W) and a skip of (N, outputs, >= 2H, >= 2W), cropped at its centre."""
        up = self.up(x)
        height, width = up.shape[2:]
        top, left = (skip.shape[2] - height) // 2, (skip.shape[3] - width) // 2
        return self.conv_block(torch.cat([up, skip[:, :, top : top + height, left : left + width]], dim=1))


class Encoder(nn.Module):
    """Five levels, halved by max pooling in between."""

    def __init__(self, in_chns: int, ft_chns: Sequence[int], dropout: float) -> None:
        super().__init__()
        widths = [in_chns, *ft_chns]
        self.down_path = nn.ModuleList(ConvBlock(*pair, dropout) for pair in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The bottleneck and the skips, finest first. Sides of x must be multiples of 16."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down_path):
            x = block(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        return x, skips[:-1]


class Decoder(nn.Module):
    """A prediction head: a whole decoder. Only its deepest block has the second dropout rate."""

    def __init__(
        self, n_classes: int, ft_chns: Sequence[int], dropout_p: Sequence[float], up_mode: str
    ) -> None:
        super().__init__()
        deep_to_fine = list(reversed(ft_chns))
        self.up_path = nn.ModuleList(
            UpBlock(deep, fine, up_mode, dropout_p[1 if level == 0 else 0])
            for level, (deep, fine) in enumerate(itertools.pairwise(deep_to_fine))
        )
        self.last = nn.Conv2d(ft_chns[0], n_classes, 1)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Logits (N, n_classes, H, W)."""
        for block, skip in zip(self.up_path, reversed(skips), strict=True):
            x = block(x, skip)
        return self.last(x)
