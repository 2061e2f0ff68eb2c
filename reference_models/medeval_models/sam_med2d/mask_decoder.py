"""SAM's mask decoder: prompt tokens and the image embedding become masks, each with a predicted IoU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medeval_models.sam_med2d.common import MLP, LayerNorm2d


class MaskDecoder(nn.Module):
    """Mask 0 is meant for unambiguous prompts, masks 1 .. num_multimask_outputs for ambiguous ones.

    transformer: called with (image, image positions, tokens), of ``transformer_dim`` channels.
    """

    def __init__(
        self,
        *,
        transformer_dim: int,
        transformer: nn.Module,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, transformer_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, transformer_dim // 4, 2, stride=2),
            LayerNorm2d(transformer_dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(transformer_dim // 4, transformer_dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(transformer_dim, transformer_dim, transformer_dim // 8, 3)
            for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(
            transformer_dim, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth
        )

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, m, 4 * height, 4 * width) and predicted IoU (B, m); m = num_multimask_outputs, or 1.

        image_embeddings: (B, C, height, width), or a batch of one that all prompts share.
        image_pe: (1, C, height, width), from ``PromptEncoder.get_dense_pe``.
        sparse_prompt_embeddings: (B, n, C), n may be 0.
        dense_prompt_embeddings: (B, C, height, width), or a batch of one.
        """
        wanted = slice(1, None) if multimask_output else slice(0, 1)
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat(
            [own.expand(len(sparse_prompt_embeddings), -1, -1), sparse_prompt_embeddings], dim=1
        )
        image = image_embeddings + dense_prompt_embeddings
        seen, pixels = self.transformer(image, image_pe, tokens)
        upscaled = self.output_upscaling(pixels.transpose(1, 2).unflatten(2, image.shape[2:]))
        heads = list(self.output_hypernetworks_mlps)[wanted]
        mask_tokens = seen[:, 1 : 1 + self.num_mask_tokens][:, wanted]
        weights = torch.stack([head(mask_tokens[:, index]) for index, head in enumerate(heads)], dim=1)
        masks = (weights @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
        return masks, self.iou_prediction_head(seen[:, 0])[:, wanted]
