"""SAM's image encoder: a plain ViT with windowed and a few global blocks (Li et al. 2022, ViTDet), and a neck.

``ViT`` and ``Block`` hold what SAM and its 3D descendants share; how windows are cut and attended is each one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med2d.adapter_layer import AdapterLayer
from medeval_models.sam_med2d.attention import Attention
from medeval_models.sam_med2d.common import LayerNorm2d, MLPBlock

_norm = partial(nn.LayerNorm, eps=1e-6)
Conv = Callable[..., Any]  # nn.Conv2d or nn.Conv3d
InWindows = Callable[[nn.Module, Tensor, int], Tensor]


class PatchEmbed(nn.Module):
    """The image in patches: (B, in_chans, *sizes) -> (B, *sizes / patch_size, embed_dim). conv: ``nn.Conv2d`` or ``nn.Conv3d``."""

    def __init__(self, conv: Conv, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = conv(in_chans, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.proj(x).movedim(1, -1)


class Block(nn.Module):
    """Attention and MLP, each with a norm before and a residual around; in two or three dimensions.

    attention: of the whole grid or of one window. in_windows: how it is put on each window of ``window_size``, 0 for none.
    encoder_adapter: an adapter layer parallel to the MLP, on the same norm's output.
    """

    def __init__(
        self,
        attention: nn.Module,
        in_windows: InWindows,
        *,
        dim: int,
        mlp_ratio: float,
        window_size: int,
        encoder_adapter: bool = False,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self._in_windows = in_windows
        self.norm1 = _norm(dim)
        self.attn = attention
        self.norm2 = _norm(dim)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio + 1e-6))  # a ratio read back from shapes is rounded
        self.Adapter = AdapterLayer(dim) if encoder_adapter else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, *grid, C) -> the same shape."""
        x = x + self._attend(self.norm1(x))
        normed = self.norm2(x)
        out = x + self.mlp(normed)
        return out if self.Adapter is None else out + self.Adapter(normed)

    def _attend(self, x: Tensor) -> Tensor:
        return self._in_windows(self.attn, x, self.window_size) if self.window_size else self.attn(x)


class ViT(nn.Module):
    """Patches with positions, blocks, neck: (B, in_chans, *[image_size] * axes), normalised -> (B, out_chans, *[grid] * axes).

    conv, norm: the layers of ``axes`` dimensions. block: window size, 0 for the whole grid -> a block; asked in order, with 0
    for the blocks of ``global_attn_indexes``.
    """

    def __init__(
        self,
        block: Callable[[int], nn.Module],
        conv: Conv,
        norm: Callable[[int], nn.Module],
        *,
        axes: int,
        image_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        out_chans: int,
        window_size: int,
        global_attn_indexes: Sequence[int],
        in_chans: int,
    ) -> None:
        super().__init__()
        self.img_size = image_size
        self.in_chans = in_chans
        self.axes = axes
        self.patch_embed = PatchEmbed(conv, patch_size, in_chans, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, *[image_size // patch_size] * axes, embed_dim))
        self.blocks = nn.ModuleList(
            block(0 if index in global_attn_indexes else window_size) for index in range(depth)
        )
        self.neck = nn.Sequential(
            conv(embed_dim, out_chans, 1, bias=False),
            norm(out_chans),
            conv(out_chans, out_chans, 3, padding=1, bias=False),
            norm(out_chans),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class. ``ValueError`` for an image of another shape."""
        wanted = (self.in_chans, *[self.img_size] * self.axes)
        if x.ndim != 2 + self.axes or tuple(x.shape[1:]) != wanted:
            what = "image" if self.axes == 2 else "volume"
            raise ValueError(
                f"{what} of shape {tuple(x.shape)}; this encoder takes (B, {', '.join(map(str, wanted))})"
            )
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.movedim(-1, 1))


class ImageEncoderViT(ViT):
    """(B, in_chans, image_size, image_size), normalised -> (B, out_chans, grid, grid); grid = image_size / patch_size.

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
        encoder_adapter: bool,
        in_chans: int = 3,
    ) -> None:
        def block(window: int) -> Block:
            side = window or image_size // patch_size
            return Block(
                Attention(embed_dim, num_heads, (side, side)), attend_in_windows,
                dim=embed_dim, mlp_ratio=mlp_ratio, window_size=window, encoder_adapter=encoder_adapter,
            )  # fmt: skip

        super().__init__(
            block, nn.Conv2d, LayerNorm2d, axes=2, image_size=image_size, patch_size=patch_size, embed_dim=embed_dim,
            depth=depth, out_chans=out_chans, window_size=window_size, global_attn_indexes=global_attn_indexes,
            in_chans=in_chans,
        )  # fmt: skip


def attend_in_windows(attention: nn.Module, x: Tensor, size: int) -> Tensor:
    """``attention`` on each window of (B, H, W, C), the last ones filled with zeros."""
    return join_windows(attention(split_windows(x, size)), size, (x.shape[1], x.shape[2]))


def split_windows(x: Tensor, size: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, size, size, C); zeros at the bottom and right fill the last windows.

    Nothing masks the zeros: their keys and values, the bias of ``qkv`` alone, take part, as in the official code.
    """
    height, width, channels = x.shape[1:]
    x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # (B, rows, size, columns, size, C)
    return x.transpose(2, 3).reshape(-1, size, size, channels)


def join_windows(windows: Tensor, size: int, shape: tuple[int, int]) -> Tensor:
    """The way back from ``split_windows``: (B * windows, size, size, C) -> (B, *shape, C)."""
    height, width = shape
    rows, columns = -(-height // size), -(-width // size)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]
