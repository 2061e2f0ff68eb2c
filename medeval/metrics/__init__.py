"""Metrics: pure functions on arrays and strings, registered by name."""

from medeval.metrics.base import MeanMetric, Metric, Statistic, Value
from medeval.metrics.compare import compare_label_maps, compare_masks
from medeval.metrics.label_maps import mask_pairs
from medeval.metrics.masks import Counts, MaskPair
from medeval.metrics.registry import get_metric, register, registered

__all__ = [
    "Counts", "MaskPair", "MeanMetric", "Metric", "Statistic", "Value", "compare_label_maps", "compare_masks",
    "get_metric", "mask_pairs", "register", "registered",
]  # fmt: skip
