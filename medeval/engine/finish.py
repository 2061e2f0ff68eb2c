"""The end of a run: summary.json from the records, exported masks, the report."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from medeval.decisions.conclude import conclude, endpoint_sections
from medeval.decisions.evidence import RunEvidence
from medeval.decisions.replicates import replicate_sections
from medeval.decisions.verify import seal
from medeval.engine.artifacts import artifact_folder
from medeval.engine.manifest import package_version
from medeval.engine.methods import methods_section
from medeval.engine.overview import model_rows, overview_section
from medeval.engine.plan import Plan, PlannedCell, Shard
from medeval.report import Section, write_report
from medeval.runs.columns import CaseColumns, RecordColumns
from medeval.runs.compact import compact
from medeval.runs.files import attempt, write_json
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.run import Run, kept_outputs
from medeval.statistics import Resamples, clusters
from medeval.statistics.labels import combined, partition
from medeval.suite.replicates import MARK
from medeval.tasks.base import Task
from medeval.tasks.summary import CellEvidence, Evidence, Summary
from medeval.tasks.summary_views import score_table
from medeval.types import CaseFailure, Key, RunError, Status, nearest
from medeval.types.views import Column, GalleryItem, Picture, Table

FAILURES_SHOWN = 50
_FAILURES = frozenset(str(status) for status in Status if status.failed)


def finish(plan: Plan, folder: RunFolder, report: bool) -> None:
    """Bundle small parts, write summary.json and, if asked, report.html: made from what is in the folder alone."""
    compact(folder, [planned.units for planned in plan.cells])
    failed = _Failed()
    summaries = _summaries(plan, folder, failed)
    write_json(folder.path / "summary.json", _summary(plan, summaries, failed))
    confirmed = conclude(folder.path)
    if report:
        _write_report(plan, folder, summaries, failed, confirmed, folder.path / "report.html")
    seal(folder.path, folder.elsewhere())


def report_again(run: Run, path: Path) -> None:
    """Write the report of a finished run to ``path``, from its records and kept predictions; no model is asked.

    Raises ``RunError`` for a run without a summary, ``DatasetError`` where its data are gone (the pictures need them).
    """
    confirmed = run.summary().get("endpoint")
    plan, folder, failed = plan_of(run), RunFolder(run.path), _Failed()
    _write_report(plan, folder, _summaries(plan, folder, failed), failed, confirmed, path)


def plan_of(run: Run) -> Plan:
    """The plan that a run was made by, trusting what its manifest says of the models."""
    plan = Plan(run.suite(), Shard.parse(run.shard()))
    plan.trust(run.manifest["cells"])
    return plan


def _summaries(plan: Plan, folder: RunFolder, failed: _Failed) -> list[tuple[Task, Summary]]:
    return [
        (task, task.summarize(_evidence(plan, folder, task, failed)))
        for task in plan.suite.tasks
        if _has(plan, task)
    ]


def _write_report(
    plan: Plan, folder: RunFolder, summaries: Sequence[tuple[Task, Summary]], failed: _Failed,
    confirmed: dict[str, Any] | None, path: Path,
) -> None:  # fmt: skip
    title = f"{plan.suite.name}: evaluation report"
    repeated = replicate_sections(RunEvidence(Run(folder))) if _replicated(plan) else []
    sections = [
        *endpoint_sections(confirmed),
        *_sections(plan, summaries, failed, folder.manifest() or {}),
        *repeated,
    ]
    pictures = Pictures(plan, folder)
    attempt(lambda: write_report(path, title, sections, _meta(plan, folder), pictures.draw), path)


class _Failed:
    """Failed records by task, dataset, model, status, case and error; taken as the records pass by."""

    COLUMNS = ("task", "dataset", "model", "status", "case", "error")

    def __init__(self) -> None:
        self._cells: dict[tuple[str, ...], Counter[tuple[str, ...]]] = {}

    def see(self, cell: CellEvidence, task: str) -> None:
        """All failures of a cell; seen twice they count once."""
        status = cell.columns.labels("status")
        failures = [str(value) in _FAILURES for value in status.values]
        rows = np.flatnonzero(status.each(failures, False))
        found: Counter[tuple[str, ...]] = Counter()
        if len(rows):
            columns = [cell.columns.labels(name)[rows] for name in _Failed.COLUMNS]
            for same in partition(combined([column.codes for column in columns])):
                found[tuple(str(column[int(same[0])] or "") for column in columns)] += len(same)
        self._cells[task, cell.dataset, cell.model, cell.arm] = found

    def counts(self) -> Counter[tuple[str, ...]]:
        """Failure -> number of its records."""
        found: Counter[tuple[str, ...]] = Counter()
        for cell in self._cells.values():
            found.update(cell)
        return found

    def by_status(self) -> dict[str, int]:
        """Status -> number of records."""
        found: Counter[str] = Counter()
        for row, count in self.counts().items():
            found[row[3]] += count
        return dict(sorted(found.items()))


def tables(run: Run, by: str = "") -> list[Table]:
    """The score tables of a finished run, for the terminal. Raises ``RunError`` for a group that the suite has not."""
    rows = run.summary()["scores"]
    if not by:
        return overview_tables(rows)
    known = dict.fromkeys(row["by"] for row in rows if row["by"])
    if by not in known:
        raise RunError(f"--by {by!r}: the suite does not group by it; {nearest(by, known)}")
    grouped = [row for row in rows if row["by"] == by]
    return [
        score_table(f"{dataset}, by {by}", [row for row in grouped if row["dataset"] == dataset], "prompts")
        for dataset in dict.fromkeys(row["dataset"] for row in grouped)
    ]


def failures(run: Run) -> int:
    """Number of failed records of the cells that the run's suite names now, whoever's failure it was."""
    return sum(run.summary()["failed_records"].values())


def _replicated(plan: Plan) -> bool:
    """True when a model has several seeds or checkpoints."""
    return len(plan.suite.seeds) > 1 or any(MARK in name for name in plan.suite.model_specs)


def _has(plan: Plan, task: Task) -> bool:
    return any(planned.cell.task is task for planned in plan.cells)


def _evidence(plan: Plan, folder: RunFolder, task: Task, failed: _Failed) -> Evidence:
    @cache
    def resamples(dataset: str) -> Resamples:
        index = plan.datasets[dataset].index
        seed = plan.suite.seeds[0]
        return Resamples(dataset, clusters([i.patient for i in index], [i.id for i in index]), seed=seed)

    @cache
    def cases(dataset: str) -> CaseColumns:
        return CaseColumns(folder.cases(dataset))

    def load() -> Iterator[CellEvidence]:
        cells: dict[tuple[str, str, str], list[PlannedCell]] = {}
        for planned in plan.cells:
            if planned.cell.task is task:
                cells.setdefault((planned.cell.dataset, planned.cell.model, planned.cell.arm), []).append(
                    planned
                )
        for (dataset, model, arm), group in cells.items():
            places = [folder.units.place("records", unit) for planned in group for unit in planned.units]
            columns = RecordColumns([place for place in places if place is not None], cases(dataset))
            if len(columns):
                unit = plan.length_unit(dataset)
                made = {planned.cell.seed: artifact_folder(planned, folder) for planned in group}
                there = {seed: path for seed, path in made.items() if path.is_dir()}
                cell = CellEvidence(dataset, model, arm, group[0].baseline, columns, unit, there)
                failed.see(cell, task.label)
                yield cell

    return Evidence(load, resamples)


def _summary(plan: Plan, summaries: Sequence[tuple[Task, Summary]], failed: _Failed) -> dict[str, Any]:
    """A function of the records, the suite and the version alone: no clock, no machine, no order of work."""
    return {
        "medeval": package_version(),
        "suite": plan.suite.resolved(),
        "datasets": {
            name: {"cases": len(data.index), "patients_known": data.index.patients_known}
            for name, data in plan.datasets.items()
        },
        "failed_records": failed.by_status(),
        "scores": [_finite(row) for _, summary in summaries for row in summary.scores],
    }


def _finite(value: Any) -> Any:
    """JSON has no NaN: such a value is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


# -- the report -------------------------------------------------------------------------------------------------


def _sections(
    plan: Plan,
    summaries: Sequence[tuple[Task, Summary]],
    failed: _Failed,
    manifest: Mapping[str, Any],
) -> list[Section]:
    rows = [row for _, summary in summaries for row in summary.scores]
    overview = overview_tables(rows)
    told = [(task, summary.scores) for task, summary in summaries]
    sections = [overview_section(told, manifest, failed.by_status())]
    sections += [Section("Scores", overview, _score_text(plan, rows))] if overview else []
    for task, summary in summaries:
        views = [view for view in summary.views if not _is_overview(view, overview)]
        sections.append(Section(task.label, views, _labels_text(task)))
    sections.append(Section("Failures", [_failure_table(failed)]))
    views = [view for section in sections for view in section.views]
    sections.append(methods_section([task for task, _ in summaries], views, manifest, failed.by_status()))
    return sections


def _labels_text(task: Task) -> str:
    """Which arms read labels of the data that they adapt to or train on, as the report says it."""
    if not task.prepares_from():
        return ""
    reading = [arm for arm in task.arms() if task.labels_for(arm)]
    if len(reading) == len(task.arms()):
        return "This task reads labels of the data that it adapts to or trains on."
    told = ", ".join(reading)
    return (
        f"These arms read labels of the data that they train on; the others are given none: {told}."
        if told
        else ""
    )


def overview_tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """One table a dataset over all tasks, so that models asked in different ways stand side by side."""
    plain = [row for row in rows if not row["by"] and "curve" not in row]
    return [
        score_table(dataset, [row for row in plain if row["dataset"] == dataset], "prompts")
        for dataset in dict.fromkeys(row["dataset"] for row in plain)
    ]


def _is_overview(view: Any, overview: Sequence[Table]) -> bool:
    """A task's own plain table says nothing that the overview does not say when it is the only task of its dataset."""
    return isinstance(view, Table) and any(view.rows == table.rows for table in overview)


def _score_text(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    if any(row["prompt"] for row in rows):
        lines.append("Tight boxes, points and clicks are drawn from the reference masks (ground truth).")
    if len({row["baseline"] for row in rows}) > 1:
        lines.append("Models tagged baseline are floors, ceilings and classical methods.")
    if plan.shard.count > 1:
        lines.append(
            f"This is shard {plan.shard.number}/{plan.shard.count} of a run: scores of a part of the cases."
        )
    lines += [f"- Not run: {m.task} / {m.dataset} / {m.model}: {m.reason}." for m in plan.misfits]
    return "\n\n".join(lines)


def _failure_table(failed: _Failed) -> Table:
    names = ("task", "dataset", "model", "status", "case", "error")
    counts = sorted(failed.counts().items())
    rows = [{**dict(zip(names, row, strict=True)), "records": count} for row, count in counts]
    columns = [*(Column(name) for name in names), Column("records", kind="integer")]
    more = len(rows) - FAILURES_SHOWN
    note = f"{more} more in the records" if more > 0 else ("" if rows else "No case failed.")
    return Table("Failed cases and their causes", columns, rows[:FAILURES_SHOWN], note)


def _meta(plan: Plan, folder: RunFolder) -> dict[str, Any]:
    manifest = folder.manifest() or {}
    shown = ("cases", "patients", "fingerprint")
    return {
        "suite": plan.suite.name,
        "medeval": manifest.get("medeval"),
        "finished": str(manifest.get("updated") or "").replace("T", " ").replace("+0000", " UTC"),
        "seeds": ", ".join(map(str, plan.suite.seeds)),
        "datasets": [
            {"dataset": name, **{key: "unknown" if data[key] is None else data[key] for key in shown}}
            for name, data in manifest.get("datasets", {}).items()
        ],
        "models": model_rows(manifest),
        "versions": manifest.get("versions", {}),
        "machine": manifest.get("machine", {}),
        "suite as run": json.dumps(manifest.get("suite", {}), indent=1, ensure_ascii=False),
    }


class Pictures:
    """Draws gallery items from the kept predictions."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder

    def draw(self, item: GalleryItem) -> Picture | None:
        """The picture; None when the case cannot be read or the task has none."""
        found = self._unit(item)
        if found is None:
            return None
        task, unit = found
        try:
            case = self._plan.datasets[item.dataset].read(item.case_id)
        except CaseFailure:
            return None
        return task.illustrate(case, self._kept(unit, item.case_id, item.key), item.key)

    def _unit(self, item: GalleryItem) -> tuple[Task, UnitName] | None:
        for planned in self._plan.cells:
            cell = planned.cell
            if (cell.dataset, cell.model, cell.arm, cell.seed) == (
                item.dataset,
                item.model,
                item.arm,
                item.seed,
            ):
                for unit in planned.units:
                    if item.case_id in unit.case_ids and self._owes(unit, item):
                        return cell.task, unit
        return None

    def _owes(self, unit: UnitName, item: GalleryItem) -> bool:
        wanted = {"case": item.case_id, **item.key._asdict()}
        return wanted in self._folder.units.rows("records", unit, list(wanted))

    def _kept(self, unit: UnitName, case_id: str, key: Key) -> Any:
        return next(kept_outputs(self._folder.units.rows("predictions", unit), case_id, key), None)
