"""Scores of one cell: which records enter which mean, what stands beside it, and its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics import Average, Estimate, Labels, Sample, bounds, cluster_labels, estimates
from medeval.statistics.labels import combined, partition
from medeval.tasks.columns import columns_of, rule_column, statistic_column
from medeval.tasks.evidence import CellEvidence, Columns, Evidence
from medeval.types import Status

if TYPE_CHECKING:
    from medeval.tasks.base import Task
    from medeval.types.views import CaseGroup


class CellScorer:
    """Scores of one cell's records. Groups are arrays of row numbers; columns are read when they are asked for."""

    def __init__(self, task: Task, cell: CellEvidence, evidence: Evidence) -> None:
        self.task = task
        self.cell = cell
        status = cell.columns.labels("status")
        codes = [_STATUSES.index(value) for value in status.values]
        self._status = np.array([*codes, -1], dtype=np.int8)[status.codes]
        self.answered = _is(self._status, lambda s: s.answered)
        self._model_fault = _is(self._status, lambda s: s.models_fault)
        self._missing = _is(self._status, lambda s: s.missing)
        self._owed = self._status != _STATUSES.index(
            Status.UNDEFINED
        )  # absent structures were never asked for
        self.clusters = cluster_labels(cell.columns.labels("patient"), cell.columns.labels("case"))
        self._resamples = evidence.resamples(cell.dataset)
        self.final = final_rounds(cell.columns)
        self._named: dict[str, Labels] = {}
        self._plain: list[dict[str, Any]] | None = None  # made once: several views ask for them
        self._curves: list[dict[str, Any]] | None = None

    def column(self, name: str) -> NDArray:
        """One column of the records; a structure's instances (``rib#2``) go by the structure's name."""
        if name == "structure" or name in self.task.derived:
            return self.labels(name).array()
        if name not in self.cell:  # a metadata name that only other datasets have is none here
            return np.full(len(self.cell.columns), None, dtype=object)
        return self.cell.columns.array(name)

    def labels(self, name: str) -> Labels:
        """The same column with its values numbered: what to group and to average by."""
        derived = self.task.derived.get(name)
        if name != "structure" and derived is None:
            if name not in self.cell:
                return Labels(np.full(len(self.cell.columns), -1, dtype=np.int32), ())
            return self.cell.columns.labels(name)
        if name not in self._named:
            plain = self.cell.columns.labels("structure")
            names = [str(value) if derived is None else derived(str(value)) for value in plain.values]
            if name == "structure":
                names = [str(value).partition("#")[0] for value in names]
            found = plain.mapped(names)
            self._named[name] = found.sorted() if all(isinstance(v, str) for v in found.values) else found
        return self._named[name]

    def scores(self) -> list[dict[str, Any]]:
        """One row a (prompt, group, metric), final rounds only."""
        return [*self.plain_scores(), *(row for by in self.task.by for row in self._score_rows(by))]

    def plain_scores(self) -> list[dict[str, Any]]:
        """The rows of ``scores`` that are of no group."""
        if self._plain is None:
            self._plain = self._score_rows("")
        return self._plain

    def _score_rows(self, by: str) -> list[dict[str, Any]]:
        parts, absent = [], []
        for group, members in self._groups(self.final, by):
            for prompt, rows in self.by_prompt(members):
                parts.append(Part(prompt, rows, by, group))
                absent.append(int((~self._owed[members]).sum()))
        return [
            {**row, "absent": count}
            for rows, count in zip(self._rows(parts), absent, strict=True)
            for row in rows
        ]

    def curves(self) -> list[dict[str, Any]]:
        """One row a (prompt, round, metric) for the prompts that have more than one round.

        ``records_shown`` holds some of the records behind the row's mean, for a view to open.
        """
        if self._curves is None:
            self._curves = list(self._curve_rows())
        return self._curves

    def _curve_rows(self) -> Iterator[dict[str, Any]]:
        rounds = self.column("round")
        parts, numbers = [], []
        for prompt, members in self.by_prompt(np.arange(len(rounds))):
            if rounds[members].max() > 1:
                for number in np.unique(rounds[members]):
                    parts.append(Part(prompt, members[rounds[members] == number]))
                    numbers.append(int(number))
        for rows, part, number in zip(self._rows(parts), parts, numbers, strict=True):
            for row, metric in zip(rows, self.task.bound_metrics, strict=True):
                yield {**row, "round": number, "records_shown": self._shown(metric, part)}

    def _shown(self, metric: Metric, part: Part) -> CaseGroup | None:
        """Some of the records behind a mean; None for what is no mean over records, and where they are too many to read."""
        from medeval.tasks.case_views import MOST_SHOWN, round_group

        if not metric.linear or len(self.cell.columns) > MOST_SHOWN:
            return None
        used = self._used(metric, part.rows)
        return round_group(self, part.prompt, used, self._values(metric)[used].astype(np.float64))

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
        prompts = self.labels("prompt")[members]
        rows = {prompts[int(part[0])]: part for part in partition(prompts.codes + 1)}
        for prompt in dict.fromkeys([*(p for p in self.task.prompt_order if p in rows), *rows]):
            yield str(prompt), members[rows[prompt]]

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
        return self.estimates([(metric, members, statistics)], average)[0]

    def estimates(
        self,
        scores: Iterable[tuple[Metric, NDArray[np.int64], Mapping[str, NDArray]]],
        average: Average | None = None,
    ) -> list[Estimate]:
        """``estimate`` of many (metric, members, statistics), the resamples passed through once for all of them."""
        found: list[Estimate | None] = []

        def shared() -> Iterator[tuple[Metric, Sample]]:
            for metric, members, statistics in scores:
                own = self.own_estimate(metric, members, statistics)
                found.append(own)
                if own is None:
                    yield metric, Sample(statistics, self.clusters[members], self._average_groups(members))

        how = self.task.average if average is None else average
        drawn = list(estimates(shared(), self._resamples, average=how))
        rest = iter(drawn)
        return [next(rest) if own is None else own for own in found]

    def own_estimate(
        self, metric: Metric, members: NDArray[np.int64], statistics: Mapping[str, NDArray]
    ) -> Estimate | None:
        """An interval that a task makes in its own way; None where the bootstrap makes it."""
        return None

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

    def patients(self, members: NDArray[np.int64]) -> NDArray[np.str_]:
        """(n,) cluster of each row, as the statistics take it."""
        return np.asarray(self.clusters[members], dtype=str)

    def numbers(self, metric: str, members: Sequence[int] | NDArray[np.int64]) -> list[float]:
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

    def _rows(self, parts: Sequence[Part]) -> Iterator[list[dict[str, Any]]]:
        """Of each part its rows, one a metric. Metric after metric is measured, so that one column at a time is in memory."""
        metrics = self.task.bound_metrics
        beside: list[dict[str, Any]] = []

        def asked() -> Iterator[tuple[Metric, NDArray[np.int64], Mapping[str, NDArray]]]:
            for metric in metrics:
                for part in parts:
                    used = self._used(metric, part.rows)
                    counts = self._counts(metric, part.rows)
                    beside.append(counts | {"bounds": self._bounds(metric, part.rows, used)})
                    yield metric, used, self._statistics(metric, used)

        found = self.estimates(asked())
        for number, part in enumerate(parts):
            places = range(number, len(found), len(parts))
            yield [
                self.metric_row(metric, part.prompt, part.by, part.group, found[place]) | beside[place]
                for metric, place in zip(metrics, places, strict=True)
            ]

    def _pick(self, rank: str, record: int, metric: Metric) -> dict[str, Any]:
        row = self.cell.record(record, ("prompt", "round", "sample", "seed", "case", "structure", "error"))
        unit = f" {self.unit(metric)}" if metric.unit else ""
        failed = rank == "failed"
        shown = row["error"] if failed else f"{metric.name} {self._values(metric)[record]:.3f}{unit}"
        return {
            **self.base(str(row["prompt"]), "", {}),
            "round": int(row["round"]),
            "sample": int(row["sample"]),
            "seed": int(row["seed"]),
            "case": row["case"],
            "structure": row["structure"],
            "rank": rank,
            "shown": shown,
        }

    def _groups(
        self, members: NDArray[np.int64], by: str
    ) -> Iterator[tuple[dict[str, Any], NDArray[np.int64]]]:
        if not by:
            yield {}, members
            return
        names = columns_of(by)
        columns = [self.labels(name)[members] for name in names]
        groups = [
            (tuple(_label(column[int(rows[0])]) for column in columns), rows)
            for rows in partition(combined([column.codes for column in columns]))
        ]
        for label, rows in sorted(groups, key=lambda group: [str(value) for value in group[0]]):
            yield dict(zip(names, label, strict=True)), members[rows]

    def _values(self, metric: Metric) -> NDArray:
        """The first field of a metric's statistic: missing (NaN or None) where there is none."""
        return self.column(statistic_column(metric.name, next(iter(metric.statistic))))

    def _there(self, metric: Metric, members: NDArray[np.int64]) -> NDArray[np.bool_]:
        values = self._values(metric)[members]
        if values.dtype.kind != "O":
            return ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), dtype=bool)
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
        causes = np.bincount(status[failed], minlength=len(_STATUSES))
        rules = self.labels(rule_column(metric.name))[unmeasured] if len(unmeasured) else Labels.of(())
        return {
            "records": len(members),
            "failed": dict(
                sorted((str(_STATUSES[code]), int(causes[code])) for code in np.flatnonzero(causes))
            ),
            "failed_cases": len(np.unique(self.labels("case").codes[members[failed]])),
            "undefined": _counted(str(rules.value(code) or "undefined") for code in rules.codes.tolist()),
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

    def _average_groups(self, members: NDArray[np.int64]) -> Labels | None:
        column = {"cases": "case", "structures": "structure"}.get(self.task.average)
        return None if column is None else self.labels(column)[members]


_STATUSES = list(Status)


@dataclass(frozen=True, eq=False)
class Part:
    """The records of one prompt within a group."""

    prompt: str
    rows: NDArray[np.int64]
    by: str = ""
    group: Mapping[str, Any] = field(default_factory=dict)


def _is(codes: NDArray[np.int8], rule: Callable[[Status], bool]) -> NDArray[np.bool_]:
    return np.array([rule(status) for status in _STATUSES], dtype=bool)[codes]


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def final_rounds(columns: Columns) -> NDArray[np.int64]:
    """Row numbers of the last round of every session: recorded people stop after different numbers of rounds."""
    rounds = columns.array("round")
    if not len(rounds) or rounds.min() == rounds.max():
        return np.arange(len(rounds))
    session = combined(
        [columns.labels(name).codes for name in ("seed", "case", "structure", "sample", "prompt")]
    )
    order = np.argsort(session, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(session[order]) != 0])
    sizes = np.diff(np.r_[starts, len(order)])
    last = np.repeat(np.maximum.reduceat(rounds[order], starts), sizes)
    return np.sort(order[rounds[order] == last])


def _label(value: Any) -> Any:
    if value is None or value != value:
        return "(none)"
    return value.item() if isinstance(value, np.generic) else value
