"""Surface metrics. One table of distances a pair (``MaskPair.surface``) serves them all, at any percentile or tolerance.

The field means different things by these names. Here ``hd``, ``hd95``, ``assd`` and ``masd`` are over border voxels
(Metrics Reloaded, MONAI), ``nsd`` over surface elements weighted by area (DeepMind); ``:surfel`` and ``:voxel`` choose
the other. docs/metrics.md shows how far they lie apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from medeval.metrics.distances import Directed
from medeval.metrics.masks import MaskPair, Surface
from medeval.metrics.names import options, plain, split
from medeval.metrics.overlap import MaskMetric
from medeval.metrics.registry import register
from medeval.metrics.tolerances import Tolerances, parse_tolerances
from medeval.types.errors import MetricError

_SURFACES: dict[str, tuple[str, object]] = {"surfel": ("surface", "surfel"), "voxel": ("surface", "voxel")}
_WORDS = {"surfel": "surface elements weighted by area", "voxel": "border voxels"}


class SurfaceMetric(MaskMetric):
    """A metric over the distances between two surfaces.

    surface: what the surface is made of: "surfel" (voxel corners weighted by area) or "voxel" (border voxels).
    """

    surface: Surface = "voxel"

    def with_surface(self, surface: Surface) -> SurfaceMetric:
        """The same metric over the other kind of surface."""
        if surface not in _WORDS:
            raise MetricError(f"surface must be 'surfel' or 'voxel', not {surface!r}")
        same = type(self)()
        same.__dict__.update(self.__dict__, surface=surface)
        return same


class DistanceMetric(SurfaceMetric):
    """A distance in mm: lower is better, the image's diagonal is the worst."""

    direction: ClassVar = "lower"
    range = (0.0, float("inf"))
    unit = "mm"
    empties = "both empty: undefined; one empty: image diagonal"


class Hausdorff(DistanceMetric):
    """Hausdorff distance at a percentile, mm: the larger of the two directed percentiles (``hd`` is the maximum).

    Border voxels: linear interpolation between order statistics. ``:surfel``: the smallest distance that holds the
    percentage of the area, without interpolation. ``:pooled``: one percentile of both directions together (MedPy).
    """

    definition = "larger of the two directed percentiles; border voxels"
    source = (
        "hd: all peers; hd95: MONAI, MetricsReloaded; :pooled MedPy; :surfel google-deepmind/surface-distance"
    )
    percent: float = 100.0
    pooled: bool = False

    def measure(self, pair: MaskPair) -> float:
        """The percentile, or the maximum."""
        distances = pair.surface(self.surface)
        if self.percent == 100.0:
            return max(d.highest for d in distances.directions)
        sides = (distances.pooled,) if self.pooled else distances.directions
        return max(self._percentile(side) for side in sides)

    def _percentile(self, side: Directed) -> float:
        if self.surface == "surfel":
            return side.quantile_by_weight(self.percent)
        return side.percentile(self.percent)


def _parse_hausdorff(name: str) -> Hausdorff | None:
    parts = split(name)
    match = re.fullmatch(r"hd(\d+(?:\.\d+)?)?(?:_(surfel|pooled|voxel))?", parts.base)
    if match is None or parts.argument:
        return None
    metric = Hausdorff()
    metric.name = name
    metric.percent = float(match[1]) if match[1] else 100.0
    if not 0.0 <= metric.percent <= 100.0:
        raise MetricError(f"metric {name!r}: a percentile lies between 0 and 100")
    given = (*parts.options, match[2]) if match[2] else parts.options
    for setting, value in options(name, given, {**_SURFACES, "pooled": ("pooled", True)}).items():
        setattr(metric, setting, value)
    what = "maximum" if metric.percent == 100.0 else f"{plain(metric.percent)}th percentile"
    rule = f"{what} of both directions pooled" if metric.pooled else f"larger of the two directed {what}s"
    metric.definition = f"{rule}; {_WORDS[metric.surface]}"
    return metric


register("hd[<percent>][:surfel|:pooled]", parse=_parse_hausdorff)(Hausdorff)


class Assd(DistanceMetric):
    """Average symmetric surface distance, mm: mean over both directions' distances pooled; ``:surfel`` by area."""

    definition = "mean of both directions pooled; border voxels"
    source = "MedPy assd, MONAI (symmetric=True), MetricsReloaded assd"

    def measure(self, pair: MaskPair) -> float:
        """The pooled mean."""
        first, second = pair.surface(self.surface).directions
        return (first.moment + second.moment) / (first.total + second.total)


class Masd(DistanceMetric):
    """Mean of the two directed mean distances, mm; ``:surfel`` weights each by area."""

    definition = "mean of the two directed means; border voxels"
    source = "MetricsReloaded masd, panoptica's ASSD; :surfel the mean of surface-distance's two averages"

    def measure(self, pair: MaskPair) -> float:
        """The mean of both means."""
        first, second = pair.surface(self.surface).directions
        return (first.mean + second.mean) / 2.0


class Asd(DistanceMetric):
    """Mean distance from the prediction's surface to the reference's, mm; says nothing of what was missed."""

    definition = "mean from prediction to reference only; border voxels"
    source = "MedPy asd, MONAI's default average surface distance"

    def measure(self, pair: MaskPair) -> float:
        """The directed mean."""
        return pair.surface(self.surface).to_reference.mean


def _parse_average(base: str, cls: type[DistanceMetric]) -> Callable[[str], DistanceMetric | None]:
    def parse(name: str) -> DistanceMetric | None:
        parts = split(name)
        if parts.base != base or parts.argument:
            return None
        metric = cls()
        metric.name = name
        for setting, value in options(name, parts.options, _SURFACES).items():
            setattr(metric, setting, value)
        metric.definition = metric.definition.replace(_WORDS["voxel"], _WORDS[metric.surface])
        return metric

    return parse


for _base, _cls in (("assd", Assd), ("masd", Masd), ("asd", Asd)):
    register(f"{_base}[:surfel]", parse=_parse_average(_base, _cls))(_cls)


class SurfaceDice(SurfaceMetric):
    """Normalised surface distance: the share of both surfaces that lies within a tolerance of the other, in [0, 1].

    ``nsd@2mm``: surface elements weighted by area, distance ``<=`` tolerance. ``:voxel``: border voxels, pooled.
    ``:fractions``: border voxels, mean of the two directed shares (panoptica). ``nsd@flare22`` and
    ``nsd@liver=5,spleen=3,*=2mm`` take each structure's tolerance from a table.
    """

    definition = "share of both surfaces within the tolerance; surface elements weighted by area"
    empties = "both empty: undefined; one empty: 0"
    source = "Nikolov et al. 2021, google-deepmind/surface-distance; :voxel MONAI, MetricsReloaded; :fractions panoptica"
    surface: Surface = "surfel"
    tolerances: Tolerances = Tolerances("", {}, None)
    fractions: bool = False

    def measure(self, pair: MaskPair) -> float:
        """The share within the structure's tolerance."""
        tolerance = self.tolerances.of(pair.structure, self.name)
        first, second = pair.surface(self.surface).directions
        if self.fractions:
            return (first.within(tolerance) / first.total + second.within(tolerance) / second.total) / 2.0
        # Rounding of sums in another order must not give 1.0000000000000002.
        return min(1.0, (first.within(tolerance) + second.within(tolerance)) / (first.total + second.total))


def _parse_nsd(name: str) -> SurfaceDice | None:
    parts = split(name)
    if parts.base not in ("nsd", "nsd_voxel"):
        return None
    metric = SurfaceDice()
    metric.name = name
    metric.tolerances = parse_tolerances(name, parts.argument)
    given = (*parts.options, "voxel") if parts.base == "nsd_voxel" else parts.options
    for setting, value in options(name, given, {**_SURFACES, "fractions": ("fractions", True)}).items():
        setattr(metric, setting, value)
    if metric.fractions:
        metric.surface = "voxel"
    rule = "mean of the two directed shares" if metric.fractions else "share of both surfaces"
    metric.definition = f"{rule} within {metric.tolerances.text}; {_WORDS[metric.surface]}"
    return metric


register("nsd@<T>mm[:voxel|:fractions]", parse=_parse_nsd)(SurfaceDice)
