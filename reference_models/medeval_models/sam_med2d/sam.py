"""The three parts together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med2d.image_encoder import ImageEncoderViT
from medeval_models.sam_med2d.mask_decoder import MaskDecoder
from medeval_models.sam_med2d.prompt_encoder import PromptEncoder

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class Decoded(NamedTuple):
    """One chosen mask a prompt. logits: (B, 1, 4 * grid, 4 * grid). iou: (B,), predicted."""

    logits: Tensor
    iou: Tensor


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder; the parts are called on their own or by ``decode``."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self, image_encoder: ImageEncoderViT, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)

    @property
    def image_size(self) -> int:
        """Side of the square image that the encoder takes."""
        return self.image_encoder.img_size

    def normalise(self, image: Tensor) -> Tensor:
        """(..., 3, H, W) in 0..255 -> what the encoder expects."""
        return (image - self.pixel_mean) / self.pixel_std

    def decode(
        self,
        image_embeddings: Tensor,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask_output: bool = True,
    ) -> Decoded:
        """The mask of each prompt; of several, the one with the highest predicted IoU.

        image_embeddings: (1, C, grid, grid), shared by all prompts, or one a prompt. The rest as ``PromptEncoder`` takes it.
        """
        sparse, dense = self.prompt_encoder(points, boxes, masks)
        if masks is None:
            dense = dense[:1]  # the same for all prompts
        logits, iou = self.mask_decoder(
            image_embeddings, self.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output
        )
        best = iou.argmax(dim=1)
        each = torch.arange(len(best), device=best.device)
        return Decoded(logits[each, best][:, None], iou[each, best])

    def postprocess_masks(self, logits: Tensor, original_size: tuple[int, int]) -> Tensor:
        """Logits (B, m, h, w) at the original size, by way of the model's own: bilinear twice, as the official code."""
        own = F.interpolate(logits, (self.image_size, self.image_size), mode="bilinear", align_corners=False)
        return F.interpolate(own, original_size, mode="bilinear", align_corners=False)

    def forward(self, batched_input: Mapping[str, Any], multimask_output: bool = True) -> dict[str, Tensor]:
        """The official ``Sam.forward``, end to end on normalised images with one prompt each.

        batched_input: ``image`` (B, 3, image_size, image_size), normalised; ``original_size`` (height, width); and any of
            ``boxes``, ``point_coords`` with ``point_labels``, ``mask_inputs``, as ``PromptEncoder`` takes them.
        Returns ``masks`` (logits at the original size), ``iou_predictions``, ``low_res_logits``.
        """
        coords = batched_input.get("point_coords")
        points = None if coords is None else (coords, batched_input["point_labels"])
        embeddings = self.image_encoder(batched_input["image"])
        sparse, dense = self.prompt_encoder(
            points, batched_input.get("boxes"), batched_input.get("mask_inputs")
        )
        low, iou = self.mask_decoder(
            embeddings, self.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output
        )
        height, width = (int(n) for n in batched_input["original_size"])
        masks = self.postprocess_masks(low, (height, width))
        return {"masks": masks, "iou_predictions": iou, "low_res_logits": low}
