"""How many people stand behind the scores of a cell, counted from its records, and which of the scores must be hidden.

People are patients, or cases where patients are not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.statistics.disclosure import hidden_cells
from medeval.tasks.summary import CellScorer, columns_of
from medeval.types import Status

Row = Mapping[str, Any]
Rows = NDArray[np.int64]
Label = tuple[str, tuple[str, ...]]  # a group: the expression that it is of, and its values
NOBODY = ("case", "patient")  # groups by these are single people
_KEY = ("case", "structure", "prompt", "round", "sample", "seed")
_OF_RECORDS = ("structure", "prompt", "arm", "seed", "sample")  # no metadata of cases
_NONE: Rows = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Backing:
    """What a score rests on. used, asked: people. records: asked. failed: status -> people. unmeasured: without a value.

    rows, which: how many records enter it, and a number that tells sets of records apart. partial: the metric counts only
    some of the records that it is given, such as those of the sick.
    """

    used: int
    asked: int
    records: int
    rows: int
    which: int
    failed: Mapping[str, int]
    unmeasured: int
    partial: bool


class Behind:
    """What stands behind the scores of one (task, dataset, model, arm)."""

    def __init__(self, scorer: CellScorer) -> None:
        self.scorer = scorer
        everything = np.arange(len(scorer.column("case")))
        self.people: Rows = np.unique(scorer.patients(everything), return_inverse=True)[1].astype(np.int64)
        self.status = scorer.column("status").astype(str)
        self._asked = dict(scorer.by_prompt(scorer.final))
        self._used = {
            (prompt, metric.name): rows
            for metric in scorer.task.bound_metrics
            for prompt, rows in scorer.used(metric)
        }
        self._codes: dict[str, tuple[Rows, dict[tuple[str, ...], int]]] = {}
        self._known: dict[tuple[str, str, Label], Backing] = {}

    def count(self, rows: Rows) -> int:
        """Different people of some records."""
        return len(np.unique(self.people[rows]))

    @cached_property
    def most_records(self) -> int:
        """Records of one case, at most."""
        return int(np.unique(self.scorer.column("case").astype(str), return_counts=True)[1].max(initial=1))

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        """(n,) a number of each record that is the same under every model."""
        columns = [self.scorer.column(name).tolist() for name in _KEY]
        return np.array([hash(key) for key in zip(*columns, strict=True)], dtype=np.int64)

    def at_least(self, row: Row) -> int:
        """People behind any row of the cell, from below where its patients are not known."""
        return people_at_least(row, self.most_records)

    def few_beside(self, larger: int, smaller: int, least: int) -> bool:
        """True where one of two means is over some more records than the other, and those may be of few people."""
        return 0 < larger - smaller <= (least - 1) * self.most_records

    def of(self, row: Row) -> Backing:
        """Counts of people behind a row of one of the task's metrics over a group of its ``by``."""
        key = (row["prompt"], row["metric"], label_of(row))
        if key not in self._known:
            self._known[key] = self._found(row)
        return self._known[key]

    def _found(self, row: Row) -> Backing:
        asked = self._members(label_of(row), self._asked.get(row["prompt"], _NONE))
        used = self._members(label_of(row), self._used.get((row["prompt"], row["metric"]), _NONE))
        status = self.status[asked]
        failed = {str(one): self.count(asked[status == str(one)]) for one in Status if one.failed}
        answered = asked[np.isin(status, [str(one) for one in Status if one.answered])]
        partial = row["n"] < len(used)
        people = min(self.count(used), self.at_least(row)) if partial else self.count(used)
        failed = {cause: number for cause, number in failed.items() if number}
        which = int(self._keys[used].sum())  # wraps around
        unmeasured = self.count(np.setdiff1d(answered, used))
        return Backing(people, self.count(asked), len(asked), len(used), which, failed, unmeasured, partial)

    def _members(self, label: Label, rows: Rows) -> Rows:
        by, values = label
        if not by:
            return rows
        codes, known = self._coded(by)
        return rows[codes[rows] == known.get(values, -1)]

    def _coded(self, by: str) -> tuple[Rows, dict[tuple[str, ...], int]]:
        """(n,) the group of every record, and what each group is called."""
        if by not in self._codes:
            columns = [self.scorer.labels(name) for name in columns_of(by)]
            kinds, codes = np.unique(
                np.array([column.codes for column in columns]), axis=1, return_inverse=True
            )
            names = [
                tuple(text_of(c.value(int(k))) for c, k in zip(columns, kind, strict=True))
                for kind in kinds.T
            ]
            self._codes[by] = np.ravel(codes), {name: number for number, name in enumerate(names)}
        return self._codes[by]

    @cached_property
    def personal(self) -> set[str]:
        """Groups by single people, and by metadata with so many values that most groups are of one: none of them is told."""
        task, everybody = self.scorer.task, max(1, self.count(self.scorer.final))
        own = {*_OF_RECORDS, *task.columns, *task.derived}
        return {
            by
            for by in task.by
            for name in columns_of(by)
            if name in NOBODY or (name not in own and 2 * self._different(name) > everybody)
        }

    def _different(self, column: str) -> int:
        return len(np.unique(self.scorer.labels(column).codes[self.scorer.final]))

    def hidden(self, rows: Sequence[Row], least: int) -> set[Label]:
        """Groups that must not be told, of all rows of one prompt and metric."""
        labels = [label_of(row) for row in rows]
        backings = [self.of(row) for row in rows]
        counts = np.array([backing.used for backing in backings])
        if any(
            backing.partial for backing in backings
        ):  # whose people overlap is not known: all of a family or nothing
            families = np.array([by for by, _ in labels], dtype=object)
            for by in {by for by, _ in labels if by}:
                counts[families == by] *= (counts[families == by] >= least).all()
        members, people = self._atoms(labels, self._used.get((rows[0]["prompt"], rows[0]["metric"]), _NONE))
        hidden = hidden_cells(members, people, counts, [by for by, _ in labels], least)
        return {label for label, gone in zip(labels, hidden, strict=True) if gone}

    def _atoms(self, labels: Sequence[Label], used: Rows) -> tuple[NDArray[np.bool_], list[Rows]]:
        """(cells, atoms) and the people of each atom: records that are in the same groups of all tables are one atom."""
        families = list(dict.fromkeys(by for by, _ in labels if by))
        codes = np.array([self._coded(by)[0][used] for by in families]).reshape(len(families), len(used))
        kinds, where = np.unique(codes, axis=1, return_inverse=True) if families else (codes[:, :1], np.zeros(len(used), int))  # fmt: skip
        where = np.ravel(where)
        people = [self.people[used[where == atom]] for atom in range(kinds.shape[1])]
        members = np.ones((len(labels), kinds.shape[1]), dtype=bool)
        for cell, (by, values) in enumerate(labels):
            if by:
                members[cell] = kinds[families.index(by)] == self._coded(by)[1].get(values, -1)
        return members, people


def people_at_least(row: Row, most_records: int) -> int:
    """People behind a score row: its patients, or its records divided by the most that one case has."""
    return int(row["patients"]) if row["patients"] is not None else -(-int(row["n"]) // max(1, most_records))


def label_of(row: Row) -> Label:
    """The group that a score row is of, its values in the order of the expression (a file has them in another)."""
    group, names = row["group"], columns_of(row["by"])
    ordered = names if set(names) == set(group) else tuple(group)
    return row["by"], tuple(text_of(group[name]) for name in ordered)


def text_of(value: Any) -> str:
    """A group's value as it is told."""
    return "(none)" if value is None or value != value else str(value)
