"""A report that may be sent outside: made from a run's records alone, by allowed fields, with small cells hidden.

Nothing is taken over from the report that stays inside: what a task draws itself, texts, errors, options, paths and the
machine are never asked for. docs/report.md tells the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medeval.decisions.evidence import RunEvidence
from medeval.engine.finish import Pictures, overview_tables, plan_of
from medeval.engine.methods import methods_section
from medeval.engine.sharing.endpoint import endpoint_section
from medeval.engine.sharing.meta import told_manifest
from medeval.engine.sharing.names import Names, identifiers_of
from medeval.engine.sharing.scores import Shared, SharedCell, other_rows, standard_cells, uneven
from medeval.report import Section, write_report
from medeval.report.share import Sharing, anonymous, banded, bare_views, shared_views
from medeval.runs.files import attempt, write_json
from medeval.runs.folder import RunFolder
from medeval.runs.run import Run
from medeval.statistics import clusters
from medeval.tasks.base import Task
from medeval.tasks.case_views import case_views, cell_groups
from medeval.tasks.summary_views import build_views, score_table
from medeval.types import Status, UserError
from medeval.types.views import Column, Gallery, Passage, Table, View


@dataclass(frozen=True)
class ShareOptions:
    """min_cell: people that every figure rests on, at least 2. pixels: with pictures. anonymise: number models and datasets."""

    min_cell: int = 10
    pixels: bool = False
    anonymise: bool = False
    format: Literal["html", "json"] = "html"

    def __post_init__(self) -> None:
        if self.min_cell < 2:
            raise UserError(
                f"--min-cell {self.min_cell}: a figure of one person is no statistic; give 2 or more"
            )


def share(run: Run, path: Path, options: ShareOptions) -> Counter[str]:
    """Write the shared report of a finished run; returns what was withheld, rule -> how often.

    Raises ``RunError`` for a run without a summary or a path that cannot be written.
    """
    made = _Sharer(RunEvidence(run), options)
    if options.format == "json":
        write_json(path, made.plain())
    else:
        title = f"{made.title}: evaluation report, shared version"
        sections = made.sections()
        attempt(lambda: write_report(path, title, sections, made.meta(), made.draw), path)
    return made.shared.withheld


@dataclass
class _Sharer:
    evidence: RunEvidence
    options: ShareOptions
    draw: Any = field(default=lambda item: None)

    @cached_property
    def _folder(self) -> RunFolder:
        return RunFolder(self.evidence.run.path)

    @cached_property
    def _cases(self) -> dict[str, list[dict[str, Any]]]:
        return {name: self._folder.cases(name) for name in self.evidence.manifest["datasets"]}

    @cached_property
    def names(self) -> Names:
        """Which words may be told."""
        suite = self.evidence.manifest["suite"]
        numbered = {
            "task": list(self.evidence.tasks),
            "dataset": list(self.evidence.manifest["datasets"]),
            "model": list(suite.get("models", {})),
        }
        metrics = {metric.name for task in self.evidence.tasks.values() for metric in task.bound_metrics}
        structures = {
            str(name)
            for cell in self.evidence.cells
            for name in self.evidence.frame(cell)["structure"].unique()
        }
        ids = identifiers_of(row for rows in self._cases.values() for row in rows)
        return Names(ids, frozenset(metrics | structures), self.options.anonymise, numbered)

    @cached_property
    def title(self) -> str:
        """The suite's name where it may be told."""
        name = str(self.evidence.manifest["suite"].get("name", ""))
        return name if not self.options.anonymise and self.names.safe(name) else "suite"

    @cached_property
    def cells(self) -> list[SharedCell]:
        """All cells, with what stands behind their scores."""
        return list(standard_cells(self.evidence, self.names, self.options.min_cell))

    @cached_property
    def shared(self) -> Shared:
        """All score rows that may be told."""
        into = Shared(self.options.min_cell)
        for cell in self.cells:
            cell.shared(into)
        kept = {id(row) for cell in self.cells for row in cell.standard}
        rest = [row for row in self.evidence.summary["scores"] if id(row) not in kept]
        other_rows(self.evidence, rest, self.names, into, self._apart)
        return into

    @cached_property
    def _apart(self) -> set[tuple[str, str, str, bool]]:
        return uneven(self.cells, self.options.min_cell)

    @cached_property
    def rules(self) -> Sharing:
        """The rules for views of single records."""
        people = {
            (dataset, row["case"]): who
            for dataset, rows in self._cases.items()
            for row, who in zip(
                rows, clusters([r["patient"] for r in rows], [r["case"] for r in rows]), strict=True
            )
        }
        return Sharing(self.options.min_cell, lambda dataset, case: str(people[dataset, case]), self.names.safe,
                       self.options.pixels, self.shared.withheld)  # fmt: skip

    # -- the page ---------------------------------------------------------------------------------------------------

    def sections(self) -> list[Section]:
        """All of the report."""
        rows = self.shared.rows
        overview = overview_tables(rows)
        parts = [self._part(label, task, overview) for label, task in self.tasks.items()]
        methods = methods_section(list(self.tasks.values()), [], self._manifest)
        works = [view for view in methods.views if isinstance(view, Passage) and "BibTeX" in view.title]
        endpoint = endpoint_section(
            self.evidence.summary.get("endpoint"), rows, self.names.told,
            lambda claim: (claim["task"], claim["dataset"], claim["metric"], False) not in self._apart, self.shared.withheld,
        )  # fmt: skip
        return [
            Section("Shared version", (), self._told_first()),
            *([endpoint] if endpoint else []),
            *([Section("Scores", overview)] if overview else []),
            *(part for part in parts if part.views),
            Section("Failures", [self._failures()]),
            Section("Methods", works, methods.text),  # reporting items ask for what is not told here
            Section("What this shared version leaves out", (), self._left_out()),
        ]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Label in the run -> the task under the names that may be told."""
        return {
            label: task.model_copy(
                update={
                    "name": self.names.told("task", label),
                    "task": "own task" if ":" in task.task else task.task,
                }
            )
            for label, task in self.evidence.tasks.items()
        }

    def _part(self, label: str, task: Task, overview: Sequence[Table]) -> Section:
        rows = [row for row in self.shared.rows if row["task"] == task.label]
        mine = [row for row in rows if "curve" not in row and row["by"] in ("", *task.by)]
        curves = [row for row in self.shared.curves if row["task"] == task.label]
        cells = [cell for cell in self.cells if cell.task is self.evidence.tasks[label]]
        drawn = bare_views([*build_views(task, mine, curves, ()), *self._further(task, rows)])
        told = [table.rows for table in overview]
        drawn = [view for view in drawn if not (isinstance(view, Table) and view.rows in told)]
        return Section(task.label, [*drawn, *self._of_records(task, cells)])

    def _further(self, task: Task, rows: Sequence[Mapping[str, Any]]) -> list[View]:
        """Tables of rows that are grouped in a way of the task's own, or are no score of records."""
        views: list[View] = []
        further = [row for row in rows if "curve" in row or row["by"] not in ("", *task.by)]
        for dataset, by in dict.fromkeys((row["dataset"], row["by"]) for row in further):
            chosen = [row for row in further if (row["dataset"], row["by"]) == (dataset, by)]
            title = f"Further figures of {task.label} on {dataset}" + (f", {by}" if by else "")
            table = score_table(title, chosen, task.ladder)
            views.append(
                replace(table, rows=[{**row, "failed": ""} for row in table.rows])
            )  # not counted, so not "0"
        return views

    def _of_records(self, task: Task, cells: Sequence[SharedCell]) -> list[View]:
        """Views of single records, told together; pictures where they are asked for. They name models and datasets."""
        if self.options.anonymise:
            self.shared.withheld["distributions and pictures, where names are numbered"] += 1
            return []
        views = shared_views(case_views(task, [cell_groups(cell.scorer) for cell in cells]), self.rules)
        return [*views, *(self._gallery(task, cells) if self.options.pixels else ())]

    def _gallery(self, task: Task, cells: Sequence[SharedCell]) -> list[View]:
        picks = [row for cell in cells for row in cell.scorer.picks() if self._many(cell, row["structure"])]
        found = [view for view in build_views(task, (), (), picks) if isinstance(view, Gallery)]
        for view in found:
            before, mine = self.draw, anonymous(view, self._pictures.draw)
            self.draw = lambda item, mine=mine, before=before: mine(item) or before(item)
        return shared_views(found, self.rules)

    def _many(self, cell: SharedCell, structure: str) -> bool:
        """True for a structure that enough people have: one that few have tells of whom the picture is."""
        there = cell.scorer.column("structure").astype(str) == structure.partition("#")[0]
        asked = there & ~np.isin(cell.behind.status, ["undefined", "not_covered"])
        return len(np.unique(cell.behind.people[asked])) >= self.options.min_cell

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(plan_of(self.evidence.run), self._folder)

    def _failures(self) -> Table:
        """Failed records by status: how many people, in bands."""
        rows = []
        for cell in self.cells:
            scorer = cell.scorer
            status = cell.behind.status
            for one in (status_ for status_ in Status if status_.failed):
                people = len(set(cell.behind.people[status == str(one)].tolist()))
                if people:
                    rows.append(
                        {
                            "task": self.names.told("task", cell.task.label),
                            "dataset": self.names.told("dataset", scorer.cell.dataset),
                            "model": self.names.told("model", scorer.cell.model),
                            "arm": scorer.cell.arm if self.names.safe(scorer.cell.arm) else "",
                            "status": str(one), "people": banded(people, self.options.min_cell),
                        }
                    )  # fmt: skip
        columns = [Column(name) for name in ("task", "dataset", "model", "arm", "status", "people")]
        return Table("Failed cases by cause", columns, rows, "" if rows else "No case failed.")

    # -- what was run -----------------------------------------------------------------------------------------------

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        prompts = {row["prompt"] for row in self.shared.rows}
        return told_manifest(self.evidence.manifest, self._cases, self.tasks.values(), prompts, self.names,
                             self.options.min_cell)  # fmt: skip

    def meta(self) -> dict[str, Any]:
        """What was run, without paths, options, fingerprints and the machine."""
        kept = self._manifest
        models = self.evidence.manifest["suite"].get("models", {})
        return {
            "suite": self.title,
            "medeval": kept["medeval"],
            "finished": kept["updated"],
            "seeds": ", ".join(map(str, kept["suite"]["seeds"])),
            "datasets": [{"dataset": name, **data} for name, data in kept["datasets"].items()],
            "models": [{"model": self.names.told("model", name)} for name in models],
            "versions": kept["versions"],
        }

    # -- what is left out -------------------------------------------------------------------------------------------

    def _told_first(self) -> str:
        least = self.options.min_cell
        return (
            f"This report was made to be shared. It names no case and no patient, every figure rests on at least {least} "
            "people (patients; cases where patients are not known), and counts of people are told in bands. The last "
            "section says what was left out."
        )

    def _left_out(self) -> str:
        pixels = (
            "Pictures are shown because they were asked for; they can identify."
            if self.options.pixels
            else "No picture is shown."
        )
        lines = [
            "Left out by rule: ids of cases and patients, texts of questions, answers, reports and dialogues, judges' words, "
            "messages of errors, options of models, paths, addresses, the machine, fingerprints, metadata that is no category, "
            "and what a task draws in a way of its own, for it does not say how many people stand behind each mark.",
            "",
            *(f"- {rule}: {count}" for rule, count in sorted(self.shared.withheld.items())),
            "",
            f"A figure of fewer than {self.options.min_cell} people is hidden, and so are those from which it would follow. n counts "
            "what was asked for where fewer than that have no value. " + pixels,
        ]
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """The same as plain data, for ``--format json``."""
        self.sections()  # so that all is counted that is withheld
        return {
            "shared": {"min_cell": self.options.min_cell, "withheld": dict(sorted(self.shared.withheld.items()))},
            **{name: value for name, value in self.meta().items() if value != ""},
            "scores": self.shared.rows, "curves": self.shared.curves, "failures": list(self._failures().rows),
        }  # fmt: skip
