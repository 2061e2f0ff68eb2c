"""Models compared on the same cases: differences with intervals, corrected tests, win/tie/loss, the cases that changed."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.decisions.evidence import CellName, Entered, RunEvidence
from medeval.decisions.pairs import Pair, pairs
from medeval.metrics.base import Metric
from medeval.statistics import Estimate, Resamples, paired_difference
from medeval.statistics.corrections import Correction, corrected
from medeval.statistics.paired import Tested, effect_size, exchange_test, permutation_test, wilcoxon
from medeval.statistics.scores import bind
from medeval.types import RunError, nearest

Floats = NDArray[np.float64]
CHANGED = 5
NOT_TOLD = "(none)"  # the summary's group of cases whose metadata do not say
EXCHANGES, CORPUS_EXCHANGES = 10_000, 2_000


@dataclass(frozen=True)
class Change:
    """One case's mean values and their difference, new minus old."""

    case: str
    old: float
    new: float

    @property
    def difference(self) -> float:
        """new minus old."""
        return self.new - self.old


@dataclass(frozen=True)
class Comparison:
    """One metric of one pair under one prompt setting (and group).

    difference: new minus old, with its interval. p: paired permutation test by patient; wilcoxon: signed-rank test of the
    patients' means; both NaN where there is no test. p_corrected: over the family of this comparison.
    wins, ties, losses: cases on which the new model is better, equal, worse. only_old, only_new: records that only one has.
    changed: the cases that changed most, largest first. note: what to know before believing it.
    """

    task: str
    dataset: str
    old: str
    new: str
    prompt: str
    by: str
    group: dict[str, Any]
    metric: str
    direction: str
    old_value: float | None
    new_value: float | None
    difference: Estimate
    p: float
    wilcoxon: float = math.nan
    cohen_dz: float = math.nan
    rank_biserial: float = math.nan
    wins: int = 0
    ties: int = 0
    losses: int = 0
    only_old: int = 0
    only_new: int = 0
    changed: Sequence[Change] = field(default_factory=tuple)
    note: str = ""
    p_corrected: float = math.nan

    @property
    def gain(self) -> float:
        """How much better the new model is, in the metric's own direction; NaN where there is no difference to tell."""
        value = self.difference.value
        if value is None:
            return math.nan
        return value if self.direction == "higher" else -value

    def worse_by_more_than(self, margin: float) -> bool:
        """True when the new model loses more than ``margin``."""
        return self.gain < -margin - 1e-12


@dataclass(frozen=True)
class Comparisons:
    """rows: all comparisons. family: what the correction is over, in words.

    lost: what only the old run has, so that nothing is said of it: a model that is gone can hide no loss. added: the other way.
    """

    rows: Sequence[Comparison]
    family: str
    lost: Sequence[str] = ()
    added: Sequence[str] = ()


def compare(
    runs: Sequence[RunEvidence], *, baseline: str = "", models: Sequence[str] = (), metrics: Sequence[str] = (),
    by: str = "", anyway: bool = False, correction: Correction = "holm", exchanges: int | None = None,
) -> Comparisons:  # fmt: skip
    """Compare runs, or the models inside one run; see ``pairs`` for who meets whom.

    metrics: names, of the tasks that have them; default: all that both tasks have. by: a group of the suite's ``by``. correction: over all rows.
    exchanges: drawn for each test; default: 10,000, and 2,000 for a metric that is reduced anew each time (AUROC, F1).
    Raises ``RunError`` for other work, names that do not exist, and cases that do not meet.
    """
    if exchanges is not None and exchanges < 1:
        raise RunError(f"exchanges: {exchanges}; a test needs 1 or more")
    found: list[Comparison] = []
    met = pairs(runs, baseline, models, anyway)
    _known(met, metrics)
    for pair in met:
        for metric in _metrics(pair, metrics):
            found += _settings(pair, metric, by, exchanges)
    if not found:
        raise RunError(f"nothing to compare{f' by {by!r}' if by else ''}: no score is in both")
    if not any(row.difference.n for row in found):
        raise RunError("the two have no case in common: cases are matched by id")
    adjusted = corrected([row.p for row in found], correction)
    rows = [replace(row, p_corrected=float(p)) for row, p in zip(found, adjusted, strict=True)]
    number = int(np.isfinite(adjusted).sum())
    family = f"{correction} over the {number} tests of this table"
    if len(runs) == 1 or models or baseline:
        return Comparisons(rows, family)
    lost = _alone(runs[:1], {pair.old for pair in met})
    return Comparisons(rows, family, lost, _alone(runs[1:], {pair.new for pair in met}))


def _alone(runs: Sequence[RunEvidence], met: Collection[CellName]) -> list[str]:
    """The cells of these runs, in words, that were compared with none."""
    alone = [(cell, run.label) for run in runs for cell in run.cells if cell not in met]
    return [f"{cell.contender} ({cell.task} on {cell.dataset}) is only in {label}" for cell, label in alone]


def _known(met: Sequence[Pair], wanted: Sequence[str]) -> None:
    """Raises ``RunError`` for a metric that no two tasks have."""
    both = dict.fromkeys(name for pair in met for name in _both(pair))
    for name in wanted:
        if name not in both:
            tasks = ", ".join(dict.fromkeys(repr(pair.old.task) for pair in met))
            raise RunError(f"task {tasks} has no metric {name!r} in both; {nearest(name, both)}")


def _both(pair: Pair) -> list[str]:
    """Names of the metrics that both tasks have."""
    new = pair.new_run.metrics(pair.new.task)
    return [name for name in pair.old_run.metrics(pair.old.task) if name in new]


def _metrics(pair: Pair, wanted: Sequence[str]) -> list[Metric]:
    old, new = pair.old_run.metrics(pair.old.task), pair.new_run.metrics(pair.new.task)
    both = _both(pair)
    asked = [name for name in wanted if name in both] if wanted else both
    if any(old[name].version != new[name].version for name in asked):
        raise RunError(
            f"task {pair.old.task!r}: a metric's definition differs between the runs; score them again"
        )
    return [old[name] for name in asked]


def _settings(pair: Pair, metric: Metric, by: str, exchanges: int | None) -> list[Comparison]:
    new = {repr(setting) for setting in pair.new_run.settings(pair.new, by)}
    return [
        compare_setting(pair, metric, prompt, by, group, exchanges)
        for prompt, group in pair.old_run.settings(pair.old, by)
        if repr((prompt, group)) in new
    ]


def compare_setting(
    pair: Pair,
    metric: Metric,
    prompt: str,
    by: str = "",
    group: dict[str, Any] | None = None,
    exchanges: int | None = None,
) -> Comparison:
    """One comparison, not corrected."""
    group = group or {}
    old = pair.old_run.entered(pair.old, metric, prompt, by, group)
    new = pair.new_run.entered(pair.new, metric, prompt, by, group)
    names = pair.names
    base: dict[str, Any] = {
        "task": pair.old.task, "dataset": pair.old.dataset, "old": names[0], "new": names[1], "prompt": prompt,
        "by": by, "group": group, "metric": metric.name, "direction": metric.direction,
    }  # fmt: skip
    row = compared(base, metric, old, new, pair.old_run.tasks[pair.old.task].average, pair.old_run, exchanges)
    lacking = [name for name, value in group.items() if value == NOT_TOLD]
    if not lacking:
        return row
    note = f"these cases have no {' and no '.join(lacking)}: shown, not tested"
    return replace(
        row, p=math.nan, wilcoxon=math.nan, note="; ".join(part for part in (row.note, note) if part)
    )


def tested_setting(
    pair: Pair, metric: Metric, prompt: str, by: str, group: dict[str, Any], exchanges: int = 2_000
) -> Tested:
    """The permutation test of one comparison alone, without its interval."""
    old = pair.old_run.entered(pair.old, metric, prompt, by, group)
    new = pair.new_run.entered(pair.new, metric, prompt, by, group)
    rows_old, rows_new, _, _ = matched(old.keys, new.keys)
    one, two = old.take(rows_old), new.take(rows_new)
    if not len(one.keys):
        return Tested(math.nan, 0, note="no case in common")
    if not metric.linear:
        return exchange_test(metric, two.statistics, one.statistics, one.patients, exchanges=exchanges)
    gaps = _gaps(one, two) * record_weights(one, pair.old_run.tasks[pair.old.task].average)
    return permutation_test(gaps, one.patients, exchanges=exchanges)


def _gaps(one: Entered, two: Entered) -> Floats:
    """(n,) second minus first, of a mean metric."""
    values = (np.asarray(side.statistics["value"], dtype=np.float64) for side in (one, two))
    return -np.subtract(*values)


def compared(
    base: dict[str, Any],
    metric: Metric,
    old: Entered,
    new: Entered,
    average: Any,
    run: RunEvidence,
    exchanges: int | None,
) -> Comparison:
    """The records that both have, compared."""
    rows_old, rows_new, only_old, only_new = matched(old.keys, new.keys)
    one, two = old.take(rows_old), new.take(rows_new)
    counts: dict[str, Any] = {
        "only_old": only_old,
        "only_new": only_new,
        "note": _note(only_old, only_new, old, new),
    }
    if not len(one.keys):
        empty = Estimate(None, None, None, 0, 0, "none", "difference", "no case in common")
        return Comparison(**base, old_value=None, new_value=None, difference=empty, p=math.nan, **counts)
    resamples = Resamples(base["dataset"], one.patients, seed=run.manifest["seeds"][0])
    gap = paired_difference(metric, two.sample, one.sample, resamples, average=average)
    values: dict[str, Any] = {
        "old_value": _value(metric, one, average),
        "new_value": _value(metric, two, average),
        "difference": gap,
    }
    if not metric.linear:
        test = exchange_test(
            metric, two.statistics, one.statistics, one.patients, exchanges=exchanges or CORPUS_EXCHANGES
        )
        return Comparison(**base, **values, p=test.p, **_noted(counts, test))
    first, second = (np.asarray(side.statistics["value"], dtype=np.float64) for side in (one, two))
    return Comparison(
        **base, **values, **_tests(second - first, one, metric, average, exchanges or EXCHANGES, counts),
        changed=_changed(one.cases, first, second),
    )  # fmt: skip


def _tests(
    gaps: Floats, side: Entered, metric: Metric, average: Any, exchanges: int, counts: dict[str, Any]
) -> dict[str, Any]:
    test = permutation_test(gaps * record_weights(side, average), side.patients, exchanges=exchanges)
    effect = effect_size(gaps, side.patients)
    sign = 1 if metric.direction == "higher" else -1
    by_case = sign * np.round(_by_case(side.cases, gaps)[1], 12)
    return {
        "p": test.p, "wilcoxon": wilcoxon(gaps, side.patients).p, "cohen_dz": sign * effect.cohen_dz,
        "rank_biserial": sign * effect.rank_biserial, "wins": int((by_case > 0).sum()),
        "ties": int((by_case == 0).sum()), "losses": int((by_case < 0).sum()), **_noted(counts, test),
    }  # fmt: skip


def matched(old: NDArray, new: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Rows of the keys that both have, in one order, and how many only one has."""
    at = {key: row for row, key in enumerate(new.tolist())}
    both = [(row, at[key]) for row, key in enumerate(old.tolist()) if key in at]
    rows = np.array(both, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1], len(old) - len(both), len(new) - len(both)


def _value(metric: Metric, side: Entered, average: Any) -> float | None:
    nobody = np.zeros(len(side.keys), dtype=np.int64)
    value = bind(metric, side.sample, nobody, 1, average, None).value()
    return None if math.isnan(value) else value


def record_weights(side: Entered, average: Any) -> Floats:
    """How much a record's difference counts in the mean that is compared."""
    if average == "records" or side.groups is None:
        return np.ones(len(side.keys))
    _, codes, sizes = np.unique(side.groups.astype(str), return_inverse=True, return_counts=True)
    return 1.0 / sizes[codes]


def _by_case(cases: NDArray, values: Floats) -> tuple[NDArray, Floats]:
    names, codes = np.unique(cases.astype(str), return_inverse=True)
    return names, np.bincount(codes, weights=values) / np.bincount(codes)


def _changed(cases: NDArray, old: Floats, new: Floats) -> tuple[Change, ...]:
    names, before = _by_case(cases, old)
    after = _by_case(cases, new)[1]
    order = np.argsort(-np.abs(after - before), kind="stable")[:CHANGED]
    return tuple(
        Change(str(names[i]), float(before[i]), float(after[i])) for i in order if after[i] != before[i]
    )


def _note(only_old: int, only_new: int, old: Entered, new: Entered) -> str:
    parts = [f"{only_old} records only in the old"] if only_old else []
    parts += [f"{only_new} records only in the new"] if only_new else []
    missing = old.missing + new.missing
    parts += [f"{missing} records missing for no fault of a model"] if missing else []
    return "; ".join(parts)


def _noted(counts: dict[str, Any], test: Tested) -> dict[str, Any]:
    return {**counts, "note": "; ".join(part for part in (counts["note"], test.note) if part)}
