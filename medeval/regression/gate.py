"""The gate: a loss counts when it is larger than a margin and larger than what these cases show by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medeval.decisions.compare import Comparison, compare
from medeval.decisions.evidence import RunEvidence
from medeval.runs import Run
from medeval.types import RunError

ALPHA = 0.05


@dataclass(frozen=True)
class Gate:
    """rows: every comparison of the metric. regressions: those that fail. family: what the p values are corrected over."""

    metric: str
    margin: float
    rows: Sequence[Comparison]
    regressions: Sequence[Regression]
    family: str

    def markdown(self) -> str:
        """The comparison as a Markdown table, for a pull request's comment."""
        head = "| | model | prompt | baseline | now | difference [95%] | p | better / equal / worse |\n|---|---|---|---:|---:|---:|---:|---|"
        failed = {id(regression.row) for regression in self.regressions}
        lines = [_line(row, id(row) in failed) for row in self.rows]
        return "\n".join([f"**{self.metric}**, margin {self.margin:g}; p: {self.family}", "", head, *lines])


@dataclass(frozen=True)
class Regression:
    """One comparison that fails the gate, and why."""

    row: Comparison
    why: str


def gate(
    run: Run | Path | str, baseline: Run | Path | str, *, metric: str = "dice", margin: float = 0.0,
    alpha: float = ALPHA, strict: bool = False, models: Sequence[str] = (),
) -> Gate:  # fmt: skip
    """Compare a run with its baseline on the same cases.

    margin: the loss in ``metric`` that does not matter, >= 0. A row fails when the mean loss is larger than the margin and the
    paired permutation test by patient, Holm-corrected over the rows, has p < alpha. Where there is no test (one patient) the
    loss alone decides, and the message says so. strict: non-inferiority instead: a row fails unless the 95% interval of the
    difference lies above ``-margin`` (below ``margin`` for a metric whose lower values are better).
    models: only these; default all of the baseline but its tagged ones.
    Raises ``RunError`` for a run that did other work than the baseline or lacks one of its models, an unknown metric, and a
    negative margin.
    """
    if margin < 0 or not math.isfinite(margin):
        raise RunError(f"margin {margin}: the loss that does not matter, a number >= 0, is expected")
    old, new = _opened(baseline), _opened(run)
    found = compare([old, new], metrics=[metric], models=models)
    if lost := _lost(old, new, metric, models):
        raise RunError(
            f"the baseline {old.label} holds {', '.join(lost)}, which {new.label} lacks: what is gone cannot be told from what "
            "got worse. Store the baseline anew, or name the `models` to compare"
        )
    failing = [(row, _why(row, margin, alpha, strict)) for row in found.rows]
    return Gate(
        metric, margin, found.rows, [Regression(row, why) for row, why in failing if why], found.family
    )


def _opened(run: Run | Path | str) -> RunEvidence:
    return RunEvidence(run) if isinstance(run, Run) else RunEvidence.open(run)


def _lost(old: RunEvidence, new: RunEvidence, metric: str, models: Sequence[str]) -> list[str]:
    """What of the baseline this run has no score of; nothing where the two share no name and one model stands for the other."""
    if not {cell.model for cell in old.cells} & {cell.model for cell in new.cells}:
        return []
    held = {(cell, prompt) for cell in new.cells for prompt, _ in new.settings(cell)}
    wanted = set(models) or {cell.model for cell in old.cells} - old.baselines()
    return [
        " / ".join(part for part in (cell.task, cell.dataset, cell.contender, prompt) if part)
        for cell in old.cells
        if cell.model in wanted and metric in old.metrics(cell.task)
        for prompt, _ in old.settings(cell)
        if (cell, prompt) not in held
    ]


def _why(row: Comparison, margin: float, alpha: float, strict: bool) -> str:
    if math.isnan(row.gain):
        return f"{_who(row)}: no difference can be told ({row.difference.note or row.note or 'no value'})"
    told = f"{_who(row)}: {_value(row.old_value)} -> {_value(row.new_value)}, a difference of {row.difference.value:+.4f} {_interval(row)}"
    if strict:
        worst = row.difference.low if row.direction == "higher" else row.difference.high
        if worst is None:
            return f"{told}; no interval, so it is not shown to be within the margin of {margin:g}"
        within = worst > -margin if row.direction == "higher" else worst < margin
        return "" if within else f"{told}; not shown to be within the margin of {margin:g}"
    if not row.worse_by_more_than(margin):
        return ""
    if math.isnan(row.p_corrected):
        return f"{told}; more than the margin of {margin:g} (no test: {row.note or 'too few patients'})"
    return (
        f"{told}; more than the margin of {margin:g}, p = {row.p_corrected:.2g}"
        if row.p_corrected < alpha
        else ""
    )


def _model(row: Comparison) -> str:
    """The model's name without the run's: one of the two runs is the baseline."""
    return row.new.rpartition(" [")[0] or row.new


def _who(row: Comparison) -> str:
    return " / ".join(part for part in (row.task, row.dataset, _model(row), row.prompt, row.metric) if part)


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(row: Comparison) -> str:
    low, high = row.difference.low, row.difference.high
    return "(no interval)" if low is None or high is None else f"[{low:+.4f}, {high:+.4f}]"


def _line(row: Comparison, failed: bool) -> str:
    gap = "-" if row.difference.value is None else f"{row.difference.value:+.4f} {_interval(row)}"
    p = "-" if math.isnan(row.p_corrected) else f"{row.p_corrected:.2g}"
    name = _model(row).replace("|", r"\|")
    cells = ("❌" if failed else "✅", name, row.prompt or "-", _value(row.old_value), _value(row.new_value), gap, p,
             f"{row.wins} / {row.ties} / {row.losses}")  # fmt: skip
    return f"| {' | '.join(cells)} |"
