"""Where parts meet sizes: the official registry, models of any other size, and sizes read from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from medeval_models.sam_med2d.build import VIT_B, VIT_H, VIT_L, grid_side, shared_sizes
from medeval_models.sam_med2d.transformer import TwoWayTransformer
from medeval_models.sam_med3d.image_encoder import ImageEncoderViT3D
from medeval_models.sam_med3d.mask_decoder import MaskDecoder3D
from medeval_models.sam_med3d.prompt_encoder import PromptEncoder3D
from medeval_models.sam_med3d.sam import Sam3D

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "vit_b_ori": {**VIT_B, "image_size": 128},
    "vit_b": {**VIT_B, "image_size": 256, "embed_dim": 384},
    "vit_l": {**VIT_L, "image_size": 256},
    "vit_h": {**VIT_H, "image_size": 256},
    "default": {**VIT_H, "image_size": 256},
}
"""``build(**VARIANTS[name])``: the official registry. All released weights are of ``vit_b_ori``."""


def build(
    *,
    image_size: int = 128,
    patch_size: int = 16,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    mlp_ratio: float = 4,
    global_attn_indexes: Sequence[int] = (2, 5, 8, 11),
    window_size: int = 14,
    prompt_embed_dim: int = 384,
    mask_in_chans: int = 16,
    decoder_depth: int = 2,
    decoder_num_heads: int = 8,
    decoder_mlp_dim: int = 2048,
    num_multimask_outputs: int = 3,
    iou_head_depth: int = 3,
    iou_head_hidden_dim: int = 256,
) -> Sam3D:
    """A model with random weights, in evaluation mode; the defaults are ``vit_b_ori``.

    image_size: side of the input cube, a multiple of ``patch_size``. global_attn_indexes: encoder blocks without windows.
    prompt_embed_dim: channels of the image embedding and of the decoder, a multiple of 3 and of 8.
    Raises ``ValueError`` for sizes that do not go together.
    """
    side = grid_side(image_size, patch_size, depth, global_attn_indexes)
    encoder = ImageEncoderViT3D(
        image_size=image_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        out_chans=prompt_embed_dim,
        window_size=window_size,
        global_attn_indexes=global_attn_indexes,
    )
    prompts = PromptEncoder3D(
        embed_dim=prompt_embed_dim,
        image_embedding_size=(side, side, side),
        input_image_size=(image_size, image_size, image_size),
        mask_in_chans=mask_in_chans,
    )
    decoder = MaskDecoder3D(
        transformer_dim=prompt_embed_dim,
        transformer=TwoWayTransformer(
            depth=decoder_depth,
            embedding_dim=prompt_embed_dim,
            num_heads=decoder_num_heads,
            mlp_dim=decoder_mlp_dim,
        ),
        num_multimask_outputs=num_multimask_outputs,
        iou_head_depth=iou_head_depth,
        iou_head_hidden_dim=iou_head_hidden_dim,
    )
    return Sam3D(encoder, prompts, decoder).eval()


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keywords of ``build`` that a state dict's names and shapes show.

    That is all but ``decoder_num_heads``, which no shape shows (8 in every published model). Raises ``KeyError`` with the
    name of the first tensor that a SAM-Med3D has and this does not, ``ValueError`` for the weights of a 2D model.
    """
    shape = {name: tuple(tensor.shape) for name, tensor in state.items()}
    kernel = shape["image_encoder.patch_embed.proj.weight"]
    if len(kernel) == 4:
        raise ValueError(f"weights of a 2D model: its patch embedding is {kernel}")
    return shared_sizes(shape, "rel_pos_d", "prompt_embed_dim")
