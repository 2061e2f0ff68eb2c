"""Scores against severity: degradation, corruption errors (Hendrycks & Dietterich, arXiv 1903.12261), curves.

E(c, s) is the error of a model under corruption c at severity s: 1 - score for a metric whose best value is 1, the value
itself for a metric that is better when lower. All means and ratios of one dataset use the same resamples of patients.

degradation   mean over c and s of (clean score - score), signed so that more is worse; nobody's baseline enters
CE(c)         sum over s of E(c, s), divided by the reference model's
mCE           mean over c of CE(c); 1 is the reference model
relative mCE  the same of E(c, s) - E(clean); undefined where the reference model does not degrade
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics import Estimate, Resamples
from medeval.statistics.draws import Draws
from medeval.statistics.intervals import NO_INTERVAL, interval
from medeval.tasks.columns import statistic_column
from medeval.tasks.robustness.task import ALL, CLEAN, step_of
from medeval.tasks.summary import CellScorer, Evidence, Summary
from medeval.tasks.summary_views import build_views
from medeval.types.views import Curve, Notice, Series, View

if TYPE_CHECKING:
    from medeval.tasks.robustness.task import Robustness

Floats = NDArray[np.float64]
STEPS = "corruption x severity"


def summarize_robustness(task: Robustness, evidence: Evidence) -> Summary:
    """Rows of the clean images as any task has them, rows by corruption and severity, and what follows from them."""
    scores: list[dict[str, Any]] = []
    picks: list[dict[str, Any]] = []
    ladders: dict[tuple[str, str], _Ladder] = {}
    for cell in evidence.load():
        scorer = CellScorer(task, cell, evidence)
        picks += scorer.picks() if cell.arm == CLEAN else []
        rows = scorer.scores()
        scores += rows if cell.arm == CLEAN else [_stepped(row) for row in rows if not row["by"]]
        drawn = evidence.resamples(cell.dataset)
        ladder = ladders.setdefault((cell.dataset, cell.model), _Ladder(task, scorer, drawn))
        ladder.add(cell.arm, scorer)
    for (dataset, _), ladder in ladders.items():
        scores += ladder.rows(ladders.get((dataset, task.reference_model or "")))
    plain = [row for row in scores if row["by"] != STEPS]
    told = _without_reference(task, ladders)
    return Summary(scores, [*told, *build_views(task, plain, [], picks), *_curves(task, scores)])


def _without_reference(task: Robustness, ladders: Mapping[tuple[str, str], Any]) -> list[View]:
    """Datasets on which the reference model has no scores: they have no corruption errors."""
    name = task.reference_model
    lacking = [d for d in dict.fromkeys(d for d, _ in ladders) if name and (d, name) not in ladders]
    text = f"The reference model {name!r} was not run on {', '.join(lacking)}: no mCE there."
    return [Notice("No corruption errors", text, "warning")] if lacking else []


def _stepped(row: Mapping[str, Any]) -> dict[str, Any]:
    corruption, severity = step_of(row["arm"])
    return {**row, "by": STEPS, "group": {"corruption": corruption, "severity": severity}}


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one arm, prompt and metric: weighted sum of values and of weights by cluster."""

    sums: Floats
    counts: Floats
    records: int

    @classmethod
    def of(cls, values: Floats, codes: NDArray[np.int64], cases: NDArray | None, size: int) -> _Sums:
        """values: (n,). codes: (n,) cluster of each. cases: (n,) where a case weighs 1, whatever it holds."""
        weights = np.ones(len(values))
        if cases is not None:
            _, which, many = np.unique(cases.astype(str), return_inverse=True, return_counts=True)
            weights = 1.0 / many[which]
        sums, counts = (
            np.bincount(codes, part, minlength=size).astype(np.float64)
            for part in (weights * values, weights)
        )
        return cls(sums, counts, len(values))

    def under(self, weights: Floats) -> Floats:
        """(n,) mean under each row of (n, clusters) weights; NaN where nothing was drawn."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ self.sums) / (weights @ self.counts)


class _Ladder:
    """Everything of one (dataset, model)."""

    def __init__(self, task: Robustness, first: CellScorer, resamples: Resamples) -> None:
        self.task = task
        self.first = first
        self.resamples = resamples
        self.arms: dict[tuple[str, str], dict[str, _Sums]] = {}

    def add(self, arm: str, scorer: CellScorer) -> None:
        """One cell's sums, for the metrics that are means."""
        codes = self.resamples.codes(scorer.clusters)
        for metric in self.task.bound_metrics:
            if not metric.linear:
                continue
            values = scorer.column(statistic_column(metric.name, "value"))
            for prompt, members in scorer.used(metric):
                taken = values[members].astype(np.float64)
                cases = scorer.column("case")[members] if self.task.average == "cases" else None
                sums = _Sums.of(taken, codes[members], cases, len(self.resamples.clusters))
                self.arms.setdefault((prompt, metric.name), {})[arm] = sums

    def rows(self, reference: _Ladder | None) -> Iterator[dict[str, Any]]:
        """Degradation, and corruption errors where there is a reference model."""
        for metric in self.task.bound_metrics:
            for prompt, name in self.arms:
                if name == metric.name and CLEAN in self.arms[prompt, name]:
                    told = _Told(self, prompt, metric)
                    yield from told.degradation()
                    if reference is not None and (prompt, name) in reference.arms:
                        yield from told.corruption_errors(_Told(reference, prompt, metric))


class _Told:
    """One model's errors of one prompt and metric: arrays whose first entry is the data's and the others are resamples'."""

    def __init__(self, ladder: _Ladder, prompt: str, metric: Metric) -> None:
        self.ladder, self.prompt, self.metric = ladder, prompt, metric
        sums = ladder.arms[prompt, metric.name]
        self.records = sum(one.records for one in sums.values())
        present = np.flatnonzero(np.sum([one.counts for one in sums.values()], axis=0) > 0)
        self.clusters = len(present)
        self.patients = None if ladder.resamples.unknown(present) else self.clusters
        whole = np.ones((1, len(ladder.resamples.clusters)))
        weights = np.concatenate([whole, *(block.astype(np.float64) for block in ladder.resamples.blocks())])
        sign, offset = (-1.0, 1.0) if metric.direction == "higher" else (1.0, 0.0)
        self.error = {arm: offset + sign * one.under(weights) for arm, one in sums.items()}

    @property
    def corruptions(self) -> dict[str, list[str]]:
        """Corruption -> its arms."""
        found: dict[str, list[str]] = {}
        for arm in self.error:
            if arm != CLEAN:
                found.setdefault(step_of(arm)[0], []).append(arm)
        return found

    def degradation(self) -> Iterator[dict[str, Any]]:
        """By corruption, and the mean over corruptions."""
        each = {
            name: np.mean([self.error[arm] - self.error[CLEAN] for arm in arms], axis=0)
            for name, arms in self.corruptions.items()
        }
        text = "clean score less the score under corruption, mean over severities"
        yield from self._rows(f"degradation in {self.metric.name}", text, each)

    def corruption_errors(self, reference: _Told) -> Iterator[dict[str, Any]]:
        """CE by corruption and mCE, plain and relative to the clean error."""
        if self.metric.direction == "higher" and self.metric.range[1] != 1:
            return
        model = self.ladder.task.reference_model
        plain: dict[str, Floats] = {}
        relative: dict[str, Floats] = {}
        for name, arms in self.corruptions.items():
            if all(arm in reference.error for arm in arms):
                plain[name] = _ratio(self._sum(arms), reference._sum(arms))
                relative[name] = _ratio(self._excess(arms), reference._excess(arms))
        text = f"error summed over severities, divided by {model}'s; mean over corruptions"
        yield from self._rows(f"mCE ({self.metric.name})", text, plain)
        text = f"error beyond that of clean images, summed over severities, divided by {model}'s"
        yield from self._rows(f"relative mCE ({self.metric.name})", text, relative)

    def _sum(self, arms: Sequence[str]) -> Floats:
        return np.sum([self.error[arm] for arm in arms], axis=0)

    def _excess(self, arms: Sequence[str]) -> Floats:
        return np.sum([self.error[arm] - self.error[CLEAN] for arm in arms], axis=0)

    def _rows(self, name: str, text: str, each: Mapping[str, Floats]) -> Iterator[dict[str, Any]]:
        if not each:
            return
        yield self._row(name, text, "", {}, np.mean(list(each.values()), axis=0))
        for corruption, values in each.items():
            yield self._row(name, text, "corruption", {"corruption": corruption}, values)

    def _row(self, name: str, text: str, by: str, group: Mapping[str, Any], values: Floats) -> dict[str, Any]:
        row = self.ladder.first.metric_row(self.metric, self.prompt, by, group, self._estimate(values))
        counts = {
            "records": self.records, "failed": {}, "failed_cases": 0, "undefined": {}, "missing": 0, "not_covered": 0,
            "bounds": None, "absent": 0,
        }  # fmt: skip
        unit = row["unit"] if name.startswith("degradation") else ""
        return {
            **row,
            **counts,
            "metric": name,
            "arm": ALL,
            "unit": unit,
            "direction": "lower",
            "definition": text,
        }

    def _estimate(self, values: Floats) -> Estimate:
        found, notes = NO_INTERVAL, []
        value = float(values[0])
        if not np.isfinite(value):
            return Estimate(
                None, None, None, self.records, self.patients, "none", ALL, "the reference model's is 0"
            )
        if self.clusters > 1:
            drawn = np.where(np.isfinite(values[1:]), values[1:], np.nan)
            found = interval(Draws(value, drawn, self.clusters), "auto", 0.95, (-np.inf, np.inf))
        else:
            notes.append(f"one {'image' if self.patients is None else 'patient'}: no interval")
        note = "; ".join([*notes, *found.notes])
        return Estimate(
            value, found.low, found.high, self.records, self.patients, found.method, f"mean over {ALL}", note, found.undefined
        )  # fmt: skip


def _ratio(above: Floats, below: Floats) -> Floats:
    """NaN where the reference's sum is not positive: nothing can be relative to it."""
    return np.where(below > 1e-12, above / np.where(below > 1e-12, below, 1.0), np.nan)


def _curves(task: Robustness, scores: Sequence[Mapping[str, Any]]) -> list[View]:
    """One plot a dataset, corruption and metric: score against severity, 0 is clean."""
    views: list[View] = []
    for dataset in dict.fromkeys(row["dataset"] for row in scores):
        for metric in task.metrics:
            mine = [row for row in scores if (row["dataset"], row["metric"]) == (dataset, metric)]
            for corruption in task.corruptions:
                lines = list(_lines(mine, corruption))
                unit = next((f" [{row['unit']}]" for row in mine if row["unit"]), "")
                if lines:
                    title = f"{metric} against the severity of {corruption}: {task.label} on {dataset}"
                    views.append(Curve(title, "severity (0: clean)", f"{metric}{unit}", lines))
    return views


def _lines(rows: Sequence[Mapping[str, Any]], corruption: str) -> Iterator[Series]:
    clean = {(row["model"], row["prompt"]): row for row in rows if row["by"] == "" and row["arm"] == CLEAN}
    for (model, prompt), first in clean.items():
        steps = [
            row for row in rows
            if row["by"] == STEPS and row["group"]["corruption"] == corruption
            and (row["model"], row["prompt"]) == (model, prompt)
        ]  # fmt: skip
        points = [first, *sorted(steps, key=lambda row: row["group"]["severity"])]
        name = f"{model} ({prompt})" if prompt else model
        severities = [0, *(row["group"]["severity"] for row in points[1:])]
        yield Series(
            name, severities, [row["value"] for row in points], [row["low"] for row in points],
            [row["high"] for row in points], first["baseline"],
        )  # fmt: skip
