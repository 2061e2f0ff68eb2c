"""SAM's image encoder: a plain ViT with windowed and a few global blocks (Li et al. 2022, ViTDet), and a neck."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med2d.adapter_layer import AdapterLayer
from medeval_models.sam_med2d.attention import Attention
from medeval_models.sam_med2d.common import LayerNorm2d, MLPBlock

_norm = partial(nn.LayerNorm, eps=1e-6)


class PatchEmbed(nn.Module):
    """The image in patches: (B, in_chans, H, W) -> (B, H / patch_size, W / patch_size, embed_dim)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.proj(x).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention and MLP, each with a norm before and a residual around.

    window_size: 0 for attention over the whole grid.
    encoder_adapter: an adapter layer parallel to the MLP, on the same norm's output.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        grid: tuple[int, int],
        window_size: int,
        encoder_adapter: bool,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = _norm(dim)
        self.attn = Attention(dim, num_heads, (window_size, window_size) if window_size else grid)
        self.norm2 = _norm(dim)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio + 1e-6))  # a ratio read back from shapes is rounded
        self.Adapter = AdapterLayer(dim) if encoder_adapter else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        x = x + self._attend(self.norm1(x))
        normed = self.norm2(x)
        out = x + self.mlp(normed)
        return out if self.Adapter is None else out + self.Adapter(normed)

    def _attend(self, x: Tensor) -> Tensor:
        if not self.window_size:
            return self.attn(x)
        windows = split_windows(x, self.window_size)
        return join_windows(self.attn(windows), self.window_size, (x.shape[1], x.shape[2]))


class ImageEncoderViT(nn.Module):
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
        super().__init__()
        self.img_size = image_size
        self.in_chans = in_chans
        side = image_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, embed_dim))
        self.blocks = nn.ModuleList(
            Block(
                dim=embed_dim,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                grid=(side, side),
                window_size=0 if index in global_attn_indexes else window_size,
                encoder_adapter=encoder_adapter,
            )
            for index in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, out_chans, 1, bias=False),
            LayerNorm2d(out_chans),
            nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
            LayerNorm2d(out_chans),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class. ``ValueError`` for an image of another shape."""
        wanted = (self.in_chans, self.img_size, self.img_size)
        if x.ndim != 4 or tuple(x.shape[1:]) != wanted:
            raise ValueError(
                f"image of shape {tuple(x.shape)}; this encoder takes (B, {', '.join(map(str, wanted))})"
            )
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))


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
