"""Probabilistic metrics over the voxels of a pair, where the model gave probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics import calibration
from medeval.metrics.base import Value
from medeval.metrics.masks import MaskPair
from medeval.metrics.names import options, split
from medeval.metrics.overlap import MaskMetric
from medeval.metrics.registry import register
from medeval.types.errors import MetricError

MARGIN = 5  # voxels around both masks that ``:box`` takes in


class VoxelProbability(MaskMetric):
    """A probabilistic score over the voxels of the image.

    ``:box`` takes only the voxels within 5 of the box of both masks: background far away is easy and dominates else.
    Undefined where the model gave no probabilities.
    """

    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    empties = "counted as they are; no probabilities: undefined"
    source = "MetricsReloaded"
    words = ""
    box: bool = False

    def observe(self, pair: MaskPair) -> Value:
        """The score over the whole image or the box."""
        if pair.probabilities is None:
            return Value(None, "no probabilities")
        where: tuple[slice, ...] = tuple(slice(None) for _ in pair.shape)
        if self.box:
            if pair.empty == "both empty":
                return Value(None, "both empty: no box")
            low, high = pair.box.tolist()
            where = tuple(slice(max(a - MARGIN, 0), b + MARGIN) for a, b in zip(low, high, strict=True))
        values, truth = pair.probabilities[where], pair.reference[where]
        if pair.ignore is not None:
            keep = ~pair.ignore[where]
            values, truth = values[keep], truth[keep]
        result = self.of(values.ravel(), truth.ravel().astype(np.int64))
        return Value(None, "nothing to rank or count") if np.isnan(result) else Value({"value": result})

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """The score of flat probabilities and labels {0, 1}; nan where it is undefined."""
        raise NotImplementedError


class Binned(VoxelProbability):
    """A calibration error over equal bins of probability, in [0, 1]; ``@15`` sets their number (default 10)."""

    bins: int = 10


class Ece(Binned):
    """Expected calibration error, in [0, 1]: mean gap of the bins (l, u], weighted by their counts."""

    definition = words = "binary ECE, bins (l, u]"

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """ECE."""
        return calibration.expected_calibration_error(values, labels, self.bins)


class ClasswiseEce(Binned):
    """Class-wise calibration error, in [0, 1]: mean of the ECE of foreground and background."""

    definition = words = "class-wise ECE, bins (l, u]"

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """Class-wise ECE."""
        return calibration.classwise_calibration_error(values, labels, self.bins)


class Mce(Binned):
    """Maximum calibration error, in [0, 1]: the largest gap of a bin."""

    definition = words = "largest gap of a bin (l, u]"

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """MCE."""
        return calibration.maximum_calibration_error(values, labels, self.bins)


class Brier(VoxelProbability):
    """Brier score, in [0, 2]: squared error summed over foreground and background (twice the one-class value)."""

    range = (0.0, 2.0)
    definition = words = "squared error summed over both classes"

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """Brier score."""
        return calibration.brier_score(values, labels)


class Nll(VoxelProbability):
    """Negative log-likelihood, in [0, 23.03]: mean of -log(p of the true class + 1e-10)."""

    range = (0.0, float(-np.log(1e-10)))
    definition = words = "-log(p of the true class + 1e-10)"

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """Negative log-likelihood, never below 0."""
        return max(0.0, calibration.negative_log_likelihood(values, labels))


class Auroc(VoxelProbability):
    """Area under the ROC curve over voxels, in [0, 1]; undefined where only one class is present."""

    direction: ClassVar = "higher"
    definition = words = "area under the ROC curve, ties half"
    source = "Fawcett 2006"

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """AUROC."""
        return calibration.auroc(values, labels)


class SoftDice(VoxelProbability):
    """Dice of probabilities, in [0, 1]: 2 sum(p y) / (sum p + sum y)."""

    direction: ClassVar = "higher"
    definition = words = "2 sum(p y) / (sum p + sum y)"
    source = "Drozdzal et al. 2016"

    def of(self, values: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
        """Soft Dice."""
        return calibration.soft_dice(values, labels)


def _parse(base: str, cls: type[VoxelProbability]) -> Callable[[str], VoxelProbability | None]:
    def parse(name: str) -> VoxelProbability | None:
        parts = split(name)
        if parts.base != base:
            return None
        metric = cls()
        metric.name = name
        bins = ""
        if isinstance(metric, Binned):
            if parts.argument:
                if not parts.argument.isdigit() or int(parts.argument) < 1:
                    raise MetricError(f"metric {name!r}: {parts.argument!r} is no number of bins")
                metric.bins = int(parts.argument)
            bins = f", {metric.bins} bins"
        elif parts.argument:
            return None
        metric.box = bool(options(name, parts.options, {"box": ("box", True)}))
        where = f"voxels within {MARGIN} of the masks' box" if metric.box else "all voxels"
        metric.definition = f"{metric.words}{bins}; {where}"
        return metric

    return parse


for _base, _cls in (
    ("ece", Ece), ("cwece", ClasswiseEce), ("mce", Mce), ("brier", Brier), ("nll", Nll), ("auroc", Auroc),
    ("soft_dice", SoftDice),
):  # fmt: skip
    register(f"{_base}{'[@<bins>]' if issubclass(_cls, Binned) else ''}[:box]", parse=_parse(_base, _cls))(
        _cls
    )
