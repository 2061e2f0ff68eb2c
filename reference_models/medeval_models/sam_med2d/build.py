"""Where parts meet sizes: the models of the papers, models of any other size, and sizes read from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from medeval_models.sam_med2d.image_encoder import ImageEncoderViT
from medeval_models.sam_med2d.mask_decoder import MaskDecoder
from medeval_models.sam_med2d.prompt_encoder import PromptEncoder
from medeval_models.sam_med2d.sam import Sam
from medeval_models.sam_med2d.transformer import TwoWayTransformer

VIT_B: dict[str, Any] = {"embed_dim": 768, "depth": 12, "num_heads": 12, "global_attn_indexes": (2, 5, 8, 11)}
VIT_L: dict[str, Any] = {
    "embed_dim": 1024, "depth": 24, "num_heads": 16, "global_attn_indexes": (5, 11, 17, 23),
}  # fmt: skip
VIT_H: dict[str, Any] = {
    "embed_dim": 1280, "depth": 32, "num_heads": 16, "global_attn_indexes": (7, 15, 23, 31),
}  # fmt: skip
_SAM: dict[str, Any] = {"image_size": 1024, "encoder_adapter": False}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "sam_med2d_b": {**VIT_B, "image_size": 256, "encoder_adapter": True},
    "ft_sam_b": {**VIT_B, "image_size": 256, "encoder_adapter": False},
    "sam_vit_b": {**VIT_B, **_SAM},
    "sam_vit_l": {**VIT_L, **_SAM},
    "sam_vit_h": {**VIT_H, **_SAM},
}
"""``build(**VARIANTS[name])``: the papers' models."""


def build(
    *,
    image_size: int = 256,
    patch_size: int = 16,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    mlp_ratio: float = 4,
    global_attn_indexes: Sequence[int] = (2, 5, 8, 11),
    window_size: int = 14,
    out_chans: int = 256,
    encoder_adapter: bool = True,
    mask_in_chans: int = 16,
    decoder_depth: int = 2,
    decoder_num_heads: int = 8,
    decoder_mlp_dim: int = 2048,
    num_multimask_outputs: int = 3,
    iou_head_depth: int = 3,
    iou_head_hidden_dim: int = 256,
) -> Sam:
    """A model with random weights, in evaluation mode; the defaults are SAM-Med2D's ViT-B.

    image_size: side of the square input, a multiple of ``patch_size``. global_attn_indexes: encoder blocks without
    windows. out_chans: channels of the image embedding and of the decoder. encoder_adapter: an adapter layer in each
    encoder block. Raises ``ValueError`` for sizes that do not go together.
    """
    side = grid_side(image_size, patch_size, depth, global_attn_indexes)
    encoder = ImageEncoderViT(
        image_size=image_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        out_chans=out_chans,
        window_size=window_size,
        global_attn_indexes=global_attn_indexes,
        encoder_adapter=encoder_adapter,
    )
    prompts = PromptEncoder(
        embed_dim=out_chans,
        image_embedding_size=(side, side),
        input_image_size=(image_size, image_size),
        mask_in_chans=mask_in_chans,
    )
    decoder = MaskDecoder(
        transformer_dim=out_chans,
        transformer=TwoWayTransformer(
            depth=decoder_depth, embedding_dim=out_chans, num_heads=decoder_num_heads, mlp_dim=decoder_mlp_dim
        ),
        num_multimask_outputs=num_multimask_outputs,
        iou_head_depth=iou_head_depth,
        iou_head_hidden_dim=iou_head_hidden_dim,
    )
    return Sam(encoder, prompts, decoder).eval()


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keywords of ``build`` that a state dict's names and shapes show.

    That is all but ``decoder_num_heads``, which no shape shows (8 in every published SAM). Raises ``KeyError`` with the
    name of the first tensor that a SAM has and this does not.
    """
    shape = {name: tuple(tensor.shape) for name, tensor in state.items()}
    adapters = "image_encoder.blocks.0.Adapter.norm.weight" in shape
    return {**shared_sizes(shape, "rel_pos_h", "out_chans"), "encoder_adapter": adapters}


def grid_side(image_size: int, patch_size: int, depth: int, global_attn_indexes: Sequence[int]) -> int:
    """Patches along a side. Raises ``ValueError`` for sizes that do not go together."""
    if image_size % patch_size:
        raise ValueError(f"image_size {image_size} is no multiple of patch_size {patch_size}")
    if beyond := [index for index in global_attn_indexes if not 0 <= index < depth]:
        raise ValueError(f"global_attn_indexes {beyond} lie beyond the {depth} blocks")
    return image_size // patch_size


def shared_sizes(shape: Mapping[str, tuple[int, ...]], positions: str, width: str) -> dict[str, Any]:
    """What the shapes of a SAM in two or three dimensions show.

    shape: name -> shape. positions: name of the first axis' table of relative positions. width: keyword of ``build`` for the
    decoder's channels. Raises ``KeyError`` as ``sizes_of``.
    """
    embed_dim, _, patch_size = shape["image_encoder.patch_embed.proj.weight"][:3]
    side = shape["image_encoder.pos_embed"][1]
    depth = count_modules(shape, "image_encoder.blocks")
    tables = [shape[f"image_encoder.blocks.{n}.attn.{positions}"] for n in range(depth)]
    windowed = [rows for rows, _ in tables if rows != 2 * side - 1]
    mask_in_chans, channels = shape["prompt_encoder.mask_downscaling.6.weight"][1::-1]
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
        width: channels,
        "mask_in_chans": mask_in_chans,
        "decoder_depth": count_modules(shape, "mask_decoder.transformer.layers"),
        "decoder_mlp_dim": shape["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
        "num_multimask_outputs": shape["mask_decoder.mask_tokens.weight"][0] - 1,
        "iou_head_depth": count_modules(shape, "mask_decoder.iou_prediction_head.layers"),
        "iou_head_hidden_dim": shape["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    }


def count_modules(names: Mapping[str, Any], prefix: str) -> int:
    """How many numbered modules there are below ``prefix``."""
    found = (re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in names)
    count = 1 + max((int(match[1]) for match in found if match), default=-1)
    if not count:
        raise KeyError(f"{prefix}.0")
    return count
