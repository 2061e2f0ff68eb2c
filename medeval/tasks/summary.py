"""From records to scores: each with its interval, its n, its failures and their causes, and what could not be measured.

A score is a row of plain data in ``summary.json``; it is a function of the records (sorted by key), the suite and the
version alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medeval.tasks.columns import columns_of
from medeval.tasks.evidence import CellEvidence, Columns, Evidence
from medeval.tasks.scorer import CellScorer
from medeval.types.views import View

if TYPE_CHECKING:
    from medeval.tasks.base import Task

__all__ = ["CellEvidence", "CellScorer", "Columns", "Evidence", "Summary", "columns_of", "summarize"]


@dataclass(frozen=True)
class Summary:
    """scores: plain rows for summary.json. views: what the report draws."""

    scores: Sequence[Mapping[str, Any]]
    views: Sequence[View] = field(default_factory=list)


def summarize(task: Task, evidence: Evidence) -> Summary:
    """The summary every task gets unless it writes its own: scores by prompt and by each ``by``, curves over rounds."""
    from medeval.tasks.case_views import CellGroups, case_views, cell_groups
    from medeval.tasks.summary_views import build_views

    scores: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    picks: list[dict[str, Any]] = []
    observed: list[Any] = []
    groups: list[CellGroups] = []
    for cell in evidence.load():
        scorer = CellScorer(task, cell, evidence)
        scores += scorer.scores()
        scores += [dict(row) for row in task.more_scores(scorer)]
        curves += scorer.curves()
        picks += scorer.picks()
        groups.append(cell_groups(scorer))
        observed.append(task.observations(scorer))
    views = [
        *build_views(task, scores, curves, picks),
        *case_views(task, groups),
        *task.more_views(observed, scores),
    ]
    return Summary(scores, views)
