"""Two masks, or two label maps, in one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from medeval.metrics.base import Metric
from medeval.metrics.inputs import Label
from medeval.metrics.label_maps import Labels, mask_pairs
from medeval.metrics.masks import MaskPair, Surface
from medeval.metrics.registry import get_metric
from medeval.metrics.surface import SurfaceMetric
from medeval.types.errors import MetricError

WORTH_THREADS = 2_000_000  # voxels of all crops: with less, handing work to threads costs more than it gains
DEFAULT_METRICS = ("dice", "hd95", "nsd@2mm")


def compare_masks(
    prediction: Any,
    reference: Any,
    spacing: Sequence[float],
    metrics: Iterable[str] = DEFAULT_METRICS,
    surface: Surface | None = None,
    *,
    probabilities: Any = None,
    ignore: Any = None,
) -> dict[str, float]:
    """Metrics of one mask against its reference.

    prediction, reference: 2D or 3D masks {0, 1} of one shape (numpy or torch; bool, integer or float).
    spacing: voxel edge lengths (mm) in array order.
    metrics: names as ``medeval list metrics`` shows them.
    surface: "surfel" or "voxel" for all surface metrics; None leaves each its own.
    probabilities: of the masks' shape, for calibration metrics. ignore: mask of voxels to leave out.

    Returns name -> value, nan where the metric is undefined (both masks empty, for most). A distance of which one side
    is empty is the image's diagonal. Raises ``MetricError`` naming the argument that is wrong.
    """
    measures = _resolve(_names(metrics), surface)
    pair = MaskPair(prediction, reference, spacing, probabilities=probabilities, ignore=ignore)
    return _values(pair, measures)


def compare_label_maps(
    prediction: Any,
    reference: Any,
    spacing: Sequence[float],
    labels: Labels = None,
    metrics: Iterable[str] = DEFAULT_METRICS,
    threads: int | None = None,
    surface: Surface | None = None,
    *,
    ignore: Any = None,
) -> dict[Label, dict[str, float]]:
    """Metrics of every structure of two label maps.

    prediction, reference: 2D or 3D integer label maps of one shape, values >= 0.
    spacing: voxel edge lengths (mm) in array order.
    labels: values, or name -> value or values (a region). Default: every value above 0 that occurs in either map.
    metrics, surface, ignore: as in ``compare_masks``.
    threads: structures are scored in parallel; default: as many threads as the process has cores.

    Returns structure -> {name: value} in the order of ``labels``; values as in ``compare_masks``.
    """
    measures = _resolve(_names(metrics), surface)
    workers = _workers(threads)
    pairs = mask_pairs(prediction, reference, spacing, labels, ignore=ignore, threads=workers)
    if workers == 1 or sum(pair.crop_voxels for pair in pairs.values()) < WORTH_THREADS:
        return {key: _values(pair, measures) for key, pair in pairs.items()}
    # The largest structures first: the last one to start should be a short one.
    order = sorted(pairs, key=lambda key: -pairs[key].crop_voxels)
    with ThreadPoolExecutor(min(workers, len(pairs))) as pool:
        done = dict(zip(order, pool.map(lambda key: _values(pairs[key], measures), order), strict=True))
    return {key: done[key] for key in pairs}


def _values(pair: MaskPair, measures: tuple[tuple[str, Metric], ...]) -> dict[str, float]:
    result = {}
    for name, metric in measures:
        statistic = metric.observe(pair).statistic
        result[name] = float("nan") if statistic is None else float(statistic["value"])
    return result


def _names(metrics: Iterable[str]) -> tuple[str, ...]:
    if isinstance(metrics, str):
        raise MetricError(f"metrics must be a list of names, not the text {metrics!r}")
    return tuple(metrics)


@lru_cache(maxsize=256)
def _resolve(names: tuple[str, ...], surface: Surface | None) -> tuple[tuple[str, Metric], ...]:
    """Names with their metrics, bound once for each list of names."""
    metrics = [(name, get_metric(name)) for name in names]
    for name, metric in metrics:
        if not issubclass(metric.pair, MaskPair):
            raise MetricError(f"metrics: {name!r} takes a {metric.pair.__name__}, not masks")
    if surface is None:
        return tuple(metrics)
    return tuple((n, m.with_surface(surface) if isinstance(m, SurfaceMetric) else m) for n, m in metrics)


def _workers(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise MetricError(f"threads must be at least 1, not {threads}")
    return int(threads)
