"""Overlap and volume: everything that follows from the confusion counts of two masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from medeval.metrics.base import MeanMetric, Statistic, Value
from medeval.metrics.masks import Counts, MaskPair, voxels
from medeval.metrics.names import options, split
from medeval.metrics.registry import register
from medeval.types.geometry import Grid

BOTH_EMPTY = "both empty"


class MaskMetric(MeanMetric):
    """A metric with one value for a pair of masks.

    ``measure`` is called when both masks hold something; the rules for empty masks are class attributes: a number, the
    word "worst", or None for undefined.
    """

    pair: ClassVar[type] = MaskPair
    when_both_empty: float | None = None
    when_prediction_empty: float | str | None = "worst"
    when_reference_empty: float | str | None = "worst"

    def observe(self, pair: MaskPair) -> Value:
        """The pair's value, or the value or None that the rule for empty masks gives, with that rule."""
        empty = pair.empty
        if not empty:
            return Value({"value": self.measure(pair)})
        if empty == BOTH_EMPTY:
            given: float | str | None = self.when_both_empty
        else:
            given = self.when_prediction_empty if empty == "prediction empty" else self.when_reference_empty
        if given is None:
            return Value(None, empty)
        if given == "worst":
            return Value({"value": self.worst(pair.grid)}, f"{empty}: worst")
        return Value({"value": float(given)}, f"{empty}: {float(given):g}")

    def measure(self, pair: MaskPair) -> float:
        """The value for a pair of which neither side is empty."""
        raise NotImplementedError

    def worst(self, grid: Grid) -> float:
        """The finite worst value on a grid: 0 or the end of the range, for distances the image's diagonal."""
        low, high = self.range
        worst = low if self.direction == "higher" else high
        return worst if np.isfinite(worst) else grid.diagonal

    def failed(self, reference: Grid) -> Statistic:
        """The worst value on the reference's grid."""
        return {"value": self.worst(reference)}


class CountMetric(MaskMetric):
    """A metric that needs only voxel counts."""

    def measure(self, pair: MaskPair) -> float:
        """The value from the pair's counts."""
        return self.from_counts(pair.counts, pair)

    def from_counts(self, counts: Counts, pair: MaskPair) -> float:
        """The value from counts of which neither side is empty."""
        raise NotImplementedError


def _with_empty(cls: type[CountMetric], base: str) -> Any:
    known: dict[str, tuple[str, object]] = {f"empty={v}": ("when_both_empty", float(v)) for v in (0, 1)}

    def parse(name: str) -> CountMetric | None:
        parts = split(name)
        if parts.base != base or parts.argument:
            return None
        metric = cls()
        metric.name = name
        for setting, value in options(name, parts.options, known).items():
            setattr(metric, setting, value)
        return metric

    return parse


class Dice(CountMetric):
    """Dice coefficient, 2 TP / (2 TP + FP + FN), in [0, 1].

    ``dice:empty=1`` counts a structure that is absent from both masks as 1, as the A-Eval and FLARE scripts do.
    """

    definition = "2|A∩B| / (|A|+|B|)"
    empties = "both empty: undefined (`:empty=1`: 1, as A-Eval and FLARE); one empty: 0"
    source = "Dice 1945; google-deepmind/surface-distance, nnU-Net"

    def from_counts(self, counts: Counts, pair: MaskPair) -> float:
        """Dice of the counts."""
        return 2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn)


class IoU(CountMetric):
    """Intersection over union (Jaccard), TP / (TP + FP + FN), in [0, 1]; ``iou:empty=1`` as ``dice:empty=1``."""

    definition = "|A∩B| / |A∪B|"
    empties = "both empty: undefined (`:empty=1`: 1); one empty: 0"
    source = "Jaccard 1912; MedPy jc, MetricsReloaded"

    def from_counts(self, counts: Counts, pair: MaskPair) -> float:
        """IoU of the counts."""
        return counts.tp / (counts.tp + counts.fp + counts.fn)


for _cls, _base in ((Dice, "dice"), (IoU, "iou")):
    register(f"{_base}[:empty=1]", parse=_with_empty(_cls, _base))(_cls)


@register("precision")
class Precision(CountMetric):
    """Share of predicted voxels that are right (positive predictive value), in [0, 1]."""

    definition = "TP / (TP+FP)"
    empties = "both empty: undefined; prediction empty: 0; reference empty: 0"
    source = "MedPy precision"

    def from_counts(self, counts: Counts, pair: MaskPair) -> float:
        """TP / (TP + FP)."""
        return counts.tp / counts.prediction


@register("recall")
class Recall(CountMetric):
    """Share of the reference's voxels that were found (sensitivity), in [0, 1]."""

    definition = "TP / (TP+FN)"
    empties = "both empty: undefined; prediction empty: 0; reference empty: undefined"
    source = "MedPy recall"
    when_reference_empty = None

    def from_counts(self, counts: Counts, pair: MaskPair) -> float:
        """TP / (TP + FN)."""
        return counts.tp / counts.reference


@register("specificity")
class Specificity(CountMetric):
    """Share of the image's other voxels that were left alone, in [0, 1]; near 1 for any small structure."""

    definition = "TN / (TN+FP), over the whole image"
    empties = "counted as they are; undefined when the reference fills the image"
    source = "MedPy specificity"

    def observe(self, pair: MaskPair) -> Value:
        """TN / (TN + FP); empty masks need no rule."""
        counts = pair.counts
        negatives = counts.tn + counts.fp
        return (
            Value({"value": counts.tn / negatives}) if negatives else Value(None, "reference fills the image")
        )


@register("volume_similarity")
class VolumeSimilarity(CountMetric):
    """1 - ||A|-|B|| / (|A|+|B|), in [0, 1]; says nothing of where the voxels lie."""

    definition = "1 - ||A|-|B|| / (|A|+|B|); not the signed quantity of SimpleITK and seg-metrics"
    empties = "both empty: undefined; one empty: 0"
    source = "Taha & Hanbury 2015"

    def from_counts(self, counts: Counts, pair: MaskPair) -> float:
        """Volume similarity of the counts."""
        return 1.0 - abs(counts.fp - counts.fn) / (counts.prediction + counts.reference)


def millilitres(count: float, spacing: tuple[float, ...]) -> float:
    """Volume of a number of voxels in ml; in 2D a slice counts as 1 mm thick."""
    return count * float(np.prod(spacing)) / 1000.0


@register("volume_difference")
class VolumeDifference(CountMetric):
    """Absolute difference of the two volumes in ml (in 2D of a slice 1 mm thick), from 0 up."""

    direction = "lower"
    range = (0.0, float("inf"))
    unit = "ml"
    definition = "||B|-|A||"
    empties = "counted as they are; both empty: 0; failed: the image's volume"
    source = "MetricsReloaded (absolute volume difference)"

    def observe(self, pair: MaskPair) -> Value:
        """The difference; empty masks need no rule."""
        return Value({"value": millilitres(abs(pair.counts.fp - pair.counts.fn), pair.spacing)})

    def worst(self, grid: Grid) -> float:
        """The image's volume in ml."""
        return millilitres(voxels(grid), grid.spacing)


class RelativeVolumeDifference(CountMetric):
    """(|B|-|A|) / |A| with sign, from -1 up, 0 is best; ``rvd:absolute`` without sign, for ranking.

    A failed prediction counts as an empty one: -1, or 1 without sign.
    """

    direction = "lower"
    range = (-1.0, float("inf"))
    definition = "(|B|-|A|) / |A|, signed: 0 is best"
    empties = "reference empty: undefined; prediction empty: -1 (`:absolute`: 1)"
    source = "MedPy ravd, panoptica RVD; MetricsReloaded avdr (absolute)"
    when_reference_empty = None
    absolute = False

    def from_counts(self, counts: Counts, pair: MaskPair) -> float:
        """The relative difference of the counts."""
        signed = (counts.fp - counts.fn) / counts.reference
        return abs(signed) if self.absolute else signed

    def worst(self, grid: Grid) -> float:
        """As an empty prediction."""
        return 1.0 if self.absolute else -1.0


def _parse_rvd(name: str) -> RelativeVolumeDifference | None:
    parts = split(name)
    if parts.base != "rvd" or parts.argument:
        return None
    metric = RelativeVolumeDifference()
    metric.name = name
    metric.absolute = bool(options(name, parts.options, {"absolute": ("absolute", True)}))
    if metric.absolute:
        metric.definition = "||B|-|A|| / |A|"
    return metric


register("rvd[:absolute]", parse=_parse_rvd)(RelativeVolumeDifference)


@register("centre_distance")
class CentreDistance(MaskMetric):
    """Distance in mm between the two masks' centres of mass, from 0 up."""

    direction = "lower"
    range = (0.0, float("inf"))
    unit = "mm"
    definition = "distance between centres of mass"
    empties = "both empty: undefined; one empty: image diagonal"
    source = "MetricsReloaded (centre of mass distance)"

    def measure(self, pair: MaskPair) -> float:
        """Distance of the centres of the crops."""
        first, second = (_centre(mask) for mask in pair.crops)
        return float(np.linalg.norm((first - second) * np.asarray(pair.spacing)))


def _centre(mask: np.ndarray) -> np.ndarray:
    total = np.count_nonzero(mask)
    centre = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        centre.append(float(mask.sum(axis=others) @ np.arange(mask.shape[axis])) / total)
    return np.array(centre)


def generalised_dice(counts: Mapping[Any, Counts], weighting: str = "square") -> float:
    """Generalised Dice over several structures, in [0, 1]; nan when all are absent.

    counts: structure -> its counts, such as ``{k: p.counts for k, p in mask_pairs(...).items()}``.
    weighting: "square" (1 / reference volume squared), "simple" (1 / volume) or "uniform". Structures with an empty
        reference take the largest finite weight of the others.

    Source: Crum et al. 2006, Sudre et al. 2017.
    """
    power = {"square": 2, "simple": 1, "uniform": 0}[weighting]
    sizes = np.array([c.reference for c in counts.values()], dtype=np.float64)
    with np.errstate(divide="ignore"):
        weights = sizes**-power
    finite = weights[np.isfinite(weights)]
    weights[~np.isfinite(weights)] = finite.max() if finite.size else 1.0
    overlap = float(weights @ [2 * c.tp for c in counts.values()])
    both = float(weights @ [c.prediction + c.reference for c in counts.values()])
    return overlap / both if both else float("nan")
