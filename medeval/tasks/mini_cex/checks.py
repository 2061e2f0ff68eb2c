"""Do the scores tell good doctors from bad ones? Probe models that must rank in order, and differences paired by case.

A judge is only worth as much as what it can tell apart: doctors by script, whose order is known, are run beside the models
under test, and the report warns when their totals do not stand in that order with disjoint intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from medeval.metrics.base import Metric
from medeval.statistics import Resamples, Sample, clusters, paired_difference
from medeval.statistics.corrections import holm
from medeval.statistics.paired import cluster_sums, permutation_test
from medeval.tasks.columns import statistic_column
from medeval.tasks.mini_cex.records import TOTAL
from medeval.tasks.summary import CellEvidence
from medeval.types.views import Column, Matrix, Notice, Table, View

if TYPE_CHECKING:
    import pandas as pd

    from medeval.tasks.mini_cex.task import MiniCex

Row = Mapping[str, Any]
_KEYS = ["case", "structure", "seed", "sample"]


# -- discrimination ---------------------------------------------------------------------------------------------


def discrimination(task: MiniCex, scores: Sequence[Row]) -> list[View]:
    """A verdict a dataset, and the probes' totals. Nothing where the task names no probes."""
    views: list[View] = []
    for dataset in dict.fromkeys(row["dataset"] for row in scores) if task.probes else ():
        totals = {row["model"]: row for row in scores
                  if row["dataset"] == dataset and row["group"].get("structure") == TOTAL}  # fmt: skip
        wrong = complaints(task.probes, totals)
        title = f"Do the judges of {task.label} tell good from bad on {dataset}?"
        if wrong:
            text = f"the scores below cannot be trusted to tell doctors apart: {'; '.join(wrong)}."
            views.append(Notice(title, text, "warning", _EXPECTED.format(" > ".join(task.probes))))
        else:
            text = f"the probes' totals stand in the known order with disjoint intervals: {' > '.join(task.probes)}."
            views.append(Notice(title, text))
    return views


_EXPECTED = "Expected order of the probes' totals, with disjoint intervals: {}."


def complaints(probes: Sequence[str], totals: Mapping[str, Row]) -> list[str]:
    """What is wrong with the probes' order, in words; [] when each lies above the next with disjoint intervals."""
    found = [f"{name} was not scored here" for name in probes if totals.get(name, {}).get("value") is None]
    if found:
        return found
    for better, worse in pairwise(probes):
        above, below = totals[better], totals[worse]
        if above["value"] <= below["value"]:
            found.append(f"{better} ({_shown(above)}) is not above {worse} ({_shown(below)})")
        elif above["low"] is None or below["high"] is None:
            found.append(f"{better} and {worse} have no intervals")
        elif above["low"] <= below["high"]:
            found.append(f"the intervals of {better} ({_shown(above)}) and {worse} ({_shown(below)}) overlap")
    return found


def _shown(row: Row) -> str:
    if row["low"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


# -- paired differences -----------------------------------------------------------------------------------------


def values_of(task: MiniCex, cell: CellEvidence) -> pd.DataFrame:
    """A cell's scored records: keys, patient and value; a model's failure stands at its worst value where the task says so."""
    column = statistic_column(task.bound_metrics[0].name, "value")
    frame = cell.frame[cell.frame[column].notna()]
    if task.on_failure != "worst":
        frame = frame[frame["status"].isin(["ok", "carried"])]
    return frame[[*_KEYS, "patient", column]].rename(columns={column: "value"})


def differences(
    task: MiniCex, base: Row, mine: pd.DataFrame, theirs: pd.DataFrame, resamples: Resamples
) -> list[dict[str, Any]]:
    """One score row a structure: the mean difference of a model to ``compare_to`` over the records that both have.

    base: what the rows say of their cell. p: two-sided permutation test by patient.
    """
    metric = task.bound_metrics[0]
    joined = mine.merge(theirs, on=_KEYS, suffixes=("", "_other"), validate="one_to_one")
    present = set(joined["structure"])
    return [
        {**base, "group": {"structure": name},
         **_difference(metric, joined[joined["structure"] == name], resamples)}
        for name in task.structures if name in present
    ]  # fmt: skip


def _difference(metric: Metric, pairs: pd.DataFrame, resamples: Resamples) -> dict[str, Any]:
    patients = clusters(pairs["patient"].tolist(), pairs["case"].tolist())
    ours, others = (pairs[name].to_numpy(np.float64) for name in ("value", "value_other"))
    found = paired_difference(
        metric, Sample({"value": ours}, patients), Sample({"value": others}, patients), resamples
    )
    apart = np.where(np.abs(ours - others) < 1e-12, 0.0, ours - others)
    sums, _ = cluster_sums(apart, patients)
    tested = permutation_test(apart, patients, seed=resamples.seed)
    return {
        "metric": f"difference in {metric.name}", "direction": metric.direction, "unit": "",
        "definition": "mean difference, paired by case and sample", **found.as_dict(),
        "p": tested.p, "worse": int((sums < 0).sum()), "better": int((sums > 0).sum()),
    }  # fmt: skip


def corrected(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one dataset with ``p_holm``: Holm over the models, for each structure apart."""
    adjusted: dict[int, float] = {}
    for name in dict.fromkeys(row["group"]["structure"] for row in rows):
        family = [at for at, row in enumerate(rows) if row["group"]["structure"] == name]
        adjusted |= dict(zip(family, holm([rows[at]["p"] for at in family]).tolist(), strict=True))
    return [{**row, "p_holm": adjusted[at]} for at, row in enumerate(rows)]


def difference_views(task: MiniCex, dataset: str, rows: Sequence[Row]) -> list[View]:
    """Which items moved, as a map; and the totals with their tests. Every item's test stands in summary.json."""
    models = list(dict.fromkeys(_name(row) for row in rows))
    cells = {(_name(row), row["group"]["structure"]): row for row in rows}
    moved = [
        name
        for name in task.structures
        if not name.startswith("dimension ")
        and any(_moves(cells[model, name]) for model in models if (model, name) in cells)
    ]
    values = [[_shift(cells.get((model, name))) for name in moved] for model in models]
    title = f"What differs from {task.compare_to}: {task.label} on {dataset}"
    note = "mean difference, paired by case; no patient differs where there is nothing"
    return [Matrix(title, models, moved, values, note), _totals(title, rows)]


def _name(row: Row) -> str:
    return " ".join(filter(None, [row["model"], row["arm"]]))


def _moves(row: Row) -> bool:
    return bool(row["worse"] or row["better"])


def _shift(row: Row | None) -> float | None:
    return row["value"] if row is not None and _moves(row) else None


def _totals(title: str, rows: Sequence[Row]) -> Table:
    columns = [
        Column("model"),
        Column("difference", "difference of totals", "interval", "mean, paired by case", "higher"),
        Column("worse", "worse", "integer", "patients with a lower total"),
        Column("better", "better", "integer", "patients with a higher total"),
        Column("p", "p", "text", "permutation test, by patient"),
        Column("p_holm", "p, Holm", "text", "corrected for the number of models"),
    ]
    lines = [
        {
            "model": _name(row),
            "difference": {key: row[key] for key in ("value", "low", "high", "n", "patients", "note")},
            "worse": row["worse"], "better": row["better"], "p": p_text(row["p"]), "p_holm": p_text(row["p_holm"]),
        }
        for row in rows if row["group"]["structure"] == TOTAL
    ]  # fmt: skip
    return Table(f"{title}, totals", columns, lines)


def p_text(p: float) -> str:
    """A p value as it is printed: three decimals, ``< 0.001``, or a dash where there is no test."""
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
