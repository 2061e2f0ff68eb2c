"""Where parts meet sizes: the paper's networks by data set, and of any other size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from medeval_models.upl_sfda import unet2d, unet3d
from medeval_models.upl_sfda.network import HEADS, SourceUNet, UPLUNet

DATASETS: Mapping[str, Mapping[str, Any]] = {
    "mms": {"ft_chns": (16, 32, 64, 128, 256), "n_classes": 4, "pl_threshold": 0.95, "dimensions": 2},
    "fb": {"ft_chns": (8, 16, 32, 64, 128), "n_classes": 2, "pl_threshold": 0.9, "dimensions": 2},
    "feta": {"ft_chns": (16, 32, 64, 128, 256), "n_classes": 8, "pl_threshold": 0.95, "dimensions": 3},
}
"""The paper's settings: M&MS hearts, fetal brain, FeTA tissues."""


def build(
    *,
    dataset: str = "mms",
    ft_chns: Sequence[int] | None = None,
    n_classes: int | None = None,
    in_chns: int = 1,
    dropout_p: Sequence[float] = (0.0, 0.5),
    up_mode: str = "upsample",
    trilinear: bool = True,
    dimensions: int | None = None,
    pl_threshold: float | None = None,
) -> UPLUNet:
    """The network with four heads, random weights, in evaluation mode.

    dataset: of ``DATASETS``; gives what is not said. ft_chns: channels of the five levels, in 2D each the double of the one
    before. dropout_p: of all blocks, and of each head's deepest. up_mode: "upsample" or "upconv" (2D). trilinear: or
    transposed convolution (3D). dimensions: 2 or 3. Raises ``ValueError`` for sizes that do not go together.
    """
    sizes = _sizes(dataset, ft_chns, n_classes, dimensions, pl_threshold, dropout_p, up_mode)
    encoder, head = _parts(sizes, in_chns, dropout_p, up_mode, trilinear)
    return UPLUNet(encoder, [head() for _ in range(HEADS)], sizes["pl_threshold"]).eval()


def build_source(
    *,
    dataset: str = "mms",
    ft_chns: Sequence[int] | None = None,
    n_classes: int | None = None,
    in_chns: int = 1,
    dropout_p: Sequence[float] = (0.0, 0.5),
    up_mode: str = "upsample",
    trilinear: bool = True,
    dimensions: int | None = None,
) -> SourceUNet:
    """The source model: encoder and first head under their official names, logits out. Arguments as ``build`` takes them."""
    sizes = _sizes(dataset, ft_chns, n_classes, dimensions, None, dropout_p, up_mode)
    encoder, head = _parts(sizes, in_chns, dropout_p, up_mode, trilinear)
    return SourceUNet(encoder, head()).eval()


def _sizes(
    dataset: str, ft_chns: Any, n_classes: Any, dimensions: Any, pl_threshold: Any, dropout_p: Any, up_mode: str
) -> dict[str, Any]:  # fmt: skip
    if dataset not in DATASETS:
        raise ValueError(f"dataset {dataset!r}: one of {', '.join(DATASETS)}")
    given = {
        "ft_chns": ft_chns,
        "n_classes": n_classes,
        "dimensions": dimensions,
        "pl_threshold": pl_threshold,
    }
    sizes = {**DATASETS[dataset], **{key: value for key, value in given.items() if value is not None}}
    widths = list(sizes["ft_chns"])
    if len(widths) != 5:
        raise ValueError(f"ft_chns {widths}: five numbers, one a level, are needed")
    if sizes["dimensions"] not in (2, 3):
        raise ValueError(f"dimensions {sizes['dimensions']}: 2 or 3")
    doubled = all(2 * fine == deep for fine, deep in itertools.pairwise(widths))
    if sizes["dimensions"] == 2 and not doubled:
        raise ValueError(f"ft_chns {widths}: in 2D each must be the double of the one before")
    if len(dropout_p) != 2 or up_mode not in ("upsample", "upconv"):
        raise ValueError(f"dropout_p {list(dropout_p)} (two rates) or up_mode {up_mode!r} (upsample, upconv)")
    return sizes


def _parts(
    sizes: Mapping[str, Any], in_chns: int, dropout_p: Sequence[float], up_mode: str, trilinear: bool
) -> tuple[nn.Module, Any]:
    """The encoder, and what makes a head."""
    widths, classes = sizes["ft_chns"], sizes["n_classes"]
    if sizes["dimensions"] == 2:
        encoder: nn.Module = unet2d.Encoder(in_chns, widths, dropout_p[0])
        return encoder, lambda: unet2d.Decoder(classes, widths, dropout_p, up_mode)
    encoder = unet3d.Encoder(in_chns, widths, dropout_p[0])
    return encoder, lambda: unet3d.Decoder(classes, widths, dropout_p, trilinear)
