"""What each item of a rubric can tell: how hard it is, whether it goes with the rest, and whether everybody gets it right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.dialogue.rubric import ItemRubric
from medeval.types.views import Column, Table

if TYPE_CHECKING:
    import pandas as pd

    from medeval.tasks.mini_cex.task import MiniCex

SATURATED = 0.95  # mean from which (or 1 minus which) an item tells doctors apart no more


def item_table(task: MiniCex, dataset: str, values: pd.DataFrame) -> Table | None:
    """One row an item over all dialogues of a dataset; None where the rubric has one item, or signed criteria.

    values: structure, model, case, seed, sample and value in [0, 1] of every scored record. The item-rest correlation is
    Pearson's r of the item with the mean of the dialogue's other items (classical test theory).
    """
    rubric = task.loaded
    if not isinstance(rubric, ItemRubric) or len(rubric.items) < 2:
        return None
    wide = values.pivot_table(index=["model", "case", "seed", "sample"], columns="structure", values="value")
    ids = [item.id for item in rubric.items if item.id in wide]
    scores = wide[ids].to_numpy(np.float64)
    rows = [_row(rubric.by_id[name].title, name, scores, at) for at, name in enumerate(ids)]
    columns = [
        Column("item"),
        Column("title"),
        Column("n", "dialogues", "integer"),
        Column("mean", "mean", "number", "over all dialogues of all models: low is hard"),
        Column("rest", "item-rest correlation", "number", "with the mean of the other items; low: it measures something else"),
        Column("flag", "flag", "text"),
    ]  # fmt: skip
    return Table(f"What the items of {task.label} can tell on {dataset}", columns, rows)


def _row(title: str, name: str, scores: NDArray[np.float64], at: int) -> dict[str, Any]:
    mine = scores[:, at]
    there = ~np.isnan(mine)
    others = np.delete(scores, at, axis=1)[there]
    known = ~np.isnan(others)
    count = known.sum(axis=1)
    rest = np.divide(
        np.where(known, others, 0).sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0
    )
    mean = float(mine[there].mean())
    saturated = mean >= SATURATED or mean <= 1 - SATURATED
    return {
        "item": name, "title": title, "n": int(there.sum()), "mean": mean, "rest": _r(mine[there], rest),
        "flag": f"saturated: {'nearly all pass' if mean > 0.5 else 'nearly all fail'}" if saturated else "",
    }  # fmt: skip


def _r(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    kept = ~np.isnan(y)
    x, y = x[kept], y[kept]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])
