"""From a suite to planned cells: datasets opened, models resolved, units listed, fingerprints taken, misfits told."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medeval.datasets.base import Dataset
from medeval.datasets.fingerprints import file_digest
from medeval.engine.answers import Answers, opened, tells_by_case
from medeval.engine.identities import ChatIdentities, chat_class
from medeval.plugins import build, path_options, resolve, source_identity
from medeval.runs.folder import UnitName
from medeval.suite import Cell, Suite
from medeval.tasks.base import Task, fingerprint_of
from medeval.tasks.summary import columns_of
from medeval.types import Image, RunError, SuiteError, digest, nearest

ADAPTERS = "medeval.adapters"
DATASETS = "medeval.datasets"
NOT_OPTIONS = ("adapter", "timeout", "baseline", "trained_on")
RECORD_GROUPS = ("structure", "prompt", "case", "patient", "seed", "sample", "arm")


@dataclass(frozen=True)
class Shard:
    """Every ``count``-th unit of each cell, beginning with the ``number``-th (1-based)."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"3/16"``; ``RunError`` for anything else."""
        number, _, count = text.partition("/")
        if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
            raise RunError(f"--shard {text!r}: write K/N with 1 <= K <= N, for example 3/16")
        return cls(int(number), int(count))

    def takes(self, position: int) -> bool:
        """True for the units of this shard."""
        return position % self.count == self.number - 1


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell that will be run.

    predict, score: what these stages depend on, as plain data; their hashes stand in each part. answers: hash of what an
    output source holds for all cases, where it tells that case by case (see ``medeval.engine.answers``), else None.
    """

    cell: Cell
    units: tuple[UnitName, ...]
    predict: Mapping[str, Any]
    score: Mapping[str, Any]
    baseline: bool
    answers: str | None = None

    @cached_property
    def predict_hash(self) -> str:
        """Hash of ``predict``."""
        return fingerprint_of(self.predict)

    @cached_property
    def score_hash(self) -> str:
        """Hash of ``score``."""
        return fingerprint_of(self.score)

    @property
    def identity(self) -> list[Any]:
        """[task, dataset, model, arm, seed]: which cell a part belongs to."""
        cell = self.cell
        return [cell.task.label, cell.dataset, cell.model, cell.arm, cell.seed]

    @property
    def name(self) -> str:
        """Unique in a plan: how the manifest calls the cell."""
        return f"{self.label} / seed {self.cell.seed}"

    @property
    def label(self) -> str:
        """For progress and messages."""
        cell = self.cell
        parts = [cell.task.label, cell.dataset, cell.model, *([cell.arm] if cell.arm else [])]
        return " / ".join(parts)


@dataclass(frozen=True)
class FirstCase:
    """What a dataset's first case tells of all. names: what its inputs and reference hold, None when it cannot be read.

    ndim, voxels, unit: of its image, None, 0 and mm where it has none. structures: how many its reference holds, at least 1.
    """

    names: frozenset[str] | None = None
    ndim: int | None = None
    voxels: int = 0
    unit: str = "mm"
    structures: int = 1


@dataclass(frozen=True)
class Facts:
    """What reading told, by dataset: a plan in a child process need not read it again."""

    fingerprints: Mapping[str, Mapping[str, str]]
    first: Mapping[str, FirstCase]


@dataclass(frozen=True)
class Misfit:
    """A cell that is not run, and why."""

    task: str
    dataset: str
    model: str
    reason: str


class Plan:
    """All that is to be done for a suite. Making one reads no voxel but the first case's of each dataset.

    Raises ``SuiteError`` when a task names a model that cannot do it, or a group that nothing has; ``DatasetError``.
    """

    def __init__(self, suite: Suite, shard: Shard | None = None, facts: Facts | None = None) -> None:
        self.suite = suite
        self.shard = shard or Shard()
        self._facts = facts
        self.datasets: dict[str, Dataset] = {
            name: build(resolve(DATASETS, spec.reference, suite.base), spec.options, suite.base)
            for name, spec in suite.dataset_specs.items()
        }
        self.classes = {
            name: chat_class() if spec.chat else resolve(ADAPTERS, spec.reference, suite.base)
            for name, spec in suite.model_specs.items()
        }
        self._identities = ChatIdentities(suite)
        by_case = [name for name, cls in self.classes.items() if tells_by_case(cls)]
        self.answers = Answers(opened(self.build_model, by_case), self.datasets)
        self.cells: list[PlannedCell] = []
        self.misfits: list[Misfit] = []
        self._plan()

    def _plan(self) -> None:
        complaints: list[str] = []
        for task in self.suite.tasks:
            complaints += self._unknown_groups(task)
        for cell in self.suite.cells():
            reason = self._refusal(cell)
            if reason is None:
                self.cells.append(self._planned(cell))
            elif cell.task.models is not None and cell.task.datasets is not None:
                complaints.append(
                    f"task {cell.task.label!r} names model {cell.model!r} on dataset {cell.dataset!r}, but {reason}"
                )
            else:
                self.misfits.append(Misfit(cell.task.label, cell.dataset, cell.model, reason))
        if complaints:
            raise SuiteError("\n".join(dict.fromkeys(complaints)))
        if not self.cells:
            told = "\n".join(f"  {m.task} / {m.dataset} / {m.model}: {m.reason}" for m in self.misfits)
            raise SuiteError(f"no model of this suite fits any of its tasks:\n{told}")

    def _refusal(self, cell: Cell) -> str | None:
        first = self._first[cell.dataset]
        lacking = [name for name in cell.task.needs if first.names is not None and name not in first.names]
        if lacking:
            return f"its cases hold no {' and no '.join(lacking)} (they hold {', '.join(sorted(first.names or ()))})"
        return cell.task.refusal(self.classes[cell.model], first.ndim)

    def _planned(self, cell: Cell) -> PlannedCell:
        spec = self.suite.model_specs[cell.model]
        units = [
            UnitName(cell.task.label, cell.dataset, cell.model, cell.arm, cell.seed, unit.case_ids)
            for position, unit in enumerate(cell.task.units(self.datasets[cell.dataset].index))
            if self.shard.takes(position)
        ]
        reference = cell.task.task
        predict = {
            **({"task.code": source_identity(type(cell.task))} if ":" in reference else {}),
            **{f"prepared from {name}": self.content(name) for name in cell.task.prepares_from()},
            **{
                f"task.{k}": v for k, v in self._identities.in_place(cell.task.fingerprint("predict")).items()
            },
            **{f"model.{k}": v for k, v in self._model_identity[cell.model].items()},
            **{f"arm.{k}": v for k, v in cell.task.arm_fingerprint(cell.arm).items()},
            "arm": cell.arm,
            "seed": cell.seed,
        }
        score = self._identities.in_place(cell.task.fingerprint("score"))
        answers = self.answers.content(cell.model, cell.dataset)
        return PlannedCell(cell, tuple(units), predict, score, spec.baseline, answers)

    @cached_property
    def _model_identity(self) -> dict[str, dict[str, Any]]:
        """name -> what identifies a model: its code, its options, the bytes of the files that its options name."""
        written = self.suite.resolved()["models"]  # as a manifest may hold them: secrets are variables again
        found = {}
        for name, spec in self.suite.model_specs.items():
            if spec.chat:
                found[name] = self._identities.of(spec.options)
                continue
            files = path_options(self.classes[name], spec.options, self.suite.base)
            found[name] = {
                "code": source_identity(spec.reference, group=ADAPTERS, base=self.suite.base),
                **{key: value for key, value in written[name].items() if key not in (*NOT_OPTIONS, *files)},
                **{
                    key: _path_identity(p)
                    for key, p in files.items()
                    if key not in self.answers.options(name)
                },
            }
        return found

    @cached_property
    def _first(self) -> Mapping[str, FirstCase]:
        return self._facts.first if self._facts else {n: _first_case(d) for n, d in self.datasets.items()}

    def _unknown_groups(self, task: Task) -> Iterator[str]:
        known = {*RECORD_GROUPS, *task.columns}
        for name, dataset in self.datasets.items():
            if task.datasets is None or name in task.datasets:
                for info in dataset.index:
                    known.update(info.metadata)
        for expression in task.by:
            for column in columns_of(expression):
                if column not in known:
                    yield f"task {task.label!r}, by: no case has {column!r}; {nearest(column, known)}"

    @cached_property
    def fingerprints(self) -> Mapping[str, Mapping[str, str]]:
        """dataset -> case id -> content hash. Reads every file once; later from the cache."""
        if self._facts:
            return self._facts.fingerprints
        with ThreadPoolExecutor(4) as pool:
            return {
                name: dict(zip(data.index.ids, pool.map(data.fingerprint, data.index.ids), strict=True))
                for name, data in self.datasets.items()
            }

    @property
    def facts(self) -> Facts:
        """What this plan has read."""
        return Facts(self.fingerprints, self._first)

    def content(self, dataset: str) -> str:
        """Hash of all cases of a dataset, whatever their order."""
        prints = self.fingerprints[dataset]
        return digest(*(f"{case_id}:{prints[case_id]}" for case_id in sorted(prints)))

    def case_fingerprints(self, unit: UnitName) -> dict[str, str]:
        """Content hashes of a unit's cases."""
        known = self.fingerprints[unit.dataset]
        return {case_id: known[case_id] for case_id in unit.case_ids}

    def build_model(self, name: str) -> Any:
        """The model itself; not for chat models, which the run's harness opens. Raises whatever its constructor raises."""
        return build(self.classes[name], self.suite.model_specs[name].options, self.suite.base)

    def trust(self, cells: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what kept predictions depend on from a manifest's cells: no model is asked, and its files may have gone."""
        self.answers.trust()
        self.cells = [
            replace(p, predict=cells[p.name]["predict"], answers=cells[p.name].get("answers"))
            if p.name in cells
            else p
            for p in self.cells
        ]

    def length_unit(self, dataset: str) -> str:
        """mm, or px where the images carry no spacing."""
        return self._first[dataset].unit

    def calls(self, planned: PlannedCell) -> int:
        """Model calls that the cell's units will cost (an estimate where structures are known only after reading)."""
        data = self.datasets[planned.cell.dataset]
        guess = self._first[planned.cell.dataset].structures
        ids = [case_id for unit in planned.units for case_id in unit.case_ids]
        return sum(
            planned.cell.task.calls(self.classes[planned.cell.model], data.index.info(case_id), guess)
            for case_id in ids
        )

    def prediction_bytes(self, planned: PlannedCell) -> int:
        """Rough size of the kept predictions: an output of an image packs to about a two-hundredth of a byte a voxel."""
        return int(self.calls(planned) * (2_000 + self._first[planned.cell.dataset].voxels / 200))


def _first_case(dataset: Dataset) -> FirstCase:
    try:
        case = dataset.read(dataset.index.ids[0])
    except Exception:  # one broken case is told by its own record, when it is read
        return FirstCase()
    names = frozenset({*case.inputs, *case.reference})
    image, structures = case.inputs.get("image"), case.reference.get("structures")
    known = dataset.index[0].structures
    count = len(known) or (len(structures.present()) if structures is not None else 1)
    if not isinstance(image, Image):
        return FirstCase(names, structures=max(1, count))
    return FirstCase(names, image.ndim, math.prod(image.grid.shape), image.grid.unit, max(1, count))


def _path_identity(path: Path) -> str:
    """Content of the file, or of all files below the folder, that an option names."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest(*(part for p in files for part in (p.relative_to(path).as_posix(), file_digest(p))))
    return file_digest(path) if path.is_file() else "missing"
