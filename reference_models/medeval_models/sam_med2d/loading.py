"""Weights of one image size in a model of another: positions are resized, and what stays fresh is said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F

from medeval_models.sam_med2d.attention import resample
from medeval_models.sam_med2d.sam import Sam
from medeval_models.weights import LoadReport, load_weights

ADAPTERS = ".Adapter."
UPSTREAM_FRESH = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
"""What the official script leaves at random when SAM's weights go into a 256 model, so that it must be trained."""

_POSITIONS = "image_encoder.pos_embed"
_TABLE = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.rel_pos_[hw]")


def load_checkpoint(
    model: Sam,
    state: Mapping[str, Tensor],
    *,
    fresh: Sequence[str] = (),
    drop: Sequence[str] = (),
    source: str = "the checkpoint",
) -> LoadReport:
    """Load SAM's or SAM-Med2D's weights, positions resized where the image size differs.

    fresh: parts of names that stay as the model has them; ``UPSTREAM_FRESH`` and ``".Adapter."`` together do what the
        official script does with SAM's weights. drop: parts of names to leave out; ``".Adapter."`` gives the paper's
        "SAM-Med2D*", the adapters dropped at test time.
    Raises ``medeval_models.weights.WeightsError`` naming what does not fit.
    """
    return load_weights(model, resize_positions(model, state), fresh=fresh, drop=drop, source=source)


def resize_positions(model: Sam, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with position embedding and global blocks' relative positions at the model's size.

    Bilinear, corners not aligned, as the official code; tensors that already fit are the same objects. Tables of
    windowed blocks are left: a window of another size is another model.
    """
    resized = dict(state)
    own = model.image_encoder.pos_embed
    if _POSITIONS in state and state[_POSITIONS].ndim == 4 and state[_POSITIONS].shape[1:3] != own.shape[1:3]:
        channels_first = state[_POSITIONS].float().permute(0, 3, 1, 2)
        grid = F.interpolate(channels_first, own.shape[1:3], mode="bilinear", align_corners=False)
        resized[_POSITIONS] = grid.permute(0, 2, 3, 1)
    rows = 2 * own.shape[1] - 1
    for name, table in state.items():
        block = _TABLE.fullmatch(name)
        if block and table.ndim == 2 and len(table) != rows and _is_global(model, int(block[1])):
            resized[name] = resample(table.float(), rows)
    return resized


def _is_global(model: Sam, index: int) -> bool:
    blocks = model.image_encoder.blocks
    return index < len(blocks) and not blocks[index].window_size
