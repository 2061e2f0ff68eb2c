"""The image encoder: a plain 3D ViT with windowed and a few global blocks, trained from scratch on volumes, and a neck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from medeval_models.sam_med2d.common import MLPBlock
from medeval_models.sam_med3d.attention import Attention
from medeval_models.sam_med3d.common import LayerNorm3d

_norm = partial(nn.LayerNorm, eps=1e-6)


class PatchEmbed(nn.Module):
    """The volume in patches: (B, 1, D, H, W) -> (B, D / patch_size, H / patch_size, W / patch_size, embed_dim)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(in_chans, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.proj(x).movedim(1, -1)


class Block(nn.Module):
    """Attention and MLP, each with a norm before and a residual around. window_size: 0 for the whole grid of ``side``."""

    def __init__(self, *, dim: int, num_heads: int, mlp_ratio: float, side: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = _norm(dim)
        self.attn = Attention(dim, num_heads, window_size or side)
        self.norm2 = _norm(dim)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio + 1e-6))  # a ratio read back from shapes is rounded

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, C) -> the same shape."""
        normed = self.norm1(x)
        x = x + (
            attend_in_windows(self.attn, normed, self.window_size) if self.window_size else self.attn(normed)
        )
        return x + self.mlp(self.norm2(x))


class ImageEncoderViT3D(nn.Module):
    """(B, 1, image_size, image_size, image_size), normalised -> (B, out_chans, grid, grid, grid); grid = image_size / patch_size.

    global_attn_indexes: the blocks whose attention sees the whole grid; the others see windows of ``window_size``.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        out_chans: int,
        window_size: int,
        global_attn_indexes: Sequence[int],
        in_chans: int = 1,
    ) -> None:
        super().__init__()
        self.img_size = image_size
        self.in_chans = in_chans
        side = image_size // patch_size
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, side, embed_dim))
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.blocks = nn.ModuleList(
            Block(
                dim=embed_dim,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                side=side,
                window_size=0 if index in global_attn_indexes else window_size,
            )
            for index in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(embed_dim, out_chans, 1, bias=False),
            LayerNorm3d(out_chans),
            nn.Conv3d(out_chans, out_chans, 3, padding=1, bias=False),
            LayerNorm3d(out_chans),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class. ``ValueError`` for a volume of another shape."""
        wanted = (self.in_chans, *[self.img_size] * 3)
        if x.ndim != 5 or tuple(x.shape[1:]) != wanted:
            raise ValueError(
                f"volume of shape {tuple(x.shape)}; this encoder takes (B, {', '.join(map(str, wanted))})"
            )
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.movedim(-1, 1))


def attend_in_windows(attention: nn.Module, x: Tensor, size: int) -> Tensor:
    """``attention`` on each window of (B, D, H, W, C); windows at the high ends are given without their padding."""
    out = torch.empty_like(x)
    for region in product(*(_stretches(length, size) for length in x.shape[1:4])):
        at = (slice(None), *(slice(start, stop) for start, stop, _ in region))
        sides = [side for _, _, side in region]
        counts = [(stop - start) // side for start, stop, side in region]
        split = x[at].unflatten(3, (-1, sides[2])).unflatten(2, (-1, sides[1])).unflatten(1, (-1, sides[0]))
        windows = split.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(0, 3)  # (B * windows, *sides, C)
        seen = attention(windows).unflatten(0, (-1, *counts)).permute(0, 1, 4, 2, 5, 3, 6, 7)
        out[at] = seen.reshape(x[at].shape).to(out.dtype)
    return out


def _stretches(length: int, size: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, side) of the whole windows along an axis, and of the last one where it is cut."""
    whole = length // size * size
    if whole:
        yield 0, whole, size
    if whole < length:
        yield whole, length, length - whole
