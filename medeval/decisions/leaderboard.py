"""A leaderboard: the models of one dataset by three ranking schemes side by side, with how stable each rank is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.decisions.evidence import CellName, RunEvidence
from medeval.metrics.base import Metric
from medeval.statistics.ranking import Board, Missing, Ranking, Scheme, rank_all, significance_matrix
from medeval.types import RunError
from medeval.types.views import Column, Matrix, Table

_INTERVAL = ("value", "low", "high", "n", "patients", "note")


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """One metric of one task on one dataset. rankings: by scheme. significance: (models, models) Holm p, row better."""

    title: str
    metric: Metric
    board: Board
    rankings: dict[Scheme, Ranking]
    significance: NDArray[np.float64]
    rows: tuple[dict[str, Any], ...]

    def table(self) -> Table:
        """Models in order of mean-then-rank, each rank with its 95% interval under resampled patients; none with one patient."""
        one = len(set(self.board.clusters.tolist())) < 2
        order = np.argsort(self.rankings["mean-then-rank"].ranks, kind="stable")
        columns = [Column("model"), Column("value", self.metric.name, "interval", "", self.metric.direction)]
        columns += [Column(scheme) for scheme in self.rankings]
        lines = [
            {"model": self.board.models[at], "value": {key: self.rows[at][key] for key in _INTERVAL}, "_baseline": self.rows[at]["baseline"],
             **{scheme: _rank_text(found, at, one) for scheme, found in self.rankings.items()}}
            for at in order
        ]  # fmt: skip
        taus = ", ".join(f"{scheme} {found.kendall:.2f}" for scheme, found in self.rankings.items())
        cases = f"{len(self.board.values)} cases"
        omitted = f", {self.board.omitted} left out for missing values" if self.board.omitted else ""
        drawn = f"rank [95% interval over resampled patients]; {cases}{omitted}; mean Kendall tau with the resampled rankings: {taus}"
        note = f"rank; {cases}{omitted}; one patient: no interval, no stability" if one else drawn
        return Table(self.title, columns, lines, note)

    def stability(self, scheme: Scheme = "mean-then-rank") -> Matrix:
        """Share of resamples in which a model (row) had a rank (column): the data of a blob plot."""
        found = self.rankings[scheme]
        places = [str(place + 1) for place in range(len(found.models))]
        return Matrix(
            f"Rank frequencies, {scheme}: {self.title}",
            list(found.models),
            places,
            found.frequencies.tolist(),
        )

    def significance_map(self) -> Matrix:
        """Corrected one-sided p that the row is better than the column."""
        values = [[None if np.isnan(p) else float(p) for p in row] for row in self.significance]
        note = "one-sided Wilcoxon signed-rank tests of patients' means, Holm over all ordered pairs"
        return Matrix(
            f"Significance: {self.title}", list(self.board.models), list(self.board.models), values, note
        )


def leaderboard(
    evidence: RunEvidence, task: str, dataset: str, metric: str, prompt: str = "", *, missing: Missing | float | None = None,
    count: int = 1000,
) -> Leaderboard:  # fmt: skip
    """Rank the models of one dataset.

    missing: what a value counts that a model lacks for no fault of its own; it must be said where there is one.
    Raises ``RunError`` for fewer than two models, a metric that is no mean, or missing values without ``missing``.
    """
    found = evidence.metric(task, metric)
    cells = [cell for cell in evidence.cells if (cell.task, cell.dataset) == (task, dataset)]
    cells = [cell for cell in cells if any(setting == prompt for setting, _ in evidence.settings(cell))]
    title = " · ".join(part for part in (task, dataset, prompt, metric) if part)
    if not found.linear:
        raise RunError(f"{title}: {metric} is no mean over cases, so cases cannot be ranked by it")
    if len(cells) < 2:
        raise RunError(f"{title}: {len(cells)} model; a ranking needs two or more")
    values, patients = _values(evidence, cells, found, prompt)
    if np.isnan(values).any() and missing is None:
        raise RunError(f"{title}: {int(np.isnan(values).sum())} of {values.size} values are missing; say what they count: "
                       "--missing worst, or --missing omit to leave their cases out")  # fmt: skip
    try:
        board = Board.of(
            [c.contender for c in cells],
            values,
            patients,
            direction=found.direction,
            missing=missing or "worst",
        )
    except ValueError as error:
        raise RunError(f"{title}: {error}") from error
    rows = tuple(_row(evidence, cell, metric, prompt) for cell in cells)
    return Leaderboard(title, found, board, rank_all(board, count=count), significance_matrix(board), rows)


def _values(
    evidence: RunEvidence, cells: list[CellName], metric: Metric, prompt: str
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """(cases, models) mean of each case's records, NaN where a model has none; (cases,) patients."""
    means: list[dict[str, float]] = []
    owner: dict[str, str] = {}
    for cell in cells:
        entered = evidence.entered(cell, metric, prompt)
        values = np.asarray(entered.statistics["value"], dtype=np.float64)
        owner |= dict(zip(entered.cases.tolist(), entered.patients.tolist(), strict=True))
        names, codes = np.unique(entered.cases.astype(str), return_inverse=True)
        means.append(
            dict(zip(names.tolist(), np.bincount(codes, weights=values) / np.bincount(codes), strict=True))
        )
    cases = sorted(owner)
    table = np.array([[column.get(case, np.nan) for column in means] for case in cases], dtype=np.float64)
    return table.reshape(len(cases), len(cells)), np.array([owner[case] for case in cases], dtype=str)


def _row(evidence: RunEvidence, cell: CellName, metric: str, prompt: str) -> dict[str, Any]:
    wanted = {**cell._asdict(), "metric": metric, "prompt": prompt, "by": ""}
    return next(row for row in evidence.scores if all(row[key] == value for key, value in wanted.items()))


def _rank_text(found: Ranking, at: int, one_patient: bool) -> str:
    return f"{found.ranks[at]}" if one_patient else f"{found.ranks[at]} [{found.low[at]}, {found.high[at]}]"
