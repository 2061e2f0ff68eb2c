"""The share of sessions that have reached a quality by each click, as Kaplan and Meier estimate it, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medeval.interaction import PromptSetting
from medeval.metrics.click_survival import ClicksToTarget, ReachedBy
from medeval.metrics.clicks import ClickCurve
from medeval.metrics.registry import get_metric
from medeval.tasks.prompted_segmentation.sessions import asked_sessions, observed_sessions
from medeval.tasks.summary import CellScorer
from medeval.types.views import Curve, Series

Row = Mapping[str, Any]


def survival_points(
    scorer: CellScorer, settings: Sequence[PromptSetting], names: Sequence[str], curve: str
) -> list[dict[str, Any]]:
    """One row a (setting of several clicks, quality of a ``ctt``, ``rmct`` or ``reached``, click)."""
    metrics = [get_metric(name) for name in names]
    qualities = sorted({metric.quality for metric in metrics if isinstance(metric, ClicksToTarget)})
    if not qualities:
        return []
    rows = []
    for prompt, found in asked_sessions(scorer, settings, curve):
        limit = max((session.limit for _, session in found), default=0)
        rows += [
            _point(scorer, prompt, found, quality, click)
            for quality in qualities
            for click in range(1, limit + 1)
        ]
    return rows


def _point(
    scorer: CellScorer, prompt: str, found: Sequence[tuple[int, ClickCurve]], quality: float, click: int
) -> dict[str, Any]:
    metric = ReachedBy(quality, click)
    members, statistics = observed_sessions(metric, found)
    estimated = scorer.estimate(metric, members, statistics, "records")
    return {
        **scorer.metric_row(metric, prompt, "", {}, estimated), "quality": quality, "click": click,
    }  # fmt: skip


def survival_views(task: str, rows: Sequence[Row], curve: str) -> list[Curve]:
    """One picture a dataset and quality, one line a model and setting."""
    views = []
    for dataset, quality in dict.fromkeys((row["dataset"], row["quality"]) for row in rows):
        lines: dict[tuple, list[Row]] = {}
        for row in rows:
            if (row["dataset"], row["quality"]) == (dataset, quality):
                lines.setdefault((row["model"], row["arm"], row["prompt"]), []).append(row)
        views.append(
            Curve(
                f"Sessions that reach {curve} {quality:g}: {task} on {dataset}",
                "clicks",
                "share of sessions (Kaplan-Meier)",
                [_series(key, points) for key, points in lines.items()],
                "A session that broke off for reasons that are not the model's counts as open as long as it lasted.",
            )
        )
    return views


def _series(key: tuple, points: Sequence[Row]) -> Series:
    bounded = any(row["low"] is not None for row in points)
    model, arm, prompt = key
    return Series(
        " ".join(filter(None, [model, arm, f"({prompt})"])),
        [row["click"] for row in points],
        [row["value"] for row in points],
        [row["low"] for row in points] if bounded else (),
        [row["high"] for row in points] if bounded else (),
        points[0]["baseline"],
    )
