"""The report's side of ``mini-cex``: one column an item, the simulator's conduct, and dialogues to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medeval.dialogue.guards import KINDS
from medeval.dialogue.rubric import CriteriaRubric
from medeval.tasks.mini_cex_records import TOP_1, TOP_3, TOTAL
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary
from medeval.tasks.summary_views import table_note
from medeval.types.views import Chat, Column, Table, Turn, View

if TYPE_CHECKING:
    from medeval.tasks.mini_cex import MiniCex

Row = Mapping[str, Any]
MOST_CHATS = 12  # dialogues of a task that a report shows


def summarize(task: MiniCex, evidence: Evidence) -> Summary:
    """Score rows by item, and the views."""
    scores: list[Row] = []
    conduct: list[dict[str, Any]] = []
    chats: list[Chat] = []
    for cell in evidence.load():
        scores += [row for row in CellScorer(task, cell, evidence).scores() if row["by"]]
        conduct.append(_conduct(cell))
        chats += _chats(task, cell)
    return Summary(scores, [*_tables(task, scores), *_conduct_tables(task, conduct), *chats[:MOST_CHATS]])


def _tables(task: MiniCex, scores: Sequence[Row]) -> list[View]:
    """One table a dataset: models by items, then dimensions, total and diagnosis."""
    views: list[View] = []
    rows = [row for row in scores if row["by"] == "structure"]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        mine = [row for row in rows if row["dataset"] == dataset]
        columns = [Column("model"), *(_column(task, name) for name in task.structures),
                   Column("failed", "failed", "text", "dialogues that failed, by cause")]  # fmt: skip
        lines: dict[tuple[str, str], dict[str, Any]] = {}
        for row in mine:
            name = " ".join(filter(None, [row["model"], row["arm"]]))
            line = lines.setdefault((row["model"], row["arm"]), {"model": name, "_baseline": row["baseline"]})
            line[row["group"]["structure"]] = _cell(row)
            if row["group"]["structure"] == TOTAL:
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
    note = {
        TOTAL: "mean over items",
        TOP_1: "diagnosis named first",
        TOP_3: "diagnosis among the first three",
    }
    return Column(name, title, "interval", note.get(name, "dimension"), "higher")


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
    return {"dataset": cell.dataset, "model": model, "dialogues": len(frame), **means, "unfinished": forced,
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


def _chats(task: MiniCex, cell: CellEvidence) -> list[Chat]:
    """The worst and the best dialogue by total."""
    frame = cell.frame
    scored = frame[(frame["structure"] == TOTAL) & frame["transcript"].notna() & frame["rubric"].notna()]
    ordered = scored.sort_values(["rubric", "case", "sample"], kind="stable")
    picked = {"worst": 0, "best": -1} if len(ordered) > 1 else {"only": 0} if len(ordered) else {}
    return [_chat(task, cell, ordered.iloc[at], rank) for rank, at in picked.items()]


def _chat(task: MiniCex, cell: CellEvidence, total: Any, rank: str) -> Chat:
    frame = cell.frame
    mine = frame[(frame["case"] == total["case"]) & (frame["sample"] == total["sample"])]
    items = mine[~mine["structure"].isin([TOTAL, TOP_1, TOP_3]) & mine["judges"].notna()]
    turns = [Turn(f"{number} {speaker}", text) for number, speaker, text in json.loads(total["transcript"])]
    marks = "; ".join(f"{row['structure']} {_mark(row)}" for _, row in items.iterrows())
    model = " ".join(filter(None, [cell.model, cell.arm]))
    title = f"{rank} of {model} on {cell.dataset}: {total['case']}, sample {total['sample']}"
    return Chat(title, turns, f"total {total['rubric']:.2f}; diagnoses {total['diagnoses']}; {marks}")


def _mark(row: Any) -> str:
    """An item's score with the turns that its evidence names."""
    if row["rubric"] != row["rubric"]:
        return row["error"] or str(row["rubric.rule"] or "not applicable")
    turns = sorted({piece["turn"] for piece in json.loads(row["evidence"] or "[]")})
    return f"{row['rubric']:.2f}" + (f" (turns {', '.join(map(str, turns))})" if turns else "")
