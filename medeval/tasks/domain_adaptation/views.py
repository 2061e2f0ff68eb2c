"""What the report shows of an adaptation: methods and their needs, gains, patients before and after, how training went."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medeval.tasks.domain_adaptation.adaptations import SOURCE_ONLY
from medeval.types.views import Column, Curve, Forest, Series, Table, View

if TYPE_CHECKING:
    from medeval.tasks.domain_adaptation.task import DomainAdaptation

FACTS = "adaptation.json"
TIMING = "timing.json"
PATIENTS_SHOWN = 50
DOTS_SHOWN = 30

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Prepared:
    """The folder that adapting one model under one arm and seed left."""

    model: str
    arm: str
    seed: int
    folder: Path

    def read(self, name: str) -> dict[str, Any]:
        """One of its JSON files; empty where there is none."""
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@dataclass
class Paired:
    """What one pass over the cells leaves for the views."""

    patients: list[dict[str, Any]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    prepared: list[Prepared] = field(default_factory=list)


def adaptation_views(task: DomainAdaptation, scores: Sequence[Row], found: Paired) -> list[View]:
    """All of them; patients as paired dots for the first metric alone, as tables for each."""
    views: list[View] = [_methods(task, found.stopped)]
    for dataset in dict.fromkeys(row["dataset"] for row in found.patients):
        for position, metric in enumerate(dict.fromkeys(row["metric"] for row in found.patients)):
            rows = [row for row in found.patients if (row["dataset"], row["metric"]) == (dataset, metric)]
            views.append(
                _forest(
                    f"Gain in {metric} over the source model on {dataset}",
                    f"gain in {metric}",
                    dataset,
                    scores,
                )
            )
            harm = f"Share of patients made worse in {metric} on {dataset}"
            views.append(_forest(harm, f"made worse ({metric})", dataset, scores))
            views += paired_dots(dataset, metric, rows) if not position else []
            views.append(_patients(dataset, metric, rows))
    cost = _cost(found.prepared)
    return [*views, *([cost] if cost else []), *adaptation_curves(found.prepared)]


def _methods(task: DomainAdaptation, stopped: Sequence[str]) -> Table:
    """What each arm changes and needs; labels and priors are said here."""
    rows: list[dict[str, Any]] = []
    for arm in task.arms():
        method = None if arm == SOURCE_ONLY else task.method(arm)
        options = {key: value for key, value in task.adaptations[arm].items() if key != "method"}
        rows.append(
            {
                "arm": arm,
                "changes": "nothing" if method is None else method.updates,
                "uses beside images": (method.side_information if method else "") or "nothing",
                "options": ", ".join(f"{key}={value}" for key, value in options.items()),
            }
        )
    note = f"scenario: {task.scenario}" + (f", target: {', '.join(task.target)}" if task.target else "")
    return Table(
        "Methods of adaptation", [Column(name) for name in rows[0]], rows, "; ".join([note, *stopped])
    )


def _forest(title: str, metric: str, dataset: str, scores: Sequence[Row]) -> Forest:
    rows = [row for row in scores if (row["dataset"], row["metric"]) == (dataset, metric)]
    several = len({row["model"] for row in rows}) > 1
    lines = [
        {
            "label": f"{row['model']} {row['arm']}" if several else row["arm"],
            **{key: row[key] for key in ("value", "low", "high", "baseline")},
        }
        for row in rows
        if row["value"] is not None
    ]
    return Forest(title, metric, lines)


def paired_dots(dataset: str, metric: str, rows: Sequence[Row]) -> list[Forest]:
    """One plot a model and arm: every patient before and after, the worst change first."""
    found = []
    for model, arm in dict.fromkeys((row["model"], row["arm"]) for row in rows):
        mine = [row for row in rows if (row["model"], row["arm"]) == (model, arm)]
        ordered = sorted(mine, key=lambda row: (row["made worse"] == "no", row["change"]))
        dots = [
            {
                "label": row["patient"],
                "value": row["after"],
                "before": row["before"],
                "low": None,
                "high": None,
            }
            for row in ordered[:DOTS_SHOWN]
        ]
        worse = sum(row["made worse"] == "yes" for row in mine)
        note = f"{worse} of {len(mine)} patients made worse; they stand first"
        more = len(mine) - len(dots)
        note += f"; {more} more in the records" if more > 0 else ""
        title = f"{metric} before and after {arm}, by patient: {model} on {dataset}"
        found.append(Forest(title, metric, dots, note))
    return found


def _patients(dataset: str, metric: str, rows: Sequence[Row]) -> Table:
    """Patients made worse first."""
    names = ("model", "arm", "patient", "before", "after", "change", "made worse")
    kinds = {"before": "number", "after": "number", "change": "number"}
    columns = [Column(name, kind=kinds.get(name, "text")) for name in names]  # type: ignore[arg-type]
    ordered = sorted(rows, key=lambda row: (row["made worse"] == "no", -abs(row["change"])))
    shown = [{name: row[name] for name in names} for row in ordered[:PATIENTS_SHOWN]]
    more = len(ordered) - len(shown)
    note = "patients made worse first" + (f"; {more} more in the records" if more > 0 else "")
    return Table(f"{metric} before and after, by patient: {dataset}", columns, shown, note)


def _cost(prepared: Iterable[Prepared]) -> Table | None:
    """Steps, seconds and memory of each adaptation; None where nothing was prepared."""
    rows = []
    for one in _once(prepared):
        timing = one.read(TIMING)
        if timing:
            steps = [stage.get("steps") for stage in one.read(FACTS).get("stages", [])]
            rows.append(
                {
                    "model": one.model, "arm": one.arm, "seed": one.seed,
                    "steps": sum(step for step in steps if step is not None),
                    "seconds": float(sum(timing["seconds"])),
                    "peak memory [MiB]": timing["peak_memory_bytes"] / 2**20 if timing["peak_memory_bytes"] else None,
                }
            )  # fmt: skip
    kinds = {"steps": "integer", "seconds": "number", "peak memory [MiB]": "number", "seed": "integer"}
    columns = [Column(name, kind=kinds.get(name, "text")) for name in (rows[0] if rows else ())]  # type: ignore[arg-type]
    note = "on the machine of this run; memory is the process's (GPU: the device's) peak until then"
    return Table("Cost of adaptation", columns, rows, note) if rows else None


def adaptation_curves(prepared: Iterable[Prepared]) -> list[Curve]:
    """Losses against epochs; one plot a term, one line a model, arm and seed."""
    series: dict[str, list[Series]] = {}
    every = _once(prepared)
    several = [len({getattr(one, name) for one in every}) > 1 for name in ("model", "seed")]
    for one in every:
        history = [epoch for stage in one.read(FACTS).get("stages", []) for epoch in stage.get("history", [])]
        name = " ".join(
            [*([one.model] if several[0] else []), one.arm, *([f"seed {one.seed}"] if several[1] else [])]
        )
        for term in dict.fromkeys(name for epoch in history for name in epoch):
            values = [epoch.get(term) for epoch in history]
            series.setdefault(term, []).append(Series(name, list(range(1, len(values) + 1)), values))
    return [Curve(f"{term} during adaptation", "epoch", term, lines) for term, lines in series.items()]


def _once(prepared: Iterable[Prepared]) -> list[Prepared]:
    """Without repeats: an artifact serves every test dataset."""
    return list(dict.fromkeys(prepared))
