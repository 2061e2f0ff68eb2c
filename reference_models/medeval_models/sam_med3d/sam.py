"""The three parts together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med3d.image_encoder import ImageEncoderViT3D
from medeval_models.sam_med3d.mask_decoder import MaskDecoder3D
from medeval_models.sam_med3d.prompt_encoder import PromptEncoder3D


class Decoded(NamedTuple):
    """What a decode gives. logits: (B, m, 4 * grid, 4 * grid, 4 * grid). iou: (B, m), predicted but never trained."""

    logits: Tensor
    iou: Tensor


class Sam3D(nn.Module):
    """Image encoder, prompt encoder and mask decoder; the parts are called on their own or by ``decode``.

    There is no ``forward`` of the whole: the official one is a 2D left-over whose masks are all False (SAM-Med3D#120).
    """

    def __init__(
        self, image_encoder: ImageEncoderViT3D, prompt_encoder: PromptEncoder3D, mask_decoder: MaskDecoder3D
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def image_size(self) -> int:
        """Side of the cube that the encoder takes."""
        return self.image_encoder.img_size

    @property
    def low_res_size(self) -> int:
        """Side of the low-resolution logits, which are also the mask prompt."""
        return int(self.prompt_encoder.mask_input_size[0])

    def decode(
        self,
        image_embeddings: Tensor,
        points: Sequence[Tensor] | None = None,
        masks: Tensor | None = None,
        multimask_output: bool = False,
    ) -> Decoded:
        """Low-resolution logits of each prompt. image_embeddings: (1 or B, C, grid, grid, grid)."""
        sparse, dense = self.prompt_encoder(points=points, boxes=None, masks=masks)
        if masks is None:
            dense = dense[:1]  # the same for all prompts
        pe = self.prompt_encoder.get_dense_pe()
        return Decoded(*self.mask_decoder(image_embeddings, pe, sparse, dense, multimask_output))

    def upscale(self, logits: Tensor) -> Tensor:
        """Low-resolution logits (B, m, n, n, n) at the encoder's input size, trilinear; a mask is what lies above 0.

        Axis by axis as matrix products: ``F.interpolate`` gives the same to rounding and takes several times as long on a CPU.
        """
        with torch.autocast(logits.device.type, enabled=False):
            values = logits.float()
            identity = torch.eye(values.shape[-1], device=values.device)[None]
            way = F.interpolate(identity, self.image_size, mode="linear", align_corners=False)[0].T
            first = (way @ values.flatten(3)).unflatten(3, values.shape[3:])
            return (way @ first) @ way.T
