"""SAM's prompt encoder: points and boxes become tokens, a mask becomes an image to add to the embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from medeval_models.sam_med2d.common import LayerNorm2d

NOT_A_POINT, BACKGROUND, FOREGROUND = -1, 0, 1


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of a position (Tancik et al. 2020); 2 * num_pos_feats channels."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_pos_feats: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_pos_feats))

    def encode(self, coords: Tensor) -> Tensor:
        """(..., 2) x, y in [0, 1] -> (..., 2 * num_pos_feats)."""
        # Half a pixel of 256 is lost in bfloat16's 8 bits, so no autocast here.
        with torch.autocast(coords.device.type, enabled=False):
            matrix = self.positional_encoding_gaussian_matrix.float()
            angles = 2 * math.pi * ((2 * coords.float() - 1) @ matrix)
            return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, size: tuple[int, int]) -> Tensor:
        """The encoding of the centres of a (height, width) grid: (2 * num_pos_feats, height, width)."""
        device = self.positional_encoding_gaussian_matrix.device
        y, x = (((torch.arange(n, device=device) + 0.5) / n) for n in size)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        return self.encode(grid).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Prompts in pixels of the (height, width) ``input_image_size`` frame -> sparse tokens and a dense embedding."""

    def __init__(
        self,
        *,
        embed_dim: int,
        image_embedding_size: tuple[int, int],
        input_image_size: tuple[int, int],
        mask_in_chans: int,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.image_embedding_size = image_embedding_size
        self.input_image_size = input_image_size
        self.mask_input_size = (4 * image_embedding_size[0], 4 * image_embedding_size[1])
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        # background point, foreground point, box's first corner, box's second corner
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, 2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, 2, stride=2),
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def get_dense_pe(self) -> Tensor:
        """Position encoding of the image embedding's grid: (1, embed_dim, height, width)."""
        return self.pe_layer(self.image_embedding_size)[None]

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sparse (B, n, embed_dim) and dense (B, embed_dim, height, width) embeddings.

        points: (B, N, 2) x, y and (B, N) labels: 1 foreground, 0 background, -1 no point. Without a box one "no point"
            is appended, so N points make N + 1 tokens.
        boxes: (B, 4) x0, y0, x1, y1; two tokens, after the points.
        masks: (B, 1, 4 * height, 4 * width).
        Raises ``ValueError`` for batches that differ and masks of another size.
        """
        batch = _batch_size(points, boxes, masks)
        tokens = []
        if points is not None:
            tokens.append(self._embed_points(*points, pad=boxes is None))
        if boxes is not None:
            tokens.append(self._embed_boxes(boxes))
        sparse = (
            torch.cat(tokens, dim=1)
            if tokens
            else self.no_mask_embed.weight.new_empty(batch, 0, self.embed_dim)
        )
        return sparse, self._embed_masks(masks, batch)

    def _embed_points(self, coords: Tensor, labels: Tensor, pad: bool) -> Tensor:
        coords = coords + 0.5  # to the middle of the pixel
        if pad:
            coords = torch.cat([coords, coords.new_zeros(len(coords), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), NOT_A_POINT)], dim=1)
        kind = labels[..., None]
        embedded = torch.where(kind == NOT_A_POINT, 0.0, self._place(coords))
        embedded = embedded + (kind == NOT_A_POINT) * self.not_a_point_embed.weight
        for label in (BACKGROUND, FOREGROUND):
            embedded = embedded + (kind == label) * self._kind(label)
        return embedded

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners = self._place((boxes + 0.5).reshape(-1, 2, 2))
        kinds = torch.cat([self._kind(2), self._kind(3)])
        return corners + kinds

    def _kind(self, index: int) -> Tensor:
        weight = self.point_embeddings[index].weight
        assert isinstance(weight, Tensor)
        return weight

    def _embed_masks(self, masks: Tensor | None, batch: int) -> Tensor:
        if masks is None:
            return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(
                batch, -1, *self.image_embedding_size
            )
        if tuple(masks.shape[1:]) != (1, *self.mask_input_size):
            height, width = self.mask_input_size
            raise ValueError(
                f"mask prompts of shape {tuple(masks.shape)}; (B, 1, {height}, {width}) is expected"
            )
        return self.mask_downscaling(masks)

    def _place(self, coords: Tensor) -> Tensor:
        height, width = self.input_image_size
        return self.pe_layer.encode(coords.float() / coords.new_tensor([width, height], dtype=torch.float32))


def _batch_size(points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None) -> int:
    given = {"points": points and points[0], "boxes": boxes, "masks": masks}
    sizes = {name: len(value) for name, value in given.items() if value is not None}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"prompts of one call must be as many of each kind, got {sizes}")
    return next(iter(sizes.values()), 1)
