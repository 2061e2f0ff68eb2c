"""Boundary IoU: overlap of two bands along the contours instead of two whole masks."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.masks import MaskPair
from medeval.metrics.names import number, options, plain, split
from medeval.metrics.overlap import MaskMetric
from medeval.metrics.registry import register

Band = Literal["ratio", "mm", "px"]


class BoundaryIoU(MaskMetric):
    """IoU of the voxels of each mask that lie within a distance of its contour, in [0, 1].

    ``boundary_iou``: within d voxels in chessboard distance (erosion with a full 3x3 or 3x3x3 element) of the
    background, d = 2% of the image's diagonal in voxels, rounded, at least 1 (Cheng et al.); ``boundary_iou@0.1``
    takes another share. ``boundary_iou@2mm``: at most 2 mm (Euclidean) from the nearest background voxel's centre.
    ``boundary_iou@3px``: less than 3 voxels (Euclidean) from a border voxel (MetricsReloaded). Outside the image is
    background.
    """

    definition = "IoU of bands along the contours"
    empties = "both empty: undefined; one empty: 0"
    source = "Cheng et al. 2021 (arXiv 2103.16562), boundary-iou-api; @<d>px MetricsReloaded"
    band: Band = "ratio"
    distance: float = 0.02

    def measure(self, pair: MaskPair) -> float:
        """IoU of the two bands."""
        first, second = (self._band(mask, pair) for mask in pair.crops)
        union = int(np.count_nonzero(first | second))
        return int(np.count_nonzero(first & second)) / union if union else 0.0

    def _band(self, mask: NDArray[np.bool_], pair: MaskPair) -> NDArray[np.bool_]:
        from scipy.ndimage import distance_transform_cdt, distance_transform_edt  # not at the first `dice`

        from medeval.metrics.fallback import border_voxels

        padded = np.pad(mask, 1)
        inner = tuple(slice(1, -1) for _ in mask.shape)
        if self.band == "px":
            border = np.pad(border_voxels(mask), 1) != 0
            return mask & (distance_transform_edt(~border)[inner] < self.distance)
        if self.band == "mm":
            return mask & (distance_transform_edt(padded, sampling=pair.spacing)[inner] <= self.distance)
        steps = max(1, round(self.distance * math.sqrt(sum(n * n for n in pair.grid.shape))))
        return mask & (distance_transform_cdt(padded, metric="chessboard")[inner] <= steps)


def _parse(name: str) -> BoundaryIoU | None:
    parts = split(name)
    if parts.base != "boundary_iou":
        return None
    options(name, parts.options, {})
    metric = BoundaryIoU()
    metric.name = name
    if parts.argument:
        unit: Band = (
            "mm" if parts.argument.endswith("mm") else "px" if parts.argument.endswith("px") else "ratio"
        )
        metric.band = unit
        metric.distance = number(name, parts.argument, "" if unit == "ratio" else unit)
    share = f"{plain(100 * metric.distance)}% of the diagonal, chessboard distance to the background"
    metric.definition = {
        "ratio": f"bands of {share}",
        "mm": f"bands of {plain(metric.distance)} mm, Euclidean distance to the background",
        "px": f"bands of less than {plain(metric.distance)} voxels, Euclidean distance to border voxels",
    }[metric.band]
    return metric


register("boundary_iou[@<share>|@<d>mm|@<d>px]", parse=_parse)(BoundaryIoU)
