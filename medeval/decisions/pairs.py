"""Which models of which runs are compared with which, and whether that is the same work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from medeval.decisions.evidence import CellName, RunEvidence
from medeval.types import RunError, nearest


@dataclass(frozen=True, eq=False)
class Pair:
    """``new`` is compared with ``old``; both do the same task on the same dataset."""

    old_run: RunEvidence
    old: CellName
    new_run: RunEvidence
    new: CellName

    @property
    def names(self) -> tuple[str, str]:
        """How (old, new) are called; with their runs where only these tell them apart."""
        old, new = self.old.contender, self.new.contender
        if old == new and self.old_run is not self.new_run:
            return f"{old} [{self.old_run.label}]", f"{new} [{self.new_run.label}]"
        return old, new


def pairs(
    runs: Sequence[RunEvidence], baseline: str = "", models: Sequence[str] = (), anyway: bool = False
) -> list[Pair]:
    """All comparisons.

    One run: every model against ``baseline``, or every two models. Several: each model of the later runs against the
    model of the same name in the first (or against the first's ``baseline``); where no name is shared and each run has one
    model beside its tagged baselines, these two. models: only these. anyway: also compare what is not the same work.
    Raises ``RunError`` for a baseline or model that does not exist, for other work, and when nothing is left to compare.
    """
    first = runs[0]
    known = {cell.model for run in runs for cell in run.cells}
    for name in (*([baseline] if baseline else []), *models):
        holders = known if name in models else {cell.model for cell in first.cells}
        if name not in holders:
            where = "the runs have" if name in models else f"{first.label} has"
            raise RunError(f"{where} no model {name!r}; {nearest(name, holders)}")
    found = list(_inside(first, baseline) if len(runs) == 1 else _across(runs, baseline))
    wanted = {*models, *([baseline] if baseline and models else [])}
    found = [p for p in found if not models or {p.old.model, p.new.model} <= wanted]
    if not found:
        raise RunError(
            f"nothing to compare: {_told(runs)}; two models of one run, or one model name in both, are needed"
        )
    if not anyway:
        _same_work(found)
    return found


def _inside(run: RunEvidence, baseline: str) -> Iterator[Pair]:
    for task, dataset in dict.fromkeys((cell.task, cell.dataset) for cell in run.cells):
        cells = [cell for cell in run.cells if (cell.task, cell.dataset) == (task, dataset)]
        if baseline:
            olds = [cell for cell in cells if cell.model == baseline]
            yield from (Pair(run, old, run, new) for old in olds[:1] for new in cells if new != old)
        else:
            yield from (Pair(run, old, run, new) for old, new in combinations(cells, 2))


def _across(runs: Sequence[RunEvidence], baseline: str) -> Iterator[Pair]:
    first = runs[0]
    for run in runs[1:]:
        shared = {cell.model for cell in first.cells} & {cell.model for cell in run.cells}
        renamed = {} if shared or baseline else _only(first, run)
        for new in run.cells:
            model = baseline or (new.model if new.model in shared else renamed.get(new.model))
            for old in first.cells:
                same_arm = old.arm == new.arm or bool(renamed) or bool(baseline)
                if (old.task, old.dataset, old.model) == (new.task, new.dataset, model) and same_arm:
                    yield Pair(first, old, run, new)


def _only(first: RunEvidence, second: RunEvidence) -> dict[str, str]:
    """New model -> old model where each run has one beside its tagged baselines."""
    old = {cell.model for cell in first.cells} - first.baselines()
    new = {cell.model for cell in second.cells} - second.baselines()
    return {new.pop(): old.pop()} if len(old) == len(new) == 1 else {}


def _told(runs: Sequence[RunEvidence]) -> str:
    return "; ".join(
        f"{run.label} has {', '.join(dict.fromkeys(c.model for c in run.cells))}" for run in runs
    )


def _same_work(found: Sequence[Pair]) -> None:
    """Raises ``RunError`` that lists every difference of data or protocol."""
    problems = dict.fromkeys(problem for pair in found for problem in differences(pair))
    if problems:
        raise RunError(
            "this is not the same work, so its difference is no difference of models:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\ngive --anyway to compare the cases that both have"
        )


def differences(pair: Pair) -> list[str]:
    """What the two sides do not share: data, protocol, metric versions, parts of a run."""
    if pair.old_run is pair.new_run:
        return []
    told = []
    for run in (pair.old_run, pair.new_run):
        if run.manifest["shard"] != "1/1":
            told.append(f"{run.label} is shard {run.manifest['shard']} of a run; merge the shards first")
    data = [run.manifest["datasets"][cell.dataset]["fingerprint"] for run, cell in _sides(pair)]
    if data[0] != data[1]:
        told.append(f"dataset {pair.old.dataset!r} holds other cases or contents")
    old, new = (_protocol(run, cell) for run, cell in _sides(pair))
    told += [
        f"task {pair.old.task!r}: {name} is {old.get(name)!r} in {pair.old_run.label}, {new.get(name)!r} in {pair.new_run.label}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    return told


def _sides(pair: Pair) -> tuple[tuple[RunEvidence, CellName], tuple[RunEvidence, CellName]]:
    return (pair.old_run, pair.old), (pair.new_run, pair.new)


def _protocol(run: RunEvidence, cell: CellName) -> dict[str, Any]:
    """What the task asks and how it scores, without what tells of the model; metrics count where both have them."""
    for entry in run.manifest["cells"].values():
        if (entry["task"], entry["dataset"], entry["model"], entry["arm"]) == tuple(cell):
            asked = {
                name.removeprefix("task."): v
                for name, v in entry["predict"].items()
                if name.startswith("task.")
            }
            scored = {
                name: value
                for name, value in entry["score"].items()
                if name not in ("metrics", "metric_versions")
            }
            task = run.tasks[cell.task]
            since = task.fingerprint(
                "predict"
            )  # options that this medeval has and the run's had not, at their defaults
            return {**since, **asked, **scored, "average": task.average, "on_failure": task.on_failure}
    return {}
