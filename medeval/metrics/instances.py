"""Lesion-wise detection, panoptic quality, and volumes of what was invented or missed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Value
from medeval.metrics.masks import MaskPair, voxels
from medeval.metrics.matching import CONNECTIVITY, Matched, Matcher, Score, components, match, overlaps
from medeval.metrics.names import number, options, plain, split
from medeval.metrics.overlap import MaskMetric, millilitres
from medeval.metrics.registry import register
from medeval.types.errors import MetricError
from medeval.types.geometry import Grid

_OPTIONS: dict[str, tuple[str, object]] = {
    "greedy": ("matcher", "greedy"),
    "hungarian": ("matcher", "hungarian"),
    "many": ("matcher", "many"),
    "any": ("matcher", "any"),
    "dice": ("quality", "dice"),
    **{f"{n}-connected": ("connectivity", n) for known in CONNECTIVITY.values() for n in known},
}

_RULES = {
    "greedy": "one to one, best first",
    "hungarian": "one to one, largest sum (Hungarian)",
    "many": "best first, several predictions may join one reference",
    "any": "any shared voxel",
}


class InstanceMetric(MaskMetric):
    """A metric over the connected components of both masks, matched by IoU ``>= 0.5`` unless the name says otherwise.

    ``@0.1`` sets the threshold. Options: ``:hungarian``, ``:many``, ``:any`` (any shared voxel) in the place of greedy
    one-to-one matching, best pair first (panoptica's naive); ``:6-connected`` and so on (default 26, in 2D 8).
    """

    empties = "both empty: undefined; one empty or nothing matched: 0"
    source = "panoptica"
    words = ""
    threshold: float = 0.5
    matcher: Matcher = "greedy"
    connectivity: int = 0
    quality: Score = "iou"

    def measure(self, pair: MaskPair) -> float:
        """The value from matched components of the crop."""
        return self.of(matched_components(pair, self.threshold, self.matcher, self.connectivity))

    def of(self, found: Matched) -> float:
        """The value of matched instances, at least one on either side."""
        raise NotImplementedError


def matched_components(pair: MaskPair, threshold: float, matcher: Matcher, connectivity: int = 0) -> Matched:
    """The pair's connected components, matched by IoU."""
    prediction, reference = (components(mask, connectivity) for mask in pair.crops)
    return match(overlaps(prediction, reference), threshold, matcher)


class LesionF1(InstanceMetric):
    """Lesion-wise F1, in [0, 1]: TP / (TP + FP/2 + FN/2) over components (the same number as ``rq``)."""

    definition = words = "lesion-wise F1"

    def of(self, found: Matched) -> float:
        """F1 of the matching."""
        return found.tp / (found.tp + 0.5 * found.fp + 0.5 * found.fn) if found.tp else 0.0


class LesionRecall(InstanceMetric):
    """Share of the reference's components that were found, in [0, 1]."""

    definition = words = "share of lesions found"

    def of(self, found: Matched) -> float:
        """TP / (TP + FN)."""
        return found.tp / found.n_reference if found.n_reference else 0.0


class LesionPrecision(InstanceMetric):
    """Share of predicted components that belong to a lesion, in [0, 1]."""

    definition = words = "share of predicted lesions that are real"

    def of(self, found: Matched) -> float:
        """TP / (TP + FP)."""
        return found.tp / (found.tp + found.fp) if found.tp else 0.0


class RecognitionQuality(LesionF1):
    """Recognition quality, in [0, 1]: TP / (TP + FP/2 + FN/2)."""

    definition = words = "recognition quality (lesion-wise F1)"
    source = "Kirillov et al. 2019 (arXiv 1801.00868), panoptica"


class SegmentationQuality(InstanceMetric):
    """Segmentation quality, in [0, 1]: mean IoU of matched components; ``:dice`` their mean Dice."""

    definition = words = "mean overlap of matched lesions"
    source = "Kirillov et al. 2019 (arXiv 1801.00868), panoptica"

    def of(self, found: Matched) -> float:
        """Mean over the matched."""
        return float(np.mean(found.iou if self.quality == "iou" else found.dice)) if found.tp else 0.0


class PanopticQuality(SegmentationQuality):
    """Panoptic quality, in [0, 1]: segmentation quality times recognition quality; ``:dice`` with the mean Dice."""

    definition = words = "panoptic quality"

    def of(self, found: Matched) -> float:
        """SQ times RQ."""
        return super().of(found) * LesionF1().of(found)


def _parse(base: str, cls: type[InstanceMetric]) -> Callable[[str], InstanceMetric | None]:
    def parse(name: str) -> InstanceMetric | None:
        parts = split(name)
        if parts.base != base:
            return None
        metric = cls()
        metric.name = name
        if parts.argument:
            metric.threshold = number(name, parts.argument)
            if not 0.0 < metric.threshold <= 1.0:
                raise MetricError(f"metric {name!r}: a matching threshold lies in (0, 1]")
        for setting, value in options(name, parts.options, _OPTIONS).items():
            setattr(metric, setting, value)
        if metric.quality == "dice" and not isinstance(metric, SegmentationQuality):
            raise MetricError(f"metric {name!r}: ':dice' is for pq and sq")
        joined = f"{metric.connectivity}-connected" if metric.connectivity else "26-connected (2D: 8)"
        rule = "" if metric.matcher == "any" else f"IoU >= {plain(metric.threshold)}, "
        metric.definition = f"{metric.words}; {joined}; {rule}{_RULES[metric.matcher]}"
        return metric

    return parse


for _base, _cls in (
    ("lesion_f1", LesionF1),
    ("lesion_recall", LesionRecall),
    ("lesion_precision", LesionPrecision),
    ("pq", PanopticQuality),
    ("sq", SegmentationQuality),
    ("rq", RecognitionQuality),
):
    _more = "[:dice]" if issubclass(_cls, SegmentationQuality) else ""
    register(f"{_base}[@<IoU>][:hungarian|:many|:any][:<n>-connected]{_more}", parse=_parse(_base, _cls))(
        _cls
    )


class _ComponentVolume(MaskMetric):
    """Volume of one side's 18-connected components (2D: 8) that touch no voxel of the other side."""

    direction: ClassVar = "lower"
    range = (0.0, float("inf"))
    unit = "ml"

    def worst(self, grid: Grid) -> float:
        """The image's volume in ml."""
        return millilitres(voxels(grid), grid.spacing)


def untouched_volume(mask: NDArray[np.bool_], other: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    """Summed volume in ml of the components of ``mask`` (18-connected, 2D 8) without a voxel of ``other``."""
    found = components(mask, 18 if mask.ndim == 3 else 8)
    sizes = np.bincount(found.ravel())
    sizes[0] = 0
    sizes[np.unique(found[other])] = 0
    return millilitres(int(sizes.sum()), spacing)


@register("fpv_ml")
class FalsePositiveVolume(_ComponentVolume):
    """Volume (ml) of predicted components that touch no reference voxel, from 0 up."""

    definition = "18-connected predicted components without a reference voxel"
    empties = "prediction empty: 0; reference empty: the whole prediction; failed: the image's volume"
    source = "autoPET"

    def observe(self, pair: MaskPair) -> Value:
        """The volume; an empty prediction has none."""
        prediction, reference = pair.crops
        volume = untouched_volume(prediction, reference, pair.spacing) if pair.counts.prediction else 0.0
        return Value({"value": volume}, pair.empty and f"{pair.empty}: counted")


@register("fnv_ml")
class FalseNegativeVolume(_ComponentVolume):
    """Volume (ml) of reference components that no predicted voxel touches, from 0 up."""

    definition = "18-connected reference components without a predicted voxel"
    empties = "reference empty: undefined; prediction empty: the whole reference; failed: the image's volume"
    source = "autoPET"

    def observe(self, pair: MaskPair) -> Value:
        """The volume; undefined where there is nothing to miss."""
        if not pair.counts.reference:
            return Value(None, pair.empty)
        prediction, reference = pair.crops
        volume = untouched_volume(reference, prediction, pair.spacing)
        return Value({"value": volume}, pair.empty and f"{pair.empty}: counted")
