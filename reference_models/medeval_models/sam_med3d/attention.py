"""Attention in windows of volumes, computed for real tokens only.

The official code fills windows up with zeros and masks nothing, so padding takes part: all padded tokens have the same
key and value, the bias of ``qkv``. The softmax over them is therefore that of ONE key whose score carries the
log-sum-exp of their position terms, which factorises over the axes (``_padding_term``). On the 8^3 grid of the 128^3 model,
windows of 14 hold 2744 tokens of which 512 are real: 513 keys instead of 2744, and 512 queries instead of 2744.

The position term is the official one, whose broadcasts are misplaced; the released weights were trained with it. For a
query at (d, h, w) and a key at (a, b, c), queries unscaled, a and b counting positions along the query's LAST axis:

    q(d,h,w) . R_d[d - c]  +  q(d,h,a) . R_h[h - c]  +  q(d,h,b) . R_w[b - c]

where q beyond the real tokens is the bias of ``qkv``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med2d.attention import relative_positions

_SCORES_AT_ONCE = 2**26  # 256 MiB of position terms: the global blocks of a 16^3 grid are done plane by plane


class Terms(NamedTuple):
    """The three position terms, by query row (d, h) and the key's last axis c.

    own: (B, heads, d, h, w, size), of the query itself. by_a, by_b: (B, heads, d, h, size, size), of positions a and b.
    """

    own: Tensor
    by_a: Tensor
    by_b: Tensor


class Attention(nn.Module):
    """Self-attention over (B, D, H, W, C), the low corner of a cube of ``size`` tokens a side; the rest is padding.

    size: side of the window, or of the grid for global attention.
    """

    def __init__(self, dim: int, num_heads: int, size: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"embed_dim {dim} cannot be split into num_heads {num_heads}")
        self.num_heads = num_heads
        self.size = size
        head_dim = dim // num_heads
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * size - 1, head_dim))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, head_dim))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C), each side at most ``size`` -> the same shape."""
        extent = (x.shape[1], x.shape[2], x.shape[3])
        qkv = self.qkv(x).flatten(1, 3).unflatten(2, (3, self.num_heads, -1))
        # At least float32, also under autocast: 16 bits would blur the padding's logarithm, and this part is cheap.
        with torch.autocast(x.device.type, enabled=False):
            exact = qkv.to(torch.promote_types(qkv.dtype, torch.float32))
            q, k, v = exact.permute(2, 0, 3, 1, 4)  # each (B, heads, D * H * W, head_dim)
            mixed = self._attend(q, k, v, extent)
        return self.proj(mixed.transpose(1, 2).flatten(2).unflatten(1, extent).to(x.dtype))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, extent: tuple[int, int, int]) -> Tensor:
        bias_q, bias_k, bias_v = self.qkv.bias.to(q.dtype).unflatten(0, (3, self.num_heads, -1))
        padded = extent != (self.size,) * 3
        if padded:
            k, v = (
                torch.cat([x, b[:, None].expand(len(x), -1, 1, -1)], 2) for x, b in ((k, bias_k), (v, bias_v))
            )
        terms = self._terms(q.unflatten(2, extent), bias_q)
        planes = max(1, _SCORES_AT_ONCE // (q.shape[0] * self.num_heads * extent[1] * extent[2] * k.shape[2]))
        parts = []
        for start in range(0, extent[0], planes):
            some = Terms(*(term[:, :, start : start + planes] for term in terms))
            rows = slice(start * extent[1] * extent[2], (start + planes) * extent[1] * extent[2])
            scores = _real_terms(some, extent)
            if padded:
                scores = torch.cat([scores, _padding_term(some, extent)], dim=3)
            parts.append(F.scaled_dot_product_attention(q[:, :, rows], k, v, attn_mask=scores))
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]

    def _terms(self, q: Tensor, bias: Tensor) -> Terms:
        """q: (B, heads, D, H, W, head_dim), unscaled. bias: (heads, head_dim), the query of a padded token."""
        depth, height, width = q.shape[2:5]
        of_d, of_h, of_w = (
            relative_positions(self.size, table.to(q.dtype))
            for table in (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w)
        )
        beyond = bias[:, None, None, None].expand(len(q), -1, depth, height, self.size - width, -1)
        row = torch.cat([q, beyond], dim=4)  # the whole row of the window along its last axis
        return Terms(
            torch.einsum("bndhwe,dce->bndhwc", q, of_d[:depth]),
            torch.einsum("bndhxe,hce->bndhxc", row, of_h[:height]),
            torch.einsum("bndhxe,xce->bndhxc", row, of_w),
        )


def _real_terms(terms: Terms, extent: tuple[int, int, int]) -> Tensor:
    """What positions add to the scores of real keys: (B, heads, queries, keys)."""
    depth, height, width = extent
    own = terms.own[..., None, None, :width]  # (B, heads, d, h, w, 1, 1, c)
    by_a = terms.by_a[..., :depth, :width][:, :, :, :, None, :, None]
    by_b = terms.by_b[..., :height, :width][:, :, :, :, None, None]
    return (own + (by_a + by_b)).flatten(5, 7).flatten(2, 4)


def _padding_term(terms: Terms, extent: tuple[int, int, int]) -> Tensor:
    """The same for all padding as one key: (B, heads, queries, 1).

    A key is padding when a, b or c lies beyond the extent, so the sum of exponentials over (a, b) is a product for each
    c; sums of what is outside, never differences, so nothing cancels.
    """
    depth, height, width = extent
    a_in, a_out = (part.logsumexp(4) for part in (terms.by_a[..., :depth, :], terms.by_a[..., depth:, :]))
    b_in, b_out = (part.logsumexp(4) for part in (terms.by_b[..., :height, :], terms.by_b[..., height:, :]))
    b_all = torch.logaddexp(b_in, b_out)
    either = torch.logaddexp(a_out + b_all, a_in + b_out)
    every = torch.logaddexp(a_in, a_out) + b_all
    by_c = torch.cat([either[..., :width], every[..., width:]], dim=-1)  # (B, heads, d, h, size)
    return (terms.own + by_c[:, :, :, :, None]).logsumexp(-1).flatten(2)[..., None]
