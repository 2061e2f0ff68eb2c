"""The report's side of ``healthbench``: scores with bounds by grade, worst of k, and answers beside their criteria."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medeval.dialogue.healthbench import SCORE
from medeval.metrics.agreement_points import worst_at_k
from medeval.metrics.registry import get_metric
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary, columns_of
from medeval.tasks.summary_views import score_table, table_note
from medeval.types import Status
from medeval.types.views import Chat, Column, Table, Turn, View

if TYPE_CHECKING:
    import pandas as pd

    from medeval.tasks.healthbench.task import HealthBenchTask

Row = Mapping[str, Any]
_MOST_CHATS = 8  # answers of a task that a report shows
_MOST_CRITERIA = 10


def summarize(task: HealthBenchTask, evidence: Evidence) -> Summary:
    """Score rows, and the views."""
    scores: list[dict[str, Any]] = []
    worst: list[dict[str, Any]] = []
    chats: list[Chat] = []
    for cell in evidence.load():
        scorer = CellScorer(task, cell, evidence)
        rows = [row for row in scorer.scores() if row["by"] and _wanted(row)]
        rows = [row | {"bounds": _bounds(cell, row)} for row in rows]
        overall = [row for row in rows if row["by"] == "structure" and row["group"]["structure"] == SCORE]
        scores += [row | {"by": "", "group": {}} for row in overall] + rows
        worst += _worst_of_k(task, cell, scorer)
        chats += _chats(task, cell)
    return Summary(
        [*scores, *worst], [*_tables(task, scores), *_worst_tables(task, worst), *chats[:_MOST_CHATS]]
    )


def _wanted(row: Row) -> bool:
    """Of groups by theme only the score's: a tag's score by theme would rest on few criteria."""
    return row["by"] == "structure" or row["group"]["structure"] == SCORE


def _bounds(cell: CellEvidence, row: Row) -> list[float] | None:
    """The mean if all grades that failed were worst for the model, and best; None where no grade failed.

    Records that are missing altogether (no answer for nobody's fault) count as 0 and 1 there.
    """
    frame = cell.frame
    for name in columns_of(row["by"]):
        frame = frame[frame[name].astype(object).where(frame[name].notna(), "(none)") == row["group"][name]]
    missing = np.array([Status(value).missing for value in frame["status"]], dtype=bool)
    if not missing.any():
        return None
    value = "rubric" if "rubric" in frame else "rubric_clipped"
    known = frame[value].to_numpy(dtype=np.float64)
    ends = []
    for end, rest in (("low", 0.0), ("high", 1.0)):
        open_ = np.nan_to_num(frame[end].to_numpy(dtype=np.float64), nan=rest)
        mean = float(np.nanmean(np.where(missing, open_, known)))
        ends.append(min(max(mean, 0.0), 1.0) if row["metric"] == "rubric_clipped" else mean)
    return ends


def _worst_of_k(task: HealthBenchTask, cell: CellEvidence, scorer: CellScorer) -> list[dict[str, Any]]:
    """Mean over conversations of the expected worst of k answers, for those with all their samples graded."""
    metric = get_metric("rubric")
    if task.samples < 2 or "rubric" not in task.metrics:
        return []
    scores = scorer.column("rubric")
    members = np.flatnonzero((scorer.column("structure") == SCORE) & (scorer.column("rubric") == scores))
    by_case: dict[str, list[int]] = {}
    for member in members:
        by_case.setdefault(str(scorer.column("case")[member]), []).append(int(member))
    whole = [group for group in by_case.values() if len(group) == task.samples]
    if not whole:
        return []
    first = np.array([group[0] for group in whole], dtype=np.int64)
    rows = []
    for k in range(1, task.samples + 1):
        values = np.array([worst_at_k([scores[group].tolist()], k) for group in whole], dtype=np.float64)
        found = scorer.estimate(metric, first, {"value": values})
        row = scorer.metric_row(metric, "", f"worst of {k}", {"worst of": k}, found)
        rows.append(row | {"failed": {}, "failed_cases": 0, "undefined": {}, "missing": len(by_case) - len(whole),
                           "records": len(whole), "bounds": None, "absent": 0, "not_covered": 0})  # fmt: skip
    return rows


def _tables(task: HealthBenchTask, scores: Sequence[Row]) -> list[View]:
    views: list[View] = []
    for dataset in dict.fromkeys(row["dataset"] for row in scores):
        for by in task.by:
            rows = [row for row in scores if row["dataset"] == dataset and row["by"] == by]
            if (
                any(
                    name not in ("structure",) and row["group"][name] != "(none)"
                    for row in rows
                    for name in row["group"]
                )
                or by == "structure"
            ):
                views.append(
                    score_table(f"{task.label} on {dataset}, by {by.removeprefix('structure x ')}", rows)
                )
    return views


def _worst_tables(task: HealthBenchTask, rows: Sequence[Row]) -> list[View]:
    views: list[View] = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        mine = [row for row in rows if row["dataset"] == dataset]
        columns = [Column("model")]
        columns += [
            Column(f"{k}", f"worst of {k}", "interval", "", "higher") for k in range(1, task.samples + 1)
        ]
        lines: dict[str, dict[str, Any]] = {}
        for row in mine:
            name = " ".join(filter(None, [row["model"], row["arm"]]))
            line = lines.setdefault(name, {"model": name, "_baseline": row["baseline"]})
            line[str(row["group"]["worst of"])] = {key: row[key] for key in ("value", "low", "high", "n")}
        note = f"expected worst of k answers to a conversation, not clipped; {table_note(mine)}"
        views.append(Table(f"Reliability: {task.label} on {dataset}", columns, list(lines.values()), note))
    return views


def _chats(task: HealthBenchTask, cell: CellEvidence) -> list[Chat]:
    """The worst and the best answer, with the criteria that decided."""
    frame = cell.frame
    column = "rubric" if "rubric" in frame else "rubric_clipped"
    scored = frame[(frame["structure"] == SCORE) & frame["completion"].notna() & frame[column].notna()]
    ordered = scored.sort_values([column, "case", "sample"], kind="stable")
    picked = {"worst": 0, "best": -1} if len(ordered) > 1 else {"only": 0} if len(ordered) else {}
    return [_chat(cell, ordered.iloc[at], rank, column) for rank, at in picked.items()]


def _chat(cell: CellEvidence, row: pd.Series, rank: str, column: str) -> Chat:
    grades = json.loads(row["criteria"])
    ordered = sorted(grades, key=lambda g: (bool(g["met"]) == (g["points"] > 0), -abs(g["points"])))
    told = "; ".join(f"[{g['points']:+g}] {_verdict(g)}: {g['criterion']}" for g in ordered[:_MOST_CRITERIA])
    model = " ".join(filter(None, [cell.model, cell.arm]))
    title = f"{rank} of {model} on {cell.dataset}: {row['case']}, sample {row['sample']}"
    return Chat(title, [Turn("answer", row["completion"])], f"score {row[column]:.2f}; {told}")


def _verdict(grade: Mapping[str, Any]) -> str:
    return "not graded" if grade["met"] is None else "met" if grade["met"] else "not met"
