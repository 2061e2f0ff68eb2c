"""Score rows of a run as they may be told outside: allowed fields, no cell of few people, none that follows from the rest.

What stands behind a score is counted from the records, not taken from the row: people (patients, or cases where patients
are not known) whose records enter it. Rows that a task makes beside its metrics are judged by their own n, from below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from medeval.decisions.evidence import CellName, RunEvidence
from medeval.engine.sharing.backing import Behind, Label, Row, label_of, people_at_least, text_of
from medeval.engine.sharing.names import Names
from medeval.report.share import banded, shared_row
from medeval.statistics.scores import ESTIMANDS
from medeval.tasks.base import Task
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence

# Not told of a row whose people are known from below alone.
_WITHOUT_COUNTS: Mapping[str, Any] = {"failed": {}, "failed_cases": "", "undefined": {}}
_PERSONAL = "scores of groups by what differs from person to person"
_NAMED = "scores with a name that could identify"
_PIXELS = ("px", "1000 px")
_UNITS = frozenset({"", "mm", "px", "ml", "1000 px", "voxels", "s", "%", "points", "clicks"})


@dataclass
class Shared:
    """rows: score rows, curves: rows of scores by round, both fit to be told. withheld: rule -> how often it was applied.

    hidden: the figures that are withheld, for the same figure may stand in a run under two names.
    """

    least: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    withheld: Counter[str] = field(default_factory=Counter)
    hidden: set[tuple[Any, ...]] = field(default_factory=set)

    def add(self, row: Row, told: dict[str, Any] | None, few: bool) -> None:
        """A row as it is told, or why it is withheld where it is not. few: people; else its names."""
        if told is not None:
            self.rows.append(told)
            return
        self.hidden.add(_figure(row))
        self.withheld[
            f"scores of fewer than {self.least}, or from which one would follow" if few else _NAMED
        ] += 1


class SharedCell:
    """The rows of one (task, dataset, model, arm)."""

    def __init__(self, evidence: RunEvidence, name: CellName, names: Names, least: int) -> None:
        self.task: Task = evidence.tasks[name.task]
        self._names, self._least = names, least
        rows: list[Row] = [row for row in evidence.scores if _cell_of(row) == name]
        metrics = {metric.name for metric in self.task.bound_metrics}
        self.standard = [row for row in rows if row["metric"] in metrics and row["by"] in ("", *self.task.by)]
        baseline = any(row["baseline"] for row in rows)
        unit = "px" if any(row["unit"] in _PIXELS for row in rows) else "mm"
        cell = CellEvidence(name.dataset, name.model, name.arm, baseline, evidence.frame(name), unit)
        self.scorer = CellScorer(self.task, cell, Evidence(lambda: iter(()), evidence.resamples))
        self.behind = Behind(self.scorer)

    def shared(self, into: Shared) -> None:
        """Adds this cell's rows and curves to ``into``; rows that are no score of the task's metrics are not of it."""
        by_score: dict[tuple[str, str], list[Row]] = {}
        for row in self.standard:
            if row["by"] in self.behind.personal:
                into.withheld[_PERSONAL] += 1
            else:
                by_score.setdefault((row["prompt"], row["metric"]), []).append(row)
        hidden = {key: self.behind.hidden(rows, self._least) for key, rows in by_score.items()}
        for key, rows in by_score.items():
            closed = hidden[key] | self._linked(key, hidden)
            for row in rows:
                few = label_of(row) in closed
                into.add(row, None if few else self._told(row), few)
        self._add_curves(into, hidden)

    def _linked(self, key: tuple[str, str], hidden: Mapping[tuple[str, str], set[Label]]) -> set[Label]:
        """What is hidden of metrics that count the same things: specificity follows from accuracy and sensitivity."""
        kinds = {m.name: (type(m).__module__, frozenset(m.statistic)) for m in self.task.bound_metrics}
        return {
            label
            for (prompt, metric), labels in hidden.items()
            for label in labels
            if prompt == key[0] and kinds[metric] == kinds[key[1]]
        }

    def _told(self, row: Row) -> dict[str, Any] | None:
        backing, least = self.behind.of(row), self._least
        whole = backing.asked - backing.used < least  # a small difference of two n would tell of a few
        metric = next(m for m in self.task.bound_metrics if m.name == row["metric"])
        unmeasured = {"without a value": banded(backing.unmeasured, least)} if backing.unmeasured else {}
        patients = None if row["patients"] is None else backing.asked if whole else row["patients"]
        return told(
            row, self._names, least,
            definition=metric.definition or metric.source,
            n=backing.records if whole else row["n"],
            patients=patients,
            failed={cause: banded(count, least) for cause, count in backing.failed.items()},
            failed_cases=banded(sum(backing.failed.values()), least),
            undefined=unmeasured,
        )  # fmt: skip

    def _add_curves(self, into: Shared, hidden: Mapping[tuple[str, str], set[Label]]) -> None:
        """Scores by round, where the total may be told, and few did not stop before: total less round would tell of them."""
        totals = {(row["prompt"], row["metric"]): row for row in self.standard if not row["by"]}
        for row in self.scorer.curves():
            key = (row["prompt"], row["metric"])
            few = key not in totals or ("", ()) in hidden[key] | self._linked(key, hidden)
            few = few or self.behind.at_least(row) < self._least
            if few or self.behind.few_beside(self.behind.of(totals[key]).rows, row["n"], self._least):
                into.withheld[
                    f"points of curves of fewer than {self._least}, or from which one would follow"
                ] += 1
            elif (shown := told(row, self._names, self._least, definition="", **_WITHOUT_COUNTS)) is not None:
                into.curves.append(shown | {"round": int(row["round"])})


def uneven(cells: Sequence[SharedCell], least: int) -> set[tuple[str, str, str, bool]]:
    """(task, dataset, metric, grouped) that a few people of one model have a value of and not of another.

    The mean of paired differences is over the people that both have: with the two models' own means it would tell the few.
    grouped: False for the scores of all records, True for those of groups.
    """
    sets: dict[tuple[Any, ...], dict[int, tuple[Behind, int]]] = {}
    for cell in cells:
        for row in cell.standard:
            if row["by"] not in cell.behind.personal:
                key = (row["task"], row["dataset"], row["metric"], row["prompt"], label_of(row))
                backing = cell.behind.of(row)
                sets.setdefault(key, {})[backing.which] = cell.behind, backing.rows
    return {
        (*key[:3], bool(key[4][0]))
        for key, found in sets.items()
        for (behind, ours), (_, theirs) in combinations(found.values(), 2)
        if ours == theirs or behind.few_beside(max(ours, theirs), min(ours, theirs), least)
    }


def other_rows(
    evidence: RunEvidence, rows: Sequence[Row], names: Names, into: Shared, apart: Set[tuple[str, str, str, bool]]
) -> None:  # fmt: skip
    """Rows that are no task's metric over a known group: a family of them is told when none of it is small.

    A figure that is withheld under another name is withheld here too.

    apart: what ``uneven`` found; figures that are named after such a metric may be differences, and are withheld.
    """
    families: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (row["task"], row["dataset"], row["model"], row["arm"], row["prompt"], row["metric"], row["by"])
        families.setdefault(key, []).append(row)
    for family in families.values():
        most, first = _most_records(evidence, family[0]), family[0]
        named = [name for name in evidence.metrics(first["task"]) if name in first["metric"]]  # gain in dice
        paired = any((first["task"], first["dataset"], name, bool(first["by"])) in apart for name in named)
        few = paired or min(people_at_least(row, most) for row in family) < into.least
        for row in family:
            gone = few or _figure(row) in into.hidden
            shown = None if gone else told(row, names, into.least, definition="", **_WITHOUT_COUNTS)
            into.add(
                row, shown if shown is None or "curve" not in row else shown | {"curve": "further"}, gone
            )


def _figure(row: Row) -> tuple[Any, ...]:
    """What a figure is known by, whatever it is called."""
    return tuple(row[name] for name in ("task", "dataset", "model", "arm", "value", "low", "high", "n"))


def _most_records(evidence: RunEvidence, row: Row) -> int:
    """Records of one case under one model, at most, over all arms."""
    cells = [
        c
        for c in evidence.cells
        if (c.task, c.dataset, c.model) == (row["task"], row["dataset"], row["model"])
    ]
    return max(1, sum(int(evidence.frame(cell)["case"].astype(str).value_counts().max()) for cell in cells))


def told(row: Row, names: Names, least: int, **changes: Any) -> dict[str, Any] | None:
    """A row with allowed fields and names, or None where one of them could identify."""
    group = {str(name): text_of(value) for name, value in row["group"].items()}
    words = (row["metric"], row["arm"], row["prompt"], row["by"], *group)
    if not all(names.safe(str(text)) and not names.hides(str(text)) for text in words):
        return None
    if not all(
        (name == "structure" and names.safe(value)) or names.safe_label(value)
        for name, value in group.items()
    ):
        return None
    patients = changes.get("patients", row["patients"])
    notes = ["patients unknown, images treated as independent"] if patients is None else []
    notes += ["fewer than 50 patients"] if patients is not None and patients < 50 else []
    estimand = row["estimand"] if row["estimand"] in ESTIMANDS.values() else ""
    absent = {
        name: banded(row.get(name) or 0, least) if row.get(name) else 0 for name in ("absent", "not_covered")
    }
    named = {kind: names.told(kind, row[kind]) for kind in ("task", "dataset", "model")}
    return shared_row(row, **{"group": group, "note": "; ".join(notes), "estimand": estimand, **absent, **named,
                              **_numbers(row), **changes})  # fmt: skip


def _numbers(row: Row) -> dict[str, Any]:
    """What is a number or one of few words in every row, whoever made it."""
    ends = {name: None if row[name] is None else float(row[name]) for name in ("value", "low", "high")}
    return {**ends, "baseline": bool(row["baseline"]), "unit": row["unit"] if row["unit"] in _UNITS else "",
            "direction": row["direction"] if row["direction"] in ("higher", "lower") else ""}  # fmt: skip


def standard_cells(evidence: RunEvidence, names: Names, least: int) -> Iterator[SharedCell]:
    """All cells of a run."""
    return (SharedCell(evidence, cell, names, least) for cell in evidence.cells)


def _cell_of(row: Row) -> CellName:
    return CellName(row["task"], row["dataset"], row["model"], row["arm"])
