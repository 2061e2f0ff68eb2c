"""The prompt encoder: clicks become tokens, a low-resolution mask becomes a volume to add to the embedding.

There are no boxes: the official code has none that works in three dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medeval_models.sam_med3d.common import LayerNorm3d

NOT_A_POINT = -1


class PositionEmbeddingRandom3D(nn.Module):
    """Random Fourier features of a position: sine, cosine and, as the official code has it, the sine again."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_pos_feats: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, num_pos_feats))

    def encode(self, coords: Tensor) -> Tensor:
        """(..., 3) in [0, 1], in array order -> (..., 3 * num_pos_feats)."""
        # Half a voxel of 128 is lost in bfloat16's 8 bits, so no autocast here.
        with torch.autocast(coords.device.type, enabled=False):
            matrix = self.positional_encoding_gaussian_matrix.float()
            angles = 2 * math.pi * ((2 * coords.float() - 1) @ matrix)
            return torch.cat([angles.sin(), angles.cos(), angles.sin()], dim=-1)

    def forward(self, size: Sequence[int]) -> Tensor:
        """The encoding of the centres of a (D, H, W) grid: (3 * num_pos_feats, D, H, W).

        The first two coordinates change places beside those of points, a trace of the 2D code that weights rely on.
        """
        device = self.positional_encoding_gaussian_matrix.device
        centres = [(torch.arange(n, device=device) + 0.5) / n for n in size]
        first, second, third = torch.meshgrid(*centres, indexing="ij")
        return self.encode(torch.stack([second, first, third], dim=-1)).movedim(-1, 0)


class PromptEncoder3D(nn.Module):
    """Prompts in voxels of a cube of ``input_image_size`` -> sparse tokens and a dense embedding."""

    def __init__(
        self,
        *,
        embed_dim: int,
        image_embedding_size: tuple[int, int, int],
        input_image_size: tuple[int, int, int],
        mask_in_chans: int,
    ) -> None:
        super().__init__()
        if embed_dim % 3:
            raise ValueError(f"prompt_embed_dim {embed_dim} is no multiple of 3")
        self.embed_dim = embed_dim
        self.image_embedding_size = image_embedding_size
        self.input_image_size = input_image_size
        self.mask_input_size = tuple(4 * side for side in image_embedding_size)
        self.pe_layer = PositionEmbeddingRandom3D(embed_dim // 3)
        self.point_embeddings = nn.ModuleList(
            nn.Embedding(1, embed_dim) for _ in range(2)
        )  # background, foreground
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, mask_in_chans // 4, 2, stride=2),
            LayerNorm3d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv3d(mask_in_chans // 4, mask_in_chans, 2, stride=2),
            LayerNorm3d(mask_in_chans),
            nn.GELU(),
            nn.Conv3d(mask_in_chans, embed_dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def get_dense_pe(self) -> Tensor:
        """Position encoding of the image embedding's grid: (1, embed_dim, D, H, W)."""
        return self.pe_layer(self.image_embedding_size)[None]

    def forward(
        self,
        points: Sequence[Tensor] | None = None,
        boxes: None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sparse (B, n, embed_dim) and dense (B, embed_dim, D, H, W) embeddings.

        points: (B, N, 3) voxel indices in array order and (B, N) labels: 1 foreground, 0 background, -1 no point. One
            "no point" is appended, so N points make N + 1 tokens. None makes no token at all.
        boxes: None; the network has no weights for them.
        masks: (B, 1, 4 * D, 4 * H, 4 * W), logits.
        Raises ``ValueError`` for boxes, batches that differ and masks of another size.
        """
        if boxes is not None:
            raise ValueError("SAM-Med3D takes no boxes; give points")
        batch = _batch_size(points, masks)
        if points is None:
            sparse = self.no_mask_embed.weight.new_empty(batch, 0, self.embed_dim)
        else:
            sparse = self._embed_points(*points)
        return sparse, self._embed_masks(masks, batch)

    def _embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        coords = torch.cat([coords.float(), coords.new_zeros(len(coords), 1, 3, dtype=torch.float32)], dim=1)
        labels = torch.cat([labels, labels.new_full((len(labels), 1), NOT_A_POINT)], dim=1).long()
        size = coords.new_tensor(self.input_image_size)
        places = self.pe_layer.encode((coords + 0.5) / size)  # from the middle of the voxel
        kinds = torch.cat([self.not_a_point_embed.weight, *self.point_embeddings.parameters()])
        return torch.where(labels[..., None] == NOT_A_POINT, 0.0, places) + kinds[labels + 1]

    def _embed_masks(self, masks: Tensor | None, batch: int) -> Tensor:
        if masks is None:
            return self.no_mask_embed.weight[..., None, None, None].expand(
                batch, -1, *self.image_embedding_size
            )
        if tuple(masks.shape[1:]) != (1, *self.mask_input_size):
            wanted = ", ".join(str(side) for side in (1, *self.mask_input_size))
            raise ValueError(f"mask prompts of shape {tuple(masks.shape)}; (B, {wanted}) is expected")
        return self.mask_downscaling(masks)


def _batch_size(points: Sequence[Tensor] | None, masks: Tensor | None) -> int:
    given = {"points": None if points is None else points[0], "masks": masks}
    sizes = {name: len(value) for name, value in given.items() if value is not None}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"prompts of one call must be as many of each kind, got {sizes}")
    return next(iter(sizes.values()), 1)
