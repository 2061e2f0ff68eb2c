"""The encoder's attention as the paper's code computes it: windows filled up with zeros, every padded token a token.

Written from the formula in ``medeval_models.sam_med3d.attention``, for tests of equality and as the other side of benchmarks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med2d.attention import relative_positions


class Straightforward(nn.Module):
    """Takes the weights of an ``Attention`` and a whole (B, S, S, S, C); returns the same shape."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.of = attention

    def forward(self, x: Tensor) -> Tensor:
        """All S^3 x S^3 scores, at once."""
        batch, size = x.shape[0], x.shape[1]
        heads = self.of.num_heads
        qkv = self.of.qkv(x).reshape(batch, size**3, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, batch * heads, size**3, -1)
        scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(1, 2)).view(-1, *[size] * 6)
        grid = q.view(-1, size, size, size, q.shape[-1])
        tables = (self.of.rel_pos_d, self.of.rel_pos_h, self.of.rel_pos_w)
        of_d, of_h, of_w = (relative_positions(self.of.size, table) for table in tables)
        scores = scores + torch.einsum("ndhwe,dce->ndhwc", grid, of_d)[:, :, :, :, None, None, :]
        scores = scores + torch.einsum("ndhae,hce->ndhac", grid, of_h)[:, :, :, None, :, None, :]
        scores = scores + torch.einsum("ndhbe,bce->ndhbc", grid, of_w)[:, :, :, None, None, :, :]
        mixed = scores.view(-1, size**3, size**3).softmax(-1) @ v
        mixed = mixed.view(batch, heads, size**3, -1).transpose(1, 2).reshape(x.shape)
        return self.of.proj(mixed)


class StraightforwardEncoder(nn.Module):
    """An ``ImageEncoderViT3D`` run the straightforward way, with its own weights."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.of = encoder
        self.img_size = encoder.img_size

    def forward(self, x: Tensor) -> Tensor:
        """As the encoder's."""
        x = self.of.patch_embed(x) + self.of.pos_embed
        for block in self.of.blocks:
            normed = block.norm1(x)
            attention = Straightforward(block.attn)
            seen = (
                padded_windows(attention, normed, block.window_size)
                if block.window_size
                else attention(normed)
            )
            x = x + seen
            x = x + block.mlp(block.norm2(x))
        return self.of.neck(x.movedim(-1, 1))


def padded_windows(attention: nn.Module, x: Tensor, size: int) -> Tensor:
    """``attention`` on windows of (B, D, H, W, C) that zeros fill up at the high ends."""
    batch, *grid, channels = x.shape
    pads = [-side % size for side in grid]
    whole = F.pad(x, (0, 0, 0, pads[2], 0, pads[1], 0, pads[0]))
    counts = [side // size for side in whole.shape[1:4]]
    split = whole.view(batch, counts[0], size, counts[1], size, counts[2], size, channels)
    windows = split.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, size, size, size, channels)
    seen = attention(windows).view(batch, *counts, size, size, size, channels)
    return seen.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(whole.shape)[:, : grid[0], : grid[1], : grid[2]]
