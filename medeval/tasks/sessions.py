"""Scores of whole click sessions: clicks to a quality, sessions that never reach it, area under the curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.interaction import PromptSetting
from medeval.metrics.base import Metric
from medeval.metrics.clicks import ClickCurve
from medeval.metrics.registry import get_metric
from medeval.tasks.summary import CellScorer

_IDENTITY = ("seed", "case", "structure", "sample")


def session_scores(
    scorer: CellScorer, settings: Sequence[PromptSetting], names: Sequence[str], curve: str
) -> list[dict[str, Any]]:
    """One row a (setting of several clicks, session metric).

    A session that failed at some round keeps the scores that it had, and has 0 from there on: a model that breaks down
    has not reached the quality. Sessions that are missing for reasons that are not the model's are left out and counted.
    """
    if curve not in scorer.task.metrics:
        return []
    several = {setting.label: setting for setting in settings if setting.clicks > 1}
    rows = []
    for prompt, members in scorer.by_prompt(np.arange(len(scorer.column("round")))):
        if prompt in several:
            sessions = list(_sessions(scorer, members, curve, several[prompt]))
            rows += [_row(scorer, get_metric(name), prompt, curve, sessions) for name in names if sessions]
    return rows


def _sessions(
    scorer: CellScorer, members: NDArray[np.int64], curve: str, setting: PromptSetting
) -> Iterator[tuple[int, ClickCurve]]:
    """(a row number that stands for the session, its curve over clicks)."""
    groups: dict[tuple, list[int]] = {}
    identity = [scorer.cell.frame[name].to_numpy() for name in _IDENTITY]
    for member in members:
        groups.setdefault(tuple(column[member] for column in identity), []).append(int(member))
    rounds = scorer.column("round")
    for group in groups.values():
        ordered = sorted(group, key=lambda member: rounds[member])
        clicked = [member for member in ordered if setting.clicks_by(int(rounds[member])) > 0]
        scores = scorer.curve(curve, clicked)
        if scores is not None:
            yield clicked[0], ClickCurve(scores, setting.clicks)


def _row(
    scorer: CellScorer, metric: Metric, prompt: str, curve: str, sessions: Sequence[tuple[int, ClickCurve]]
) -> dict[str, Any]:
    values = [metric.observe(found) for _, found in sessions]
    kept = [position for position, value in enumerate(values) if value.statistic is not None]
    members = np.array([sessions[position][0] for position in kept], dtype=np.int64)
    statistics = {"value": np.array([values[position].statistic["value"] for position in kept], dtype=np.float64)}  # type: ignore[index]
    row = scorer.metric_row(metric, prompt, "", {}, scorer.estimate(metric, members, statistics))
    counts: dict[str, Any] = {"failed": {}, "failed_cases": 0, "undefined": {}, "missing": 0, "not_covered": 0}
    return row | counts | {"records": len(sessions), "bounds": None, "absent": 0, "curve": curve}
