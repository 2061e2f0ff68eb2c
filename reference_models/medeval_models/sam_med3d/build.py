"""Where parts meet sizes: the official registry, models of any other size, and sizes read from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from medeval_models.sam_med2d.build import count_modules
from medeval_models.sam_med2d.transformer import TwoWayTransformer
from medeval_models.sam_med3d.image_encoder import ImageEncoderViT3D
from medeval_models.sam_med3d.mask_decoder import MaskDecoder3D
from medeval_models.sam_med3d.prompt_encoder import PromptEncoder3D
from medeval_models.sam_med3d.sam import Sam3D

_H: dict[str, Any] = {
    "image_size": 256, "embed_dim": 1280, "depth": 32, "num_heads": 16, "global_attn_indexes": (7, 15, 23, 31),
}  # fmt: skip

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "vit_b_ori": {"image_size": 128, "embed_dim": 768, "depth": 12, "num_heads": 12, "global_attn_indexes": (2, 5, 8, 11)},
    "vit_b": {"image_size": 256, "embed_dim": 384, "depth": 12, "num_heads": 12, "global_attn_indexes": (2, 5, 8, 11)},
    "vit_l": {"image_size": 256, "embed_dim": 1024, "depth": 24, "num_heads": 16, "global_attn_indexes": (5, 11, 17, 23)},
    "vit_h": _H,
    "default": _H,
}  # fmt: skip
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
    if image_size % patch_size:
        raise ValueError(f"image_size {image_size} is no multiple of patch_size {patch_size}")
    if beyond := [index for index in global_attn_indexes if not 0 <= index < depth]:
        raise ValueError(f"global_attn_indexes {beyond} lie beyond the {depth} blocks")
    side = image_size // patch_size
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
    embed_dim, _, patch_size = kernel[:3]
    side = shape["image_encoder.pos_embed"][1]
    depth = count_modules(shape, "image_encoder.blocks")
    tables = [shape[f"image_encoder.blocks.{n}.attn.rel_pos_d"] for n in range(depth)]
    windowed = [rows for rows, _ in tables if rows != 2 * side - 1]
    mask_in_chans, prompt_embed_dim = shape["prompt_encoder.mask_downscaling.6.weight"][1::-1]
    return {
        "image_size": side * patch_size,
        "patch_size": patch_size,
        "embed_dim": embed_dim,
        "depth": depth,
        "num_heads": embed_dim // tables[0][1],
        "mlp_ratio": shape["image_encoder.blocks.0.mlp.lin1.weight"][0] / embed_dim,
        "global_attn_indexes": tuple(n for n, (rows, _) in enumerate(tables) if rows == 2 * side - 1),
        # Where every block sees the whole grid, so would a window of its size.
        "window_size": (windowed[0] + 1) // 2 if windowed else side,
        "prompt_embed_dim": prompt_embed_dim,
        "mask_in_chans": mask_in_chans,
        "decoder_depth": count_modules(shape, "mask_decoder.transformer.layers"),
        "decoder_mlp_dim": shape["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
        "num_multimask_outputs": shape["mask_decoder.mask_tokens.weight"][0] - 1,
        "iou_head_depth": count_modules(shape, "mask_decoder.iou_prediction_head.layers"),
        "iou_head_hidden_dim": shape["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    }
