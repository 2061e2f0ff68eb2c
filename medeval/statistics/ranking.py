"""Ranking of models on the same cases, and how stable it is: challengeR's vocabulary (Wiesenfarth et al. 2021).

Three schemes: *mean-then-rank* (aggregate, then rank), *rank-then-mean* (rank the models within each case, then rank
their mean ranks) and *significance* (number of models that one is significantly better than, one-sided Wilcoxon
signed-rank tests with Holm's correction). Patients are resampled, whole, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.statistics.corrections import holm
from medeval.statistics.resamples import Resamples

Scheme = Literal["mean-then-rank", "rank-then-mean", "significance"]
SCHEMES: tuple[Scheme, ...] = ("mean-then-rank", "rank-then-mean", "significance")
Missing = Literal["worst", "omit"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Board:
    """Values of all models on all cases.

    models: names. values: (cases, models), larger is better after ``of``; no NaN. clusters: (cases,) patient of each.
    omitted: cases left out because some model had no value.
    """

    models: tuple[str, ...]
    values: Floats
    clusters: NDArray[np.str_]
    omitted: int = 0

    @classmethod
    def of(
        cls, models: Sequence[str], values: Floats, clusters: Sequence[str] | NDArray, *,
        direction: Literal["higher", "lower"], missing: Missing | float,
    ) -> Board:  # fmt: skip
        """values: (cases, models), NaN where a model has none. missing: what then counts, and it must be said: "worst"
        (the worst value that occurs), "omit" (the case is left out for all) or a number.

        Raises ``ValueError`` for fewer than two models, shapes that do not fit, or nothing left.
        """
        table = np.array(values, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(models) or len(models) < 2 or len(clusters) != len(table):
            raise ValueError(f"values of shape {table.shape} for {len(models)} models and {len(clusters)} clusters; "
                             "(cases, models) with two models or more is needed")  # fmt: skip
        table = table if direction == "higher" else -table
        names, empty = np.asarray(clusters).astype(str), np.isnan(table)
        omitted = 0
        if missing == "omit":
            kept = ~empty.any(axis=1)
            table, names, omitted = table[kept], names[kept], int((~kept).sum())
        elif empty.any():
            if missing == "worst":
                filling = np.nan if empty.all() else float(np.nanmin(table))
            else:
                filling = float(missing) if direction == "higher" else -float(missing)
            table = np.where(empty, filling, table)
        if not len(table) or np.isnan(table).any():
            raise ValueError("no case on which the models can be ranked: all their values are missing")
        return cls(tuple(models), table, names, omitted)


@dataclass(frozen=True, eq=False)
class Ranking:
    """One scheme's ranking and its stability.

    ranks: (models,) 1 is best, ties share the smaller ("min"). score: (models,) what was ranked.
    frequencies: (models, models) share of resamples in which a model (row) had a rank (column).
    low, high: (models,) 95% interval of the rank. kendall: mean Kendall tau-b between this and the resampled rankings.
    """

    scheme: Scheme
    models: tuple[str, ...]
    ranks: NDArray[np.int64]
    score: Floats
    frequencies: Floats
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    kendall: float


def rank(board: Board, scheme: Scheme = "mean-then-rank", *, count: int = 1000, seed: int = 0) -> Ranking:
    """Rank by one scheme, and again under ``count`` resamples of the patients. ``ValueError`` for an unknown scheme."""
    if scheme not in SCHEMES:
        raise ValueError(f"scheme {scheme!r}: one of {', '.join(SCHEMES)} is needed")
    scorers: dict[Scheme, Callable[[Board], Callable[[Floats, NDArray[np.int64]], Floats]]] = {
        "mean-then-rank": _means,
        "rank-then-mean": _mean_ranks,
        "significance": _Wins,
    }
    scorer = scorers[scheme](board)
    names, codes = np.unique(board.clusters, return_inverse=True)
    score = scorer(np.ones((1, len(names))), codes)[0]
    resamples = Resamples("ranking", names, count=count, seed=seed)
    drawn = np.concatenate([scorer(counts.astype(np.float64), codes) for counts in resamples.blocks()])
    ranks, many = ranks_of(score[None])[0], ranks_of(drawn)
    number = len(board.models)
    frequencies = np.stack([(many == place).mean(axis=0) for place in range(1, number + 1)], axis=1)
    low, high = np.quantile(many, [0.025, 0.975], axis=0, method="nearest").astype(np.int64)
    return Ranking(scheme, board.models, ranks, score, frequencies, low, high, _kendall(ranks, many))


def rank_all(board: Board, *, count: int = 1000, seed: int = 0) -> dict[Scheme, Ranking]:
    """All three schemes side by side, on the same resamples."""
    return {scheme: rank(board, scheme, count=count, seed=seed) for scheme in SCHEMES}


def ranks_of(scores: Floats) -> NDArray[np.int64]:
    """(r, models) ranks of scores, larger is better, 1 is best, ties share the smaller rank."""
    rounded = np.round(scores, 12)  # equal up to rounding is a tie
    return 1 + (rounded[:, None, :] > rounded[:, :, None]).sum(axis=2)


def significance_matrix(board: Board) -> Floats:
    """(models, models) one-sided p, corrected by Holm over all ordered pairs: row better than column. Diagonal NaN."""
    _, codes = np.unique(board.clusters, return_inverse=True)
    z = _signed_ranks(board, np.ones((1, int(codes.max()) + 1)))[0]
    p = _upper_tail(z)
    off = ~np.eye(len(p), dtype=bool)
    p[off] = holm(p[off])
    p[~off] = np.nan
    return p


class _Linear:
    """Mean over cases of a fixed table, as a function of patients' counts."""

    def __init__(self, table: Floats) -> None:
        self.table = table

    def __call__(self, counts: Floats, codes: NDArray[np.int64]) -> Floats:
        number = counts.shape[1]
        sums = np.stack(
            [np.bincount(codes, weights=column, minlength=number) for column in self.table.T], axis=1
        )
        return counts @ sums / (counts @ np.bincount(codes, minlength=number))[:, None]


def _means(board: Board) -> _Linear:
    return _Linear(board.values)


def _mean_ranks(board: Board) -> _Linear:
    return _Linear(-ranks_of(board.values).astype(np.float64))


class _Wins:
    """Number of models that one is significantly better than, at 5%."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def __call__(self, counts: Floats, codes: NDArray[np.int64]) -> Floats:
        p = _upper_tail(_signed_ranks(self.board, counts))
        number = len(self.board.models)
        off = ~np.eye(number, dtype=bool)
        wins = np.zeros((len(p), number, number))
        wins[:, off] = np.stack([holm(row[off]) < 0.05 for row in p])
        return wins.sum(axis=2)


def _signed_ranks(board: Board, counts: Floats) -> Floats:
    """(r, models, models) z of the signed-rank statistic (normal approximation with ties, zeros left out) of the patients'
    mean differences, row minus column, each patient counted as often as it was drawn."""
    _, codes = np.unique(board.clusters, return_inverse=True)
    sizes = np.bincount(codes)[:, None]
    means = np.stack([np.bincount(codes, weights=column) for column in board.values.T], axis=1) / sizes
    number = means.shape[1]
    z = np.zeros((len(counts), number, number))
    for one in range(number):
        for two in range(one + 1, number):
            found = signed_rank_z(means[:, one] - means[:, two], counts)
            z[:, one, two], z[:, two, one] = found, -found
    return z


def signed_rank_z(differences: Floats, counts: Floats) -> Floats:
    """(r,) z of Wilcoxon's signed-rank statistic when difference i is there ``counts[:, i]`` times; 0 without any."""
    moved = differences != 0
    magnitude, sign, weights = np.abs(differences[moved]), np.sign(differences[moved]), counts[:, moved]
    if not len(magnitude):
        return np.zeros(len(counts))
    _, tie = np.unique(np.round(magnitude, 12), return_inverse=True)
    order = np.argsort(tie, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(tie[order]) > 0])
    block = np.add.reduceat(weights[:, order], starts, axis=1)  # number of each tied value
    midrank = np.cumsum(block, axis=1) - block + (block + 1) / 2
    positive = np.add.reduceat(weights[:, order] * (sign[order] > 0), starts, axis=1)
    n = block.sum(axis=1)
    statistic = (positive * midrank).sum(axis=1) - n * (n + 1) / 4
    variance = n * (n + 1) * (2 * n + 1) / 24 - (block**3 - block).sum(axis=1) / 48
    return np.divide(statistic, np.sqrt(np.maximum(variance, 0)), out=np.zeros_like(n), where=variance > 0)


def _upper_tail(z: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(-z), dtype=np.float64)


def _kendall(ranks: NDArray[np.int64], many: NDArray[np.int64]) -> float:
    """Mean tau-b of the ranking with each resampled one; resamples in which all tie count 0."""
    upper = np.triu_indices(len(ranks), 1)
    own = np.sign(ranks[upper[0]] - ranks[upper[1]])
    theirs = np.sign(many[:, upper[0]] - many[:, upper[1]])
    scale = np.sqrt((own**2).sum() * (theirs**2).sum(axis=1, dtype=np.float64))
    return float(np.divide(theirs @ own, scale, out=np.zeros(len(many)), where=scale > 0).mean())
