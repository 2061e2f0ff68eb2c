"""Scores of whole click sessions: clicks to a quality, areas, what a budget buys; whole curves are resampled by patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.interaction import PromptSetting
from medeval.interaction.effort import EFFORT_COLUMNS, cost_of
from medeval.metrics.base import MeanMetric, Metric, Statistic, Value
from medeval.metrics.click_survival import ClicksToTarget
from medeval.metrics.clicks import ClickCurve, CostMetric
from medeval.metrics.registry import get_metric
from medeval.tasks.summary import CellScorer

_IDENTITY = ("seed", "case", "structure", "sample")


class Figure(MeanMetric):
    """A value a case or session that is no registered metric: it is only ever made here, and has no worst."""

    def __init__(
        self, name: str, definition: str, direction: str = "higher", unit: str = "", source: str = ""
    ) -> None:
        self.name, self.definition = name, definition
        self.direction = direction  # type: ignore[assignment, misc]  # of the instance
        self.unit, self.source = unit, source  # type: ignore[misc]
        self.range = (-np.inf, np.inf)  # type: ignore[misc]

    def observe(self, pair: Any) -> Value:
        """The value itself."""
        return Value({"value": float(pair)})

    def failed(self, reference: Any) -> Statistic:
        """Nothing: failures are in the values that it is made of."""
        raise NotImplementedError(f"{self.name} is made of values in which failures count already")


@dataclass(frozen=True, eq=False)
class Sessions:
    """One cell's records as sessions. weights: the cost of one click, box, line, slice, mm."""

    scorer: CellScorer
    weights: Mapping[str, float]

    def groups(self, members: NDArray[np.int64]) -> list[list[int]]:
        """Row numbers of each session (one structure of one case, one sample, one seed), by round."""
        found: dict[tuple, list[int]] = {}
        identity = [self.scorer.cell.columns.array(name) for name in _IDENTITY]
        for member in members:
            found.setdefault(tuple(column[member] for column in identity), []).append(int(member))
        rounds = self.scorer.column("round")
        return [sorted(group, key=lambda member: rounds[member]) for group in found.values()]

    @cached_property
    def _is_absent(self) -> NDArray[np.bool_]:
        return _floats(self.scorer.column("voxels_reference")) == 0

    def absent(self, group: Sequence[int]) -> bool:
        """True for a structure that was not there: its sessions are no segmentation of anything."""
        return any(self._is_absent[member] for member in group)

    @cached_property
    def _cost(self) -> NDArray[np.float64]:
        columns = {name: _floats(self.scorer.column(name)) for name in EFFORT_COLUMNS}
        columns["drawn_mm"] = np.nan_to_num(columns["drawn_mm"])  # pictures have no millimetres
        return np.asarray(cost_of(columns, self.weights) + np.zeros(len(columns["n_clicks"])))

    def costs(self, group: Sequence[int]) -> list[float]:
        """Interaction cost so far of each row; a round that failed cost one click more than the last."""
        costs, last = [], 0.0
        for member in group:
            cost = float(self._cost[member])
            last = last + self.weights.get("click", 0.0) if cost != cost else cost
            costs.append(last)
        return costs

    def curve(
        self, metric: str, group: Sequence[int], setting: PromptSetting, *, costed: bool = True
    ) -> ClickCurve:
        """The session's scores after each click and, if ``costed``, against cost; censored where a round is missing.

        A session that failed at some round keeps the scores that it had, and has 0 from there on: a model that breaks down
        has not reached the quality.
        """
        rounds = self.scorer.column("round")
        whole = list(group)
        while self.scorer.curve(metric, whole) is None and whole:
            whole.pop()
        clicked = [member for member in whole if setting.clicks_by(int(rounds[member])) > 0]
        scores = self.scorer.curve(metric, clicked) or ()
        censored = len(whole) < len(group)
        if not costed:
            return ClickCurve(scores, setting.corrections, censored=censored)
        every = self.scorer.curve(metric, whole) or ()
        path = tuple(zip(self.costs(whole), every, strict=True))
        return ClickCurve(scores, setting.corrections, path, censored)


def session_scores(
    scorer: CellScorer,
    settings: Sequence[PromptSetting],
    names: Sequence[str],
    curve: str,
    weights: Mapping[str, float],
) -> list[dict[str, Any]]:
    """One row a (setting of several clicks, session metric).

    Sessions that are missing for reasons that are not the model's are censored in clicks to a target, and left out and
    counted in all else. Absent structures have no session.
    """
    if curve not in scorer.task.metrics:
        return []
    sessions = Sessions(scorer, weights)
    several = {setting.label: setting for setting in settings if setting.corrections > 1}
    metrics = [get_metric(name) for name in names]
    costed = any(isinstance(metric, CostMetric) for metric in metrics)
    rows = []
    for prompt, members in scorer.by_prompt(np.arange(len(scorer.column("round")))):
        if prompt in several:
            found = list(_found(sessions, members, curve, several[prompt], costed))
            rows += [_row(scorer, metric, prompt, curve, found) for metric in metrics if found]
    return rows


def asked_sessions(
    scorer: CellScorer, settings: Sequence[PromptSetting], curve: str
) -> Iterator[tuple[str, list[tuple[int, ClickCurve]]]]:
    """(setting of several clicks, its sessions: a row number that stands for each, and its curve without costs)."""
    sessions = Sessions(scorer, {})
    several = {setting.label: setting for setting in settings if setting.corrections > 1}
    for prompt, members in scorer.by_prompt(np.arange(len(scorer.column("round")))):
        if prompt in several and curve in scorer.task.metrics:
            yield prompt, list(_found(sessions, members, curve, several[prompt], False))


def _found(
    sessions: Sessions, members: NDArray[np.int64], curve: str, setting: PromptSetting, costed: bool
) -> Iterator[tuple[int, ClickCurve]]:
    """(a row number that stands for the session, its curve), of all sessions that were asked."""
    for group in sessions.groups(members):
        if sessions.scorer.covered(group[0]) and not sessions.absent(group):
            yield group[-1], sessions.curve(curve, group, setting, costed=costed)


def observed_sessions(
    metric: Metric, found: Sequence[tuple[int, ClickCurve]]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """(n,) row numbers of the sessions of which the metric is defined, and field -> (n,) statistics."""
    observed = [(member, metric.observe(curve).statistic) for member, curve in found]
    known = [(member, statistic) for member, statistic in observed if statistic is not None]
    members = np.array([member for member, _ in known], dtype=np.int64)
    fields = {name: [statistic[name] for _, statistic in known] for name in metric.statistic}
    return members, {name: np.array(values, dtype=np.float64) for name, values in fields.items()}


def _row(
    scorer: CellScorer, metric: Metric, prompt: str, curve: str, found: Sequence[tuple[int, ClickCurve]]
) -> dict[str, Any]:
    survives = isinstance(metric, ClicksToTarget)
    kept = [(member, c) for member, c in found if survives or not c.censored]
    members, statistics = observed_sessions(metric, kept)
    # A case has too few sessions for a survival curve of its own.
    estimated = scorer.estimate(metric, members, statistics, "records" if survives else None)
    row = scorer.metric_row(metric, prompt, "", {}, estimated)
    if survives and row["value"] is None and len(members):
        row["note"] = "; ".join(filter(None, [row["note"], "fewer than half of the sessions get there"]))
    broken = [member for member, c in found if c.censored]
    counts: dict[str, Any] = {
        "failed": {"session incomplete": len(broken)} if broken else {},
        "failed_cases": len(set(scorer.column("case")[broken])),
        "undefined": {},
        "missing": 0 if survives else len(broken),
        "not_covered": 0,
    }
    return row | counts | {"records": len(found), "bounds": None, "absent": 0, "curve": curve}


def figure_row(
    scorer: CellScorer,
    figure: Figure,
    prompt: str,
    about: str,
    values: Sequence[tuple[int, float]],
    counts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A score row of values that each stand for a record; about: the kind of table that it belongs to."""
    members = np.array([member for member, _ in values], dtype=np.int64)
    statistics = {"value": np.array([value for _, value in values], dtype=np.float64)}
    row = scorer.metric_row(figure, prompt, "", {}, scorer.estimate(figure, members, statistics, "records"))
    told: dict[str, Any] = {"failed": {}, "failed_cases": 0, "undefined": {}, "missing": 0, "not_covered": 0}
    return (
        row
        | told
        | {"records": len(values), "bounds": None, "absent": 0, "curve": about, "about": about}
        | dict(counts or {})
    )


def _floats(column: NDArray) -> NDArray[np.float64]:
    """A column as numbers, NaN where there is none."""
    return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
