"""The report's side of ``mini-cex``: one column an item, what differs, the judges' and the simulator's conduct, dialogues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medeval.dialogue.guards import KINDS
from medeval.dialogue.rubric import CriteriaRubric
from medeval.tasks.mini_cex.chats import dialogues_view, picked
from medeval.tasks.mini_cex.checks import corrected, difference_views, differences, discrimination, values_of
from medeval.tasks.mini_cex.items import item_table
from medeval.tasks.mini_cex.judges import Given, judge_table, length_table, lengths_of, ratings_of
from medeval.tasks.mini_cex.records import TOP_1, TOP_3, TOTAL
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary
from medeval.tasks.summary_views import table_note
from medeval.types.views import Column, Notice, RatedDialogue, Table, View

if TYPE_CHECKING:
    from medeval.tasks.mini_cex.task import MiniCex

Row = Mapping[str, Any]
HEADLINES = {
    TOTAL: "mean over items",
    TOP_1: "diagnosis named first",
    TOP_3: "diagnosis among the first three",
}


@dataclass
class _Dataset:
    """What one pass over a dataset's cells leaves for the views."""

    values: dict[str, Any] = field(default_factory=dict)  # model and arm -> (base row, scored records)
    given: list[Given] = field(default_factory=list)
    lengths: list[tuple[str, str, str, float, float]] = field(default_factory=list)


def summarize(task: MiniCex, evidence: Evidence) -> Summary:
    """Score rows by item and of paired differences, and the views."""
    scores: list[Row] = []
    conduct: list[dict[str, Any]] = []
    talks: list[RatedDialogue] = []
    datasets: dict[str, _Dataset] = {}
    for cell in evidence.load():
        scorer = CellScorer(task, cell, evidence)
        by_item = [row for row in scorer.scores() if row["by"]]
        scores += [*headlines(by_item, HEADLINES), *by_item]
        conduct.append(_conduct(cell))
        talks += picked(task, cell)
        found = datasets.setdefault(cell.dataset, _Dataset())
        found.given += ratings_of(task, cell)
        found.lengths += lengths_of(cell)
        base = scorer.base("", f"minus {task.compare_to}", {})
        found.values[f"{cell.model} {cell.arm}".strip()] = base, values_of(task, cell)
    paired, tables = _paired(task, datasets, evidence)
    views: list[View] = [*discrimination(task, scores), *_tables(task, scores, conduct), *tables]
    for name, found in datasets.items():
        judges = judge_table(task, name, found.given, evidence.resamples(name))
        views += [judges] if judges else []
        items = item_table(task, name, _together(found))
        views += [items] if items else []
        if found.lengths:
            views.append(length_table(task, name, found.lengths, evidence.resamples(name)))
    views += _conduct_tables(task, conduct)
    if talks:
        views.append(dialogues_view(task, talks, sum(row["dialogues"] for row in conduct)))
    return Summary([*scores, *paired], views)


def _together(found: _Dataset) -> Any:
    """The scored records of all models of a dataset."""
    import pandas as pd

    parts = [values.assign(model=model) for model, (_, values) in found.values.items()]
    return pd.concat(parts, ignore_index=True)


def headlines(rows: Sequence[Row], names: Mapping[str, str]) -> list[Row]:
    """Score rows of a whole cell, which overviews show: those of these structures, each as a metric of its own."""
    return [
        {**row, "by": "", "group": {}, "metric": row["group"]["structure"], "definition": names[row["group"]["structure"]]}
        for row in rows
        if row["by"] == "structure" and row["group"]["structure"] in names
    ]  # fmt: skip


def _paired(
    task: MiniCex, datasets: Mapping[str, _Dataset], evidence: Evidence
) -> tuple[list[Row], list[View]]:
    """Differences to ``compare_to``, dataset by dataset; a notice where that model was not run."""
    rows: list[Row] = []
    views: list[View] = []
    for name, found in datasets.items() if task.compare_to else ():
        title = f"What differs from {task.compare_to}: {task.label} on {name}"
        if task.compare_to not in found.values:
            text = f"no model {task.compare_to!r} was run here; there is {', '.join(found.values)}."
            views.append(Notice(title, text, "warning"))
            continue
        _, theirs = found.values[task.compare_to]
        mine = [
            row
            for model, (base, values) in found.values.items()
            if model != task.compare_to
            for row in differences(task, base, values, theirs, evidence.resamples(name))
        ]
        rows += (tested := corrected(mine))
        views += difference_views(task, name, tested)
    return rows, views


def _tables(task: MiniCex, scores: Sequence[Row], conduct: Sequence[Row]) -> list[View]:
    """One table a dataset: models by items, then dimensions, total and diagnosis."""
    views: list[View] = []
    spreads = {(row["dataset"], row["model"]): row["sample_spread"] for row in conduct}
    spread = Column("samples", "spread of samples", "number", "total: highest minus lowest of a case's, mean")
    rows = [row for row in scores if row["by"] == "structure"]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        mine = [row for row in rows if row["dataset"] == dataset]
        columns = [Column("model"), *(_column(task, name) for name in task.structures),
                   *([spread] if task.samples > 1 else []),
                   Column("failed", "failed", "text", "dialogues that failed, by cause")]  # fmt: skip
        lines: dict[tuple[str, str], dict[str, Any]] = {}
        for row in mine:
            name = " ".join(filter(None, [row["model"], row["arm"]]))
            line = lines.setdefault((row["model"], row["arm"]), {"model": name, "_baseline": row["baseline"]})
            line[row["group"]["structure"]] = _cell(row)
            if row["group"]["structure"] == TOTAL:
                line["samples"] = spreads.get((dataset, name))
                line["failed"] = (
                    ", ".join(f"{count} {cause}" for cause, count in row["failed"].items()) or "0"
                )
        note = f"rubric {task.loaded.name}; scores in [0, 1], 1 the best; {table_note(mine)}"
        views.append(Table(f"{task.label} on {dataset}", columns, list(lines.values()), note))
    return views


def _column(task: MiniCex, name: str) -> Column:
    """An item's column says what it asks and whose item it is."""
    rubric = task.loaded
    if isinstance(rubric, CriteriaRubric):
        told = {criterion.id: criterion.text for criterion in rubric.criteria}
        return Column(name, name, "interval", told.get(name, ""), "higher")
    item = rubric.by_id.get(name)
    if item is not None:
        sign = "; a high mark is bad, shown inverted" if item.polarity < 0 else ""
        return Column(name, f"{name} {item.title}", "interval", f"{item.provenance}{sign}", "higher")
    title = {d.id: d.title or d.id for d in rubric.dimensions}.get(name.removeprefix("dimension "), name)
    return Column(name, title, "interval", HEADLINES.get(name, "dimension"), "higher")


def _cell(row: Row) -> dict[str, Any]:
    keys = ("value", "low", "high", "n", "patients", "note", "bounds", "missing")
    return {key: row[key] for key in keys if key in row}


def _conduct(cell: CellEvidence) -> dict[str, Any]:
    """Means and rates over one cell's dialogues."""
    frame = cell.frame[(cell.frame["structure"] == TOTAL) & cell.frame["stop"].notna()]
    turns = float(frame["patient_turns"].sum())
    rates: dict[str, float | None] = {
        kind: 100 * float(frame[kind].sum()) / turns if turns else None for kind in KINDS
    }
    means = {name: _mean(frame[name]) for name in ("doctor_turns", "coverage", "redundancy", "tokens")}
    spread = _mean(cell.frame["spread"])
    forced = float((frame["stop"] != "doctor_final").mean()) if len(frame) else None
    model = " ".join(filter(None, [cell.model, cell.arm]))
    totals = frame[frame["rubric"].notna()].groupby("case")["rubric"]
    again = (totals.max() - totals.min())[totals.count() > 1]
    return {"dataset": cell.dataset, "model": model, "sample_spread": _mean(again), "dialogues": len(frame), **means, "unfinished": forced,
            **rates, "spread": spread, "_baseline": cell.baseline}  # fmt: skip


def _mean(column: Any) -> float | None:
    there = column.dropna()
    return float(there.mean()) if len(there) else None


def _conduct_tables(task: MiniCex, rows: Sequence[dict[str, Any]]) -> list[View]:
    columns = [
        Column("model"),
        Column("dialogues", "dialogues", "integer"),
        Column("doctor_turns", "doctor turns", "number"),
        Column("coverage", "coverage", "number", "share of the patient's facts that were elicited"),
        Column("redundancy", "redundancy", "number", "share of question turns that brought nothing new"),
        Column(
            "unfinished", "unfinished", "number", "share without a final diagnosis of the doctor's own accord"
        ),
        Column("tokens", "tokens", "number", "the doctor's, a dialogue"),
        *(
            Column(kind, kind.replace("_", " "), "number", "the patient's, per 100 patient turns")
            for kind in KINDS
        ),
        Column("spread", "spread of judges", "number", "highest minus lowest, on the item's scale"),
    ]
    return [
        Table(
            f"How the dialogues of {task.label} went on {dataset}",
            columns,
            [r for r in rows if r["dataset"] == dataset],
        )
        for dataset in dict.fromkeys(row["dataset"] for row in rows)
    ]
