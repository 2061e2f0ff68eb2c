"""From records to scores: each with its interval, its n, its failures and their causes, and what could not be measured.

A score is a row of plain data in ``summary.json``; it is a function of the records (sorted by key), the suite and the
version alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics import Average, Estimate, Resamples, bounds, clusters, estimate
from medeval.tasks.columns import rule_column, statistic_column
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
    length_unit: "mm", or "px" where the images carry no spacing.
    artifacts: seed -> folder that the task's ``prepare`` left; what it holds of a clock belongs into views, never into scores.
    """

    dataset: str
    model: str
    arm: str
    baseline: bool
    frame: pd.DataFrame
    length_unit: str = "mm"
    artifacts: Mapping[int, Path] = field(default_factory=dict)


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
    from medeval.tasks.case_views import CellGroups, case_views, cell_groups
    from medeval.tasks.summary_views import build_views

    scores: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    picks: list[dict[str, Any]] = []
    observed: list[Any] = []
    groups: list[CellGroups] = []
    for cell in evidence.load():
        scorer = CellScorer(task, cell, evidence)
        scores += scorer.scores()
        scores += [dict(row) for row in task.more_scores(scorer)]
        curves += scorer.curves()
        picks += scorer.picks()
        groups.append(cell_groups(scorer))
        observed.append(task.observations(scorer))
    views = [
        *build_views(task, scores, curves, picks),
        *case_views(task, groups),
        *task.more_views(observed, scores),
    ]
    return Summary(scores, views)


class CellScorer:
    """Scores of one cell's records. Groups are arrays of row numbers; columns are numpy arrays, taken out once."""

    def __init__(self, task: Task, cell: CellEvidence, evidence: Evidence) -> None:
        self.task = task
        self.cell = cell
        frame = cell.frame
        self._columns: dict[str, NDArray] = {}
        status = frame["status"].to_numpy(dtype=object)
        self._status = np.array([_STATUSES.index(value) for value in status], dtype=np.int64)
        self.answered = _is(self._status, lambda s: s.answered)
        self._model_fault = _is(self._status, lambda s: s.models_fault)
        self._missing = _is(self._status, lambda s: s.missing)
        self._owed = self._status != _STATUSES.index(
            Status.UNDEFINED
        )  # absent structures were never asked for
        self._clusters = clusters(frame["patient"].tolist(), frame["case"].tolist())
        self._resamples = evidence.resamples(cell.dataset)
        self.final = _final_rounds(frame)
        self._plain: list[dict[str, Any]] | None = None  # made once: several views ask for them
        self._curves: list[dict[str, Any]] | None = None

    def column(self, name: str) -> NDArray:
        """One column of the records; a structure's instances (``rib#2``) go by the structure's name."""
        if name not in self._columns:
            frame = self.cell.frame  # a metadata name that only other datasets have is none here
            values: NDArray = (
                frame[name].to_numpy() if name in frame else np.full(len(frame), None, dtype=object)
            )
            derived = self.task.derived.get(name)
            if derived is not None:
                structures = frame["structure"]
                values = np.array([derived(str(value)) for value in structures], dtype=object)
            if name == "structure":
                values = np.array([str(value).partition("#")[0] for value in values], dtype=object)
            self._columns[name] = values
        return self._columns[name]

    def scores(self) -> list[dict[str, Any]]:
        """One row a (prompt, group, metric), final rounds only."""
        return [*self.plain_scores(), *(row for by in self.task.by for row in self._score_rows(by))]

    def plain_scores(self) -> list[dict[str, Any]]:
        """The rows of ``scores`` that are of no group."""
        if self._plain is None:
            self._plain = list(self._score_rows(""))
        return self._plain

    def _score_rows(self, by: str) -> Iterator[dict[str, Any]]:
        for group, members in self._groups(self.final, by):
            absent = int((~self._owed[members]).sum())
            for prompt, part in self.by_prompt(members):
                for metric in self.task.bound_metrics:
                    yield {**self._row(metric, prompt, by, group, part), "absent": absent}

    def curves(self) -> list[dict[str, Any]]:
        """One row a (prompt, round, metric) for the prompts that have more than one round."""
        if self._curves is None:
            self._curves = list(self._curve_rows())
        return self._curves

    def _curve_rows(self) -> Iterator[dict[str, Any]]:
        rounds = self.column("round")
        for prompt, members in self.by_prompt(np.arange(len(rounds))):
            if rounds[members].max() > 1:
                for number in np.unique(rounds[members]):
                    part = members[rounds[members] == number]
                    for metric in self.task.bound_metrics:
                        yield {**self._row(metric, prompt, "", {}, part), "round": int(number)}

    def picks(self) -> list[dict[str, Any]]:
        """The best, median, worst and a failed record of the first metric: what the gallery shows."""
        metric = next((m for m in self.task.bound_metrics if m.linear), None)
        if metric is None:
            return []
        failed = self.final[(self._model_fault | self._missing)[self.final]]
        scored = self.final[self.answered[self.final] & self._there(metric, self.final)]
        values = self._values(metric)[scored].astype(np.float64)
        ordered = scored[np.argsort(values * (-1 if metric.direction == "higher" else 1), kind="stable")]
        at = {} if not len(ordered) else {0: "best", len(ordered) // 2: "median", len(ordered) - 1: "worst"}
        rows = [self._pick(rank, int(ordered[position]), metric) for position, rank in at.items()]
        return rows + [self._pick("failed", int(record), metric) for record in failed[:1]]

    def by_prompt(self, members: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """(prompt, its rows) in the task's own order of prompts; absent structures left out."""
        members = members[self._owed[members]]
        prompts = self.column("prompt")[members]
        there = dict.fromkeys(prompts)
        for prompt in dict.fromkeys([*(p for p in self.task.prompt_order if p in there), *there]):
            yield str(prompt), members[prompts == prompt]

    def used(self, metric: Metric) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """(prompt, rows of its final round that enter the mean of ``metric``)."""
        for prompt, members in self.by_prompt(self.final):
            yield prompt, self._used(metric, members)

    def estimate(
        self,
        metric: Metric,
        members: NDArray[np.int64],
        statistics: Mapping[str, NDArray],
        average: Average | None = None,
    ) -> Estimate:
        """Interval of statistics that stand row by row beside ``members``; average: default the task's."""
        return estimate(
            metric,
            statistics,
            self._clusters[members],
            self._resamples,
            average=self.task.average if average is None else average,
            groups=self._average_groups(members),
        )

    def curve(self, metric: str, members: Sequence[int]) -> tuple[float, ...] | None:
        """A metric's values over these rows, 0 where the model failed; None when one is missing or was not asked for."""
        status = self._status[members]
        if not len(members) or not (self.answered | self._model_fault)[members].all():
            return None
        values = self.column(metric)[members]
        fault = np.array([_STATUSES[code].models_fault for code in status])
        return tuple(
            0.0 if bad or value != value else float(value) for bad, value in zip(fault, values, strict=True)
        )

    def numbers(self, metric: str, members: Sequence[int]) -> list[float]:
        """A metric's values over these rows, a failure's worst value included; NaN where there is none."""
        values = self.column(metric)[list(members)]
        return [float("nan") if value is None else float(value) for value in values]

    def values_of(self, metric: Metric, members: Sequence[int]) -> list[float]:
        """The values of those rows that enter the mean of a metric."""
        used = self._used(metric, np.asarray(members, dtype=np.int64))
        return [float(value) for value in self._values(metric)[used]]

    def covered(self, member: int) -> bool:
        """False when the model was not asked for this row."""
        return bool(self._status[member] != _STATUSES.index(Status.NOT_COVERED))

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

    def metric_row(
        self, metric: Metric, prompt: str, by: str, group: Mapping[str, Any], found: Estimate
    ) -> dict[str, Any]:
        """A score row without its counts."""
        return {
            **self.base(prompt, by, group),
            "metric": metric.name,
            "direction": metric.direction,
            "unit": self.unit(metric),
            "definition": metric.definition or metric.source,
            **found.as_dict(),
        }

    def unit(self, metric: Metric) -> str:
        """The metric's unit on these images: pictures without spacing are measured in pixels."""
        in_pixels = {"mm": "px", "ml": "1000 px"} if self.cell.length_unit == "px" else {}
        return in_pixels.get(metric.unit, metric.unit)

    def _row(
        self, metric: Metric, prompt: str, by: str, group: Mapping[str, Any], members: NDArray[np.int64]
    ) -> dict[str, Any]:
        used = self._used(metric, members)
        found = self.estimate(metric, used, self._statistics(metric, used))
        row = self.metric_row(metric, prompt, by, group, found)
        return row | self._counts(metric, members) | {"bounds": self._bounds(metric, members, used)}

    def _pick(self, rank: str, record: int, metric: Metric) -> dict[str, Any]:
        row = self.cell.frame.iloc[record]
        unit = f" {self.unit(metric)}" if metric.unit else ""
        return {
            **self.base(str(row["prompt"]), "", {}),
            "round": int(row["round"]),
            "sample": int(row["sample"]),
            "seed": int(row["seed"]),
            "case": row["case"],
            "structure": row["structure"],
            "rank": rank,
            "shown": row["error"] if rank == "failed" else f"{metric.name} {row[metric.name]:.3f}{unit}",
        }

    def _groups(
        self, members: NDArray[np.int64], by: str
    ) -> Iterator[tuple[dict[str, Any], NDArray[np.int64]]]:
        if not by:
            yield {}, members
            return
        names = columns_of(by)
        labels = list(zip(*([_label(v) for v in self.column(name)[members]] for name in names), strict=True))
        positions: dict[tuple, list[int]] = {}
        for position, label in enumerate(labels):
            positions.setdefault(label, []).append(position)
        for label in sorted(positions, key=lambda values: [str(value) for value in values]):
            yield dict(zip(names, label, strict=True)), members[positions[label]]

    def _values(self, metric: Metric) -> NDArray:
        """The first field of a metric's statistic: missing (NaN or None) where there is none."""
        return self.column(statistic_column(metric.name, next(iter(metric.statistic))))

    def _there(self, metric: Metric, members: NDArray[np.int64]) -> NDArray[np.bool_]:
        values = self._values(metric)[members]
        return np.array([value is not None and value == value for value in values], dtype=bool)

    def _used(self, metric: Metric, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that enter the mean: the model's own answers and, unless excluded, its failures at their worst value."""
        taken = self.answered if self.task.on_failure != "worst" else self.answered | self._model_fault
        return members[taken[members] & self._there(metric, members)]

    def _statistics(self, metric: Metric, members: NDArray[np.int64]) -> dict[str, NDArray]:
        return {name: self.column(statistic_column(metric.name, name))[members] for name in metric.statistic}

    def _counts(self, metric: Metric, members: NDArray[np.int64]) -> dict[str, Any]:
        """What stands beside a score: failures by cause, values undefined by rule, records missing."""
        status = self._status[members]
        failed = (self._model_fault | self._missing)[members]
        unmeasured = members[self.answered[members] & ~self._there(metric, members)]
        rules = list(self.column(rule_column(metric.name))[unmeasured])
        return {
            "records": len(members),
            "failed": _counted(str(_STATUSES[code]) for code in status[failed]),
            "failed_cases": len(set(self.column("case")[members[failed]])),
            "undefined": _counted(str(rule or "undefined") for rule in rules),
            "missing": int(self._missing[members].sum()),
            "not_covered": int((status == _STATUSES.index(Status.NOT_COVERED)).sum()),
        }

    def _bounds(
        self, metric: Metric, members: NDArray[np.int64], used: NDArray[np.int64]
    ) -> list[float | None] | None:
        """The score if all that is missing were worst, and if it were best; None when nothing is missing."""
        open_ = self._missing | self._model_fault if self.task.on_failure == "bounds" else self._missing
        missing = members[open_[members]]
        if not len(missing) or not metric.linear:
            return None
        ends = bounds(
            metric,
            self._statistics(metric, used),
            len(missing),
            *(end if np.isfinite(end) else 0.0 for end in metric.range),
            average=self.task.average,
            groups=self._average_groups(used),
            missing_groups=self._average_groups(missing),
        )
        return [end if np.isfinite(limit) else None for end, limit in zip(ends, metric.range, strict=True)]

    def _average_groups(self, members: NDArray[np.int64]) -> NDArray | None:
        column = {"cases": "case", "structures": "structure"}.get(self.task.average)
        return None if column is None else self.column(column)[members]


_STATUSES = list(Status)


def _is(codes: NDArray[np.int64], rule: Callable[[Status], bool]) -> NDArray[np.bool_]:
    return np.array([rule(status) for status in _STATUSES], dtype=bool)[codes]


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _final_rounds(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Row numbers of the last round of every session: recorded people stop after different numbers of rounds."""
    session = ["seed", "case", "structure", "sample", "prompt"]
    last = frame.groupby(session, sort=False, dropna=False)["round"].transform("max")
    return np.flatnonzero((frame["round"] == last).to_numpy())


def _label(value: Any) -> Any:
    if value is None or value != value:
        return "(none)"
    return value.item() if isinstance(value, np.generic) else value
