"""Topology: centre lines (clDice) and numbers of components, tunnels and cavities (Betti error)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Value
from medeval.metrics.masks import MaskPair
from medeval.metrics.names import options, split
from medeval.metrics.overlap import MaskMetric
from medeval.metrics.registry import register
from medeval.types.errors import MetricError
from medeval.types.geometry import Grid


@register("cldice")
class ClDice(MaskMetric):
    """Centre-line Dice, in [0, 1]: harmonic mean of how much of each skeleton lies in the other mask.

    Skeletons are those of ``skimage.morphology.skeletonize`` (2D Zhang, 3D Lee) and change with its version. For
    tubular structures: the skeleton of a large solid organ takes tens of seconds and means nothing.
    """

    definition = "harmonic mean of |S(B)∩A|/|S(B)| and |S(A)∩B|/|S(A)|; scikit-image's skeletons"
    empties = "both empty: undefined; one empty: 0; neither skeleton meets the other mask: 0; no skeleton: undefined"
    source = "Shit et al. 2021 (arXiv 2003.07311)"

    def observe(self, pair: MaskPair) -> Value:
        """clDice, or the rule for empty masks and skeletons."""
        if pair.empty:
            return super().observe(pair)
        prediction, reference = pair.crops
        precision, sensitivity = _share(prediction, reference), _share(reference, prediction)
        if precision is None or sensitivity is None:
            return Value(None, "no skeleton")
        both = precision + sensitivity
        return Value({"value": 2.0 * precision * sensitivity / both if both else 0.0})


def _share(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """Share of a mask's skeleton that lies in the other mask; None without a skeleton."""
    from skimage.morphology import skeletonize  # half a second that only this metric should cost

    skeleton = skeletonize(np.pad(mask, 1))[tuple(slice(1, -1) for _ in mask.shape)] > 0
    total = int(np.count_nonzero(skeleton))
    return int(np.count_nonzero(skeleton & other)) / total if total else None


def betti_numbers(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Number of components, tunnels and cavities of a 3D mask; of components and holes of a 2D one.

    The mask is taken with full connectivity (26 or 8), the background with faces (6 or 4).
    """
    from scipy.ndimage import generate_binary_structure, label

    ndim = mask.ndim
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    components = label(padded, generate_binary_structure(ndim, ndim))[1]
    enclosed = label(~padded, generate_binary_structure(ndim, 1))[1] - 1
    if ndim == 2:
        return components, enclosed
    from skimage.measure import euler_number

    euler = int(euler_number(padded, connectivity=ndim))
    return components, components + enclosed - euler, enclosed


class BettiError(MaskMetric):
    """Sum of the absolute differences of the Betti numbers, from 0 up; ``betti_error@0`` of the components alone.

    Empty masks have Betti numbers 0. The worst value is the largest number of components that the image can hold.
    """

    direction: ClassVar = "lower"
    range = (0.0, float("inf"))
    definition = "sum over components, tunnels and cavities (2D: components, holes) of |difference|"
    empties = "both empty: undefined; one empty: counted as it is; failed: most components the image can hold"
    source = "Clough et al. 2020 (Betti error), over whole masks"
    dimension: int | None = None

    def observe(self, pair: MaskPair) -> Value:
        """The error; a mask without voxels has Betti numbers 0."""
        if pair.empty == "both empty":
            return Value(None, pair.empty)
        first, second = (betti_numbers(mask) for mask in pair.crops)
        differences = [abs(a - b) for a, b in zip(first, second, strict=True)]
        total = sum(differences) if self.dimension is None else differences[self.dimension]
        return Value({"value": float(total)}, pair.empty and f"{pair.empty}: counted")

    def worst(self, grid: Grid) -> float:
        """As many components as isolated voxels fit into the image."""
        return float(np.prod([(int(n) + 1) // 2 for n in grid.shape], dtype=np.float64))


def _parse(name: str) -> BettiError | None:
    parts = split(name)
    if parts.base != "betti_error":
        return None
    options(name, parts.options, {})
    metric = BettiError()
    metric.name = name
    if parts.argument:
        if parts.argument not in ("0", "1"):
            raise MetricError(f"metric {name!r}: the dimension is 0 (components) or 1 (tunnels, in 2D holes)")
        metric.dimension = int(parts.argument)
        metric.definition = f"|difference| of the {('components', 'tunnels (2D: holes)')[metric.dimension]}"
    return metric


register("betti_error[@0|@1]", parse=_parse)(BettiError)
