"""SAM's two-way transformer: prompt tokens attend to the image and the image to the tokens.

The image may come with a batch of one where all prompts see the same: it stays one until the tokens change it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med2d.common import MLPBlock


class Attention(nn.Module):
    """Attention with queries, keys and values of their own, at ``embedding_dim / downsample_rate`` channels inside."""

    def __init__(self, embedding_dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        inside = embedding_dim // downsample_rate
        if inside % num_heads:
            raise ValueError(f"decoder_num_heads {num_heads} must divide {inside}")
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embedding_dim, inside)
        self.k_proj = nn.Linear(embedding_dim, inside)
        self.v_proj = nn.Linear(embedding_dim, inside)
        self.out_proj = nn.Linear(inside, embedding_dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, n, C), (B, m, C), (B, m, C) -> (B, n, C); batches of one are repeated."""
        heads = [self._heads(x) for x in (self.q_proj(q), self.k_proj(k), self.v_proj(v))]
        batch = max(len(x) for x in heads)
        q, k, v = (x.expand(batch, -1, -1, -1) for x in heads)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class TwoWayAttentionBlock(nn.Module):
    """Tokens to themselves, tokens to image, MLP on tokens, image to tokens.

    skip_first_layer_pe: the first block's self-attention replaces the tokens: no positions and no residual.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        mlp_dim: int,
        downsample_rate: int = 2,
        skip_first_layer_pe: bool = False,
    ) -> None:
        super().__init__()
        self.skip_first_layer_pe = skip_first_layer_pe
        self.self_attn = Attention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = Attention(embedding_dim, num_heads, downsample_rate)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = MLPBlock(embedding_dim, mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = Attention(embedding_dim, num_heads, downsample_rate)

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, n, C) and image (B or 1, H * W, C), with what tells their positions -> both, updated."""
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries)
        else:
            placed = queries + query_pe
            queries = queries + self.self_attn(placed, placed, queries)
        queries = self.norm1(queries)
        queries = self.norm2(
            queries + self.cross_attn_token_to_image(queries + query_pe, keys + key_pe, keys)
        )
        queries = self.norm3(queries + self.mlp(queries))
        keys = self.norm4(keys + self.cross_attn_image_to_token(keys + key_pe, queries + query_pe, queries))
        return queries, keys


class TwoWayTransformer(nn.Module):
    """``depth`` two-way blocks, and a last look of the tokens at the image."""

    def __init__(self, *, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embedding_dim, num_heads, mlp_dim, skip_first_layer_pe=index == 0)
            for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(embedding_dim, num_heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def forward(
        self, image_embedding: Tensor, image_pe: Tensor, point_embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Image (B or 1, C, H, W), its positions (B or 1, C, H, W), tokens (B, n, C) -> (B, n, C), (B, H * W, C)."""
        keys = image_embedding.flatten(2).transpose(1, 2)
        key_pe = image_pe.flatten(2).transpose(1, 2)
        queries = point_embedding
        for layer in self.layers:
            queries, keys = layer(queries, keys, point_embedding, key_pe)
        seen = self.final_attn_token_to_image(queries + point_embedding, keys + key_pe, keys)
        return self.norm_final_attn(queries + seen), keys
