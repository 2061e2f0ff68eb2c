"""Judges and people as graders of models: whether a judge favours one of them, and whether both rank them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.dialogue.agreement import Ratings, quantiles
from medeval.metrics.agreement_ranks import correlation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ByModel:
    """Dialogues of one model that both a judge and people rated, in [0, 1] of each item's scale.

    judged, people: means over dialogues. bias: judge less people, with its interval over patients.
    """

    judge: str
    model: str
    dialogues: int
    judged: float
    people: float
    bias: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Ranking:
    """Kendall's tau-b of the models' order by a judge and by people, None for fewer than two models or a tie of all."""

    judge: str
    models: int
    tau: float | None


def by_model(
    ratings: Ratings, judges: Sequence[str], people: Sequence[str], model_of: Mapping[str, str]
) -> tuple[list[ByModel], list[Ranking]]:
    """Each judge's bias on each model, and how its order of models agrees with people's.

    People's ratings of an item of a dialogue are averaged. A judge that is lenient with all models alike shows one bias
    everywhere; one that favours a model (its own family, long answers) shows it there.
    """
    rows: list[ByModel] = []
    ranks: list[Ranking] = []
    for judge in judges:
        judged, theirs, owner = _dialogue_means(ratings, judge, people)
        models = np.array([model_of.get(ratings.dialogues[at], "") for at in owner])
        mine = [
            _one(ratings, judge, str(m), judged, theirs, owner, models == m)
            for m in dict.fromkeys(sorted(models))
        ]
        rows += mine
        if len(mine) > 1:
            found = correlation(
                np.array([r.judged for r in mine]), np.array([r.people for r in mine]), "kendall_tau_b"
            )
            ranks.append(Ranking(judge, len(mine), found.value if found.defined else None))
    return rows, ranks


def _dialogue_means(
    ratings: Ratings, judge: str, people: Sequence[str]
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """(judge's mean, people's mean, position) of every dialogue, over the items that both rated."""
    both: dict[str, list[tuple[float, float]]] = {}
    for item, raters in ratings.table.items():
        scale = ratings.scale(item)
        span = scale[-1] - scale[0]
        for dialogue, score in raters.get(judge, {}).items():
            given = [raters[who][dialogue] for who in people if dialogue in raters.get(who, {})]
            if given and span > 0:
                pair = (score - scale[0]) / span, (float(np.mean(given)) - scale[0]) / span
                both.setdefault(dialogue, []).append(pair)
    shared = sorted(both)
    means = np.array([np.mean(both[dialogue], axis=0) for dialogue in shared]).reshape(-1, 2)
    at = (
        np.searchsorted(np.array(ratings.dialogues), np.array(shared))
        if shared
        else np.array([], dtype=np.int64)
    )
    return means[:, 0], means[:, 1], at.astype(np.int64)


def _one(
    ratings: Ratings, judge: str, model: str, judged: Floats, theirs: Floats, owner: NDArray[np.int64],
    mine: NDArray[np.bool_],
) -> ByModel:  # fmt: skip
    draws = ratings.draws[:, owner[mine]]
    total = draws.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = draws @ (judged[mine] - theirs[mine]) / total
    low, high = quantiles(gaps[1:], len(set(ratings.patients[owner[mine]])), ratings.setting.confidence)
    return ByModel(judge, model, int(mine.sum()), float(judged[mine].mean()), float(theirs[mine].mean()),
                   float(gaps[0]), low, high)  # fmt: skip
