"""The records behind every score of a run: those that enter it, with the model's failures at their worst value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.plugins import build, resolve
from medeval.runs import Run
from medeval.statistics import Resamples, Sample, clusters
from medeval.tasks.base import Task
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence
from medeval.types import RunError, nearest

if TYPE_CHECKING:
    import pandas as pd

TASKS = "medeval.tasks"
KEY = ("case", "structure", "prompt", "sample", "seed")


class CellName(NamedTuple):
    """One (task, dataset, model, arm) of a run; its seeds are repeats of it."""

    task: str
    dataset: str
    model: str
    arm: str = ""

    @property
    def contender(self) -> str:
        """The model, with its arm where it has one."""
        return f"{self.model} ({self.arm})" if self.arm else self.model


@dataclass(frozen=True, eq=False)
class Entered:
    """The records that enter one score.

    keys: (n,) identity of each record within its cell. cases, patients: (n,). statistics: field -> (n,).
    missing: records that nobody's model is to blame for, left out.
    """

    keys: NDArray
    cases: NDArray
    patients: NDArray
    statistics: Mapping[str, NDArray]
    groups: NDArray | None
    missing: int

    def take(self, rows: NDArray[np.int64]) -> Entered:
        """Some of the records, in this order."""
        groups = None if self.groups is None else self.groups[rows]
        fields = {name: field[rows] for name, field in self.statistics.items()}
        return Entered(self.keys[rows], self.cases[rows], self.patients[rows], fields, groups, self.missing)

    @property
    def sample(self) -> Sample:
        """As the statistics take it."""
        return Sample(self.statistics, self.patients, self.groups)


class _Cell(CellScorer):
    """A cell's scorer that also tells which records enter a score."""

    def entered(self, metric: Metric, prompt: str, by: str, group: Mapping[str, Any]) -> Entered:
        """The final records of one prompt setting and group that enter the metric's score."""
        key = repr((metric.name, prompt, by, sorted(group.items(), key=str)))
        if key not in self._kept:
            self._kept[key] = self._found(metric, prompt, by, group)
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[str, Entered]:
        return {}

    def _found(self, metric: Metric, prompt: str, by: str, group: Mapping[str, Any]) -> Entered:
        for found, members in self._groups(self.final, by):
            if {name: str(value) for name, value in found.items()} == {k: str(v) for k, v in group.items()}:
                for setting, rows in self.by_prompt(members):
                    if setting == prompt:
                        return self._entered(metric, rows)
        return self._entered(metric, np.empty(0, dtype=np.int64))

    def _entered(self, metric: Metric, rows: NDArray[np.int64]) -> Entered:
        used = self._used(metric, rows)
        groups = self._average_groups(used)
        frame = self.cell.frame.iloc[used]
        keys = np.array(
            ["\x1f".join(map(str, key)) for key in zip(*(frame[name] for name in KEY), strict=True)],
            dtype=object,
        )
        return Entered(
            keys, self.column("case")[used], self.patients(used), self._statistics(metric, used),
            None if groups is None else groups.array(), int(self._missing[rows].sum()),
        )  # fmt: skip


class RunEvidence:
    """A finished run, opened for decisions.

    label: how it is called in messages and tables: its folder's name.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.label = run.path.resolve().name
        self.manifest = run.manifest
        self.summary = run.summary()

    @classmethod
    def open(cls, path: Path | str) -> RunEvidence:
        """Open a run folder. Raises ``RunError`` when it is none, or has no summary yet."""
        return cls(Run.open(path))

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        """The score rows of summary.json that are of a metric over records (session measures have a ``curve``)."""
        return [row for row in self.summary["scores"] if "curve" not in row]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Task label -> task. Neither data nor models are opened."""
        base = Path(self.manifest["base"])
        entries = self.manifest["suite"]["tasks"]
        built = [build(resolve(TASKS, entry["task"], base), entry, base) for entry in entries]
        return {task.label: task for task in built}

    @cached_property
    def cells(self) -> list[CellName]:
        """The cells that the summary tells of, in its order; a row over several arms is of none of them."""
        ran = {
            CellName(e["task"], e["dataset"], e["model"], e["arm"]) for e in self.manifest["cells"].values()
        }
        told = (CellName(r["task"], r["dataset"], r["model"], r["arm"]) for r in self.scores)
        return list(dict.fromkeys(cell for cell in told if cell in ran))

    def baselines(self) -> set[str]:
        """Models that the run tags as baselines."""
        return {row["model"] for row in self.scores if row["baseline"]}

    def metrics(self, task: str) -> dict[str, Metric]:
        """The task's metrics by name."""
        return {metric.name: metric for metric in self.tasks[task].bound_metrics}

    def metric(self, task: str, name: str) -> Metric:
        """One metric of a task. Raises ``RunError`` with the nearest names."""
        known = self.metrics(task)
        if name not in known:
            raise RunError(f"{self.label}: task {task!r} has no metric {name!r}; {nearest(name, known)}")
        return known[name]

    def settings(self, cell: CellName, by: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """(prompt, group) of a cell's scores, each once."""
        seen: set[str] = set()
        for row in self.scores:
            if CellName(row["task"], row["dataset"], row["model"], row["arm"]) == cell and row["by"] == by:
                name = repr((row["prompt"], sorted(row["group"].items(), key=str)))
                if name not in seen:
                    seen.add(name)
                    yield row["prompt"], row["group"]

    def entered(
        self, cell: CellName, metric: Metric, prompt: str = "", by: str = "", group: Mapping[str, Any] | None = None
    ) -> Entered:  # fmt: skip
        """The records that enter one score of a cell."""
        return self._scorer(cell).entered(metric, prompt, by, group or {})

    def frame(self, cell: CellName) -> pd.DataFrame:
        """All records of a cell with patient and metadata."""
        return self._scorer(cell).cell.frame

    def resamples(self, dataset: str) -> Resamples:
        """The draws of a dataset's patients."""
        return self._evidence.resamples(dataset)

    def _scorer(self, cell: CellName) -> _Cell:
        if cell not in self._scorers:
            records = self._records
            rows = records[(records["task"] == cell.task) & (records["dataset"] == cell.dataset)
                           & (records["model"] == cell.model) & (records["arm"] == cell.arm)]  # fmt: skip
            evidence = CellEvidence(cell.dataset, cell.model, cell.arm, False, rows.reset_index(drop=True))
            self._scorers[cell] = _Cell(self.tasks[cell.task], evidence, self._evidence)
        return self._scorers[cell]

    @cached_property
    def _scorers(self) -> dict[CellName, _Cell]:
        return {}

    @cached_property
    def _records(self) -> pd.DataFrame:
        return self.run.records()

    @cached_property
    def _evidence(self) -> Evidence:
        kept: dict[str, Resamples] = {}

        def resamples(dataset: str) -> Resamples:
            if dataset not in kept:
                rows = self._records[self._records["dataset"] == dataset]
                names = clusters(rows["patient"].tolist(), rows["case"].tolist())
                kept[dataset] = Resamples(dataset, names, seed=self.manifest["seeds"][0])
            return kept[dataset]

        return Evidence(lambda: iter(()), resamples)
