"""From records to scores: each with its interval, its n, its failures and their causes, and what could not be measured.

A score is a row of plain data in ``summary.json``; it is a function of the records (sorted by key), the suite and the
version alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics import Estimate, Resamples, bounds, clusters, estimate
from medeval.types import Status
from medeval.types.views import View

if TYPE_CHECKING:
    import pandas as pd

    from medeval.tasks.base import Task

_PRODUCT = re.compile(r"\s+x\s+")


@dataclass(frozen=True, eq=False)
class CellEvidence:
    """All records of one (dataset, model, arm), sorted by key, with the cases' patient and metadata joined.

    frame: one row a record; columns are those of ``runs.parts.record_schema`` plus ``patient`` (None where unknown) and
        the metadata (a metadata name that a record column has already is left out).
    """

    dataset: str
    model: str
    arm: str
    baseline: bool
    frame: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Evidence:
    """What ``Task.summarize`` gets: a lazy pass over the task's cells, one cell in memory at a time.

    load: yields the cells in order. resamples: dataset -> the draws that all its scores share.
    """

    load: Callable[[], Iterator[CellEvidence]]
    resamples: Callable[[str], Resamples]


@dataclass(frozen=True)
class Summary:
    """scores: plain rows for summary.json. views: what the report draws."""

    scores: Sequence[Mapping[str, Any]]
    views: Sequence[View] = field(default_factory=list)


def columns_of(expression: str) -> tuple[str, ...]:
    """``"structure x modality"`` -> ``("structure", "modality")``."""
    return tuple(_PRODUCT.split(expression.strip()))


def summarize(task: Task, evidence: Evidence) -> Summary:
    """The summary every task gets unless it writes its own: scores by prompt and by each ``by``, curves over rounds."""
    from medeval.tasks.summary_views import build_views

    scores: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    picks: list[dict[str, Any]] = []
    for cell in evidence.load():
        scorer = CellScorer(task, cell, evidence)
        scores += scorer.scores()
        curves += scorer.curves()
        picks += scorer.picks()
    return Summary(scores, build_views(task, scores, curves, picks))


class CellScorer:
    """Scores of one cell's records."""

    def __init__(self, task: Task, cell: CellEvidence, evidence: Evidence) -> None:
        self.task = task
        self.cell = cell
        frame = cell.frame
        self._frame = frame.assign(structure=frame["structure"].str.partition("#")[0])
        self._final = _final_rounds(self._frame)
        self._resamples = evidence.resamples(cell.dataset)

    def scores(self) -> list[dict[str, Any]]:
        """One row a (prompt, group, metric), final rounds only."""
        rows = []
        for by in ("", *self.task.by):
            for group, frame in _groups(self._final, by):
                absent = int((frame["status"] == Status.UNDEFINED).sum())
                rows += [
                    {**self._row(metric, prompt, by, group, part), "absent": absent}
                    for prompt, part in _by_prompt(frame)
                    for metric in self.task.bound_metrics
                ]
        return rows

    def curves(self) -> list[dict[str, Any]]:
        """One row a (prompt, round, metric) for the prompts that have more than one round."""
        rows = []
        for prompt, frame in _by_prompt(self._frame):
            if frame["round"].max() > 1:
                for number, part in frame.groupby("round", sort=True):
                    rows += [
                        {**self._row(metric, prompt, "", {}, part), "round": int(number)}
                        for metric in self.task.bound_metrics
                    ]
        return rows

    def picks(self) -> list[dict[str, Any]]:
        """The best, median, worst and a failed record of the first metric: what the gallery shows."""
        metric = next((m for m in self.task.bound_metrics if m.linear), None)
        if metric is None:
            return []
        frame = self._final
        failed = frame[frame["status"].isin(_values(s for s in Status if s.failed))]
        answered = frame[_answered(frame) & frame[metric.name].notna()]
        ordered = answered.sort_values(metric.name, kind="stable", ascending=metric.direction == "lower")
        picked = [] if ordered.empty else [("best", 0), ("median", len(ordered) // 2), ("worst", len(ordered) - 1)]
        rows = [(rank, ordered.iloc[at]) for rank, at in dict((at, (rank, at)) for rank, at in picked).values()]
        rows += [("failed", failed.iloc[0])] if len(failed) else []
        return [self._pick(rank, record, metric) for rank, record in rows]

    def estimate_values(self, metric: Metric, frame: pd.DataFrame, statistics: Mapping[str, Any]) -> Estimate:
        """Interval of any statistics that stand row by row beside ``frame``."""
        return estimate(
            metric,
            statistics,
            clusters(frame["patient"].tolist(), frame["case"].tolist()),
            self._resamples,
            average=self.task.average,
            groups=_average_groups(self.task.average, frame),
        )

    def base(self, prompt: str, by: str, group: Mapping[str, Any]) -> dict[str, Any]:
        """What every score row of this cell says of itself."""
        cell = self.cell
        return {
            "task": self.task.label,
            "dataset": cell.dataset,
            "model": cell.model,
            "arm": cell.arm,
            "baseline": cell.baseline,
            "prompt": prompt,
            "by": by,
            "group": dict(group),
        }

    def _row(
        self, metric: Metric, prompt: str, by: str, group: Mapping[str, Any], frame: pd.DataFrame
    ) -> dict[str, Any]:
        counts = _counts(metric, frame)
        used = frame[_used(metric, frame, self.task.on_failure)]
        found = self.estimate_values(metric, used, _statistics(metric, used))
        return {
            **self.base(prompt, by, group),
            "metric": metric.name,
            "direction": metric.direction,
            "unit": metric.unit,
            "definition": metric.definition or metric.source,
            **found.as_dict(),
            **counts,
            "bounds": self._bounds(metric, frame, used),
        }

    def _bounds(self, metric: Metric, frame: pd.DataFrame, used: pd.DataFrame) -> list[float | None] | None:
        """The score if all that is missing were worst, and if it were best; None when nothing is missing."""
        missing = frame[frame["status"].isin(_MISSING + (_MODEL if self.task.on_failure == "bounds" else []))]
        if missing.empty or not metric.linear:
            return None
        average = self.task.average
        ends = bounds(
            metric,
            _statistics(metric, used),
            len(missing),
            *(end if np.isfinite(end) else 0.0 for end in metric.range),
            average=average,
            groups=_average_groups(average, used),
            missing_groups=_average_groups(average, missing),
        )
        return [end if np.isfinite(limit) else None for end, limit in zip(ends, metric.range, strict=True)]

    def _pick(self, rank: str, record: Any, metric: Metric) -> dict[str, Any]:
        value = record[metric.name]
        shown = record["error"] if rank == "failed" else f"{metric.name} {value:.3f}{' ' + metric.unit if metric.unit else ''}"
        key = {name: record[name] for name in ("prompt", "round", "sample")}
        return {
            **self.base(str(record["prompt"]), "", {}),
            **{k: v if isinstance(v, str) else int(v) for k, v in key.items()},
            "seed": int(record["seed"]),
            "case": record["case"],
            "structure": self.cell.frame.loc[record.name, "structure"],
            "rank": rank,
            "shown": shown,
        }


def _values(statuses: Iterable[Status]) -> list[str]:
    return [str(status) for status in statuses]


_ANSWERED = _values(s for s in Status if s.answered)
_MODEL = _values(s for s in Status if s.models_fault)
_MISSING = _values(s for s in Status if s.missing)


def _answered(frame: pd.DataFrame) -> pd.Series:
    return frame["status"].isin(_ANSWERED)


def _first_field(metric: Metric) -> str:
    field_name = next(iter(metric.statistic))
    return metric.name if field_name == "value" else f"{metric.name}.{field_name}"


def _used(metric: Metric, frame: pd.DataFrame, on_failure: str) -> pd.Series:
    """Rows that enter the mean: the model's own answers and, unless excluded, its failures at their worst value."""
    taken = _answered(frame) if on_failure != "worst" else _answered(frame) | frame["status"].isin(_MODEL)
    return taken & frame[_first_field(metric)].notna()


def _statistics(metric: Metric, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {f: frame[metric.name if f == "value" else f"{metric.name}.{f}"].to_numpy() for f in metric.statistic}


def _counts(metric: Metric, frame: pd.DataFrame) -> dict[str, Any]:
    """What stands beside a score: failures by cause, values undefined by rule, records missing or absent."""
    status = frame["status"]
    failed = status[status.isin(_MODEL) | status.isin(_MISSING)]
    unmeasured = frame[_answered(frame) & frame[_first_field(metric)].isna()]
    rules = unmeasured[f"{metric.name}.rule"].fillna("undefined")
    return {
        "records": len(frame),
        "failed": {str(k): int(v) for k, v in failed.value_counts().sort_index().items()},
        "failed_cases": int(frame.loc[failed.index, "case"].nunique()),
        "undefined": {str(k): int(v) for k, v in rules.value_counts().sort_index().items()},
        "missing": int(status.isin(_MISSING).sum()),
        "not_covered": int((status == Status.NOT_COVERED).sum()),
    }


def _final_rounds(frame: pd.DataFrame) -> pd.DataFrame:
    """The last round of every prompt setting."""
    last = frame.groupby("prompt")["round"].transform("max")
    return frame[frame["round"] == last]


def _by_prompt(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    owed = frame[frame["status"] != Status.UNDEFINED]  # structures absent in the reference were never asked for
    for prompt, part in owed.groupby("prompt", sort=False):
        yield str(prompt), part


def _groups(frame: pd.DataFrame, by: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    if not by:
        yield {}, frame
        return
    names = list(columns_of(by))
    for values, part in frame.groupby(names, sort=True, dropna=False):
        yield {name: _label(value) for name, value in zip(names, values, strict=True)}, part


def _label(value: Any) -> Any:
    if value is None or value != value:
        return "(none)"
    return value.item() if isinstance(value, np.generic) else value


def _average_groups(average: str, frame: pd.DataFrame) -> NDArray | None:
    column = {"cases": "case", "structures": "structure"}.get(average)
    return None if column is None else frame[column].to_numpy(dtype=object)
