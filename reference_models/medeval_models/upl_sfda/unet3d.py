"""The paper's 3D U-Net: encoder and decoder with the official names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """Two 3x3x3 convolutions with batch norm and leaky ReLU, element-wise dropout between them."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.conv_conv = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, padding=1),
            nn.BatchNorm3d(outputs),
            nn.LeakyReLU(),
            nn.Dropout(dropout),
            nn.Conv3d(outputs, outputs, 3, padding=1),
            nn.BatchNorm3d(outputs),
            nn.LeakyReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, D, H, W) -> (N, outputs, D, H, W)."""
        return self.conv_conv(x)


class DownBlock(nn.Module):
    """Half the size, then two convolutions."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool3d(2), ConvBlock(inputs, outputs, dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, D, H, W) -> (N, outputs, D/2, H/2, W/2)."""
        return self.maxpool_conv(x)


class UpBlock(nn.Module):
    """Twice the size, the skip before it, two convolutions."""

    def __init__(self, inputs: int, outputs: int, trilinear: bool, dropout: float) -> None:
        super().__init__()
        self.up: nn.Module
        self.conv1x1: nn.Module | None = None
        if trilinear:
            self.conv1x1 = nn.Conv3d(inputs, outputs, 1)
            self.up = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True)
        else:
            self.up = nn.ConvTranspose3d(inputs, outputs, 2, stride=2)
        self.conv = ConvBlock(2 * outputs, outputs, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, inputs, D, H, W) and a skip of twice its size."""
        up = self.up(x if self.conv1x1 is None else self.conv1x1(x))
        return self.conv(torch.cat([skip, up], dim=1))


class Encoder(nn.Module):
    """Five levels."""

    def __init__(self, in_chns: int, ft_chns: Sequence[int], dropout: float) -> None:
        super().__init__()
        first: nn.Module = ConvBlock(in_chns, ft_chns[0], dropout)
        deeper = [DownBlock(*pair, dropout) for pair in itertools.pairwise(ft_chns)]
        self.down_path = nn.ModuleList([first, *deeper])

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The bottleneck and the skips, finest first. Sides of x must be multiples of 16."""
        skips: list[Tensor] = []
        for block in self.down_path:
            x = block(x)
            skips.append(x)
        return x, skips[:-1]


class Decoder(nn.Module):
    """A prediction head: a whole decoder. Only its deepest block has the second dropout rate."""

    def __init__(
        self, n_classes: int, ft_chns: Sequence[int], dropout_p: Sequence[float], trilinear: bool
    ) -> None:
        super().__init__()
        deep_to_fine = list(reversed(ft_chns))
        self.up_path = nn.ModuleList(
            UpBlock(deep, fine, trilinear, dropout_p[1 if level == 0 else 0])
            for level, (deep, fine) in enumerate(itertools.pairwise(deep_to_fine))
        )
        self.last = nn.Conv3d(ft_chns[0], n_classes, 1)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Logits (N, n_classes, D, H, W)."""
        for block, skip in zip(self.up_path, reversed(skips), strict=True):
            x = block(x, skip)
        return self.last(x)
