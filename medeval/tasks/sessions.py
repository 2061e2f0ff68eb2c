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
            found = list(_sessions(scorer, members, curve, several[prompt]))
            asked = [session for session in found if scorer.covered(session[0])]
            rows += [_row(scorer, get_metric(name), prompt, curve, asked) for name in names if asked]
    return rows


def _sessions(
    scorer: CellScorer, members: NDArray[np.int64], curve: str, setting: PromptSetting
) -> Iterator[tuple[int, ClickCurve | None]]:
    """(a row number that stands for the session, its curve over clicks or None where a round is missing)."""
    groups: dict[tuple, list[int]] = {}
    identity = [scorer.cell.frame[name].to_numpy() for name in _IDENTITY]
    for member in members:
        groups.setdefault(tuple(column[member] for column in identity), []).append(int(member))
    rounds = scorer.column("round")
    for group in groups.values():
        ordered = sorted(group, key=lambda member: rounds[member])
        clicked = [member for member in ordered if setting.clicks_by(int(rounds[member])) > 0]
        scores = scorer.curve(curve, clicked)
        yield clicked[0], None if scores is None else ClickCurve(scores, setting.clicks)


def _row(
    scorer: CellScorer,
    metric: Metric,
    prompt: str,
    curve: str,
    sessions: Sequence[tuple[int, ClickCurve | None]],
) -> dict[str, Any]:
    whole = [(member, found) for member, found in sessions if found is not None]
    observed = [(member, metric.observe(found).statistic) for member, found in whole]
    kept = [(member, statistic["value"]) for member, statistic in observed if statistic is not None]
    members = np.array([member for member, _ in kept], dtype=np.int64)
    statistics = {"value": np.array([value for _, value in kept], dtype=np.float64)}
    row = scorer.metric_row(metric, prompt, "", {}, scorer.estimate(metric, members, statistics))
    broken = [member for member, found in sessions if found is None]
    counts: dict[str, Any] = {
        "failed": {"session incomplete": len(broken)} if broken else {},
        "failed_cases": len(set(scorer.column("case")[broken])),
        "undefined": {},
        "missing": len(broken),
        "not_covered": 0,
    }
    return row | counts | {"records": len(sessions), "bounds": None, "absent": 0, "curve": curve}
