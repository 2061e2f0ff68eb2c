"""Multi-head attention on a grid of tokens with decomposed relative positions (Li et al. 2022, MViTv2).

The score of a query at (i, j) and a key at (k, l) is ``q.k / sqrt(d) + q.Rh[i - k] + q.Rw[j - l]``: the relative terms
read the unscaled query. They are an additive bias, so the whole goes through ``scaled_dot_product_attention``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Self-attention over (B, H, W, C).

    grid: (H, W) that the tables of relative positions are made for, ``2 * H - 1`` and ``2 * W - 1`` rows.
    """

    def __init__(self, dim: int, num_heads: int, grid: tuple[int, int]) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"embed_dim {dim} cannot be split into num_heads {num_heads}")
        self.num_heads = num_heads
        head_dim = dim // num_heads
        self.scale = head_dim**-0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, H * W, head_dim)
        bias = relative_bias(q, self.rel_pos_h, self.rel_pos_w, (height, width))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=self.scale)
        return self.proj(mixed.transpose(1, 2).reshape(batch, height, width, channels))


def relative_bias(q: Tensor, table_h: Tensor, table_w: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, heads, H * W, head_dim) unscaled queries -> (B, heads, H * W, H * W), what positions add to the scores."""
    height, width = grid
    rows = relative_positions(height, table_h).to(q.dtype)
    columns = relative_positions(width, table_w).to(q.dtype)
    on_grid = q.unflatten(2, grid)
    by_row = torch.einsum("bnhwc,hkc->bnhwk", on_grid, rows)
    by_column = torch.einsum("bnhwc,wkc->bnhwk", on_grid, columns)
    return (by_row[..., :, None] + by_column[..., None, :]).flatten(4, 5).flatten(2, 3)


def relative_positions(size: int, table: Tensor) -> Tensor:
    """The table's row for each pair of positions along one axis: (size, size, head_dim).

    A table of another length than ``2 * size - 1`` is resampled linearly first.
    """
    if len(table) != 2 * size - 1:
        table = resample(table, 2 * size - 1)
    at = torch.arange(size, device=table.device)
    return table[at[:, None] - at[None, :] + (size - 1)]


def resample(table: Tensor, rows: int) -> Tensor:
    """(n, head_dim) -> (rows, head_dim), linear, corners not aligned."""
    return F.interpolate(table.T[None], size=rows, mode="linear", align_corners=False)[0].T
