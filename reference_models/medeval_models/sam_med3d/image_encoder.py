"""The image encoder: a plain 3D ViT with windowed and a few global blocks, trained from scratch on volumes, and a neck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor, nn

from medeval_models.sam_med2d.image_encoder import Block, ViT
from medeval_models.sam_med3d.attention import Attention
from medeval_models.sam_med3d.common import LayerNorm3d


class ImageEncoderViT3D(ViT):
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
        def block(window: int) -> Block:
            attention = Attention(embed_dim, num_heads, window or image_size // patch_size)
            return Block(attention, attend_in_windows, dim=embed_dim, mlp_ratio=mlp_ratio, window_size=window)

        super().__init__(
            block, nn.Conv3d, LayerNorm3d, axes=3, image_size=image_size, patch_size=patch_size, embed_dim=embed_dim,
            depth=depth, out_chans=out_chans, window_size=window_size, global_attn_indexes=global_attn_indexes,
            in_chans=in_chans,
        )  # fmt: skip


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
