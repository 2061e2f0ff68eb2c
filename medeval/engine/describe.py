"""``--dry-run``: the cells of a suite with what each will cost, and what is not run and why."""

from __future__ import annotations

from collections.abc import Sequence

from medeval.decisions.contamination import contamination
from medeval.engine.estimate import chat_tables, unmet_roles
from medeval.engine.plan import Plan, Shard
from medeval.suite import Suite
from medeval.types.views import Column, Table

PROBLEMS_SHOWN = 10


def describe(suite: Suite, shard: Shard | None = None) -> list[Table | str]:
    """A table of the cells and lines of what to know before the run. Raises what planning raises."""
    plan = Plan(suite, shard)
    columns = [
        Column("task"),
        Column("dataset"),
        Column("model"),
        Column("arm"),
        Column("seed", kind="integer"),
        Column("cases", kind="integer"),
        Column(
            "calls", "model calls", "integer", "an estimate where structures are known only after reading"
        ),
        Column("kept", "predictions", "text", "rough size of the kept predictions"),
    ]
    rows = []
    for planned in plan.cells:
        cell = planned.cell
        rows.append(
            {
                "task": cell.task.label,
                "dataset": cell.dataset,
                "model": cell.model,
                "arm": cell.arm,
                "seed": cell.seed,
                "cases": sum(len(unit.case_ids) for unit in planned.units),
                "calls": plan.calls(planned),
                "kept": _size(plan.prediction_bytes(planned)),
                "_baseline": planned.baseline,
            }
        )
    return [Table(f"{suite.name}: {len(rows)} cells", columns, rows), *chat_tables(plan), *warnings(plan)]


def warnings(plan: Plan) -> list[str]:
    """What the user should know before work starts: cells left out, prompts not asked, files missing."""
    lines = [f"not run: {m.task} / {m.dataset} / {m.model}: {m.reason}" for m in plan.misfits]
    for planned in plan.cells:
        said = planned.cell.task.reservation(plan.classes[planned.cell.model])
        lines += [f"{planned.label}: {said}"] if said else []
    for name, dataset in plan.datasets.items():
        lines += _some(f"dataset {name}", dataset.check())
    return [*dict.fromkeys(lines), *unmet_roles(plan), *_contaminated(plan), *_sources(plan)]


def _contaminated(plan: Plan) -> list[str]:
    """Models that declare to be trained on what they are evaluated on."""
    lines: list[str] = []
    formats = {name: spec.reference for name, spec in plan.suite.dataset_specs.items()}
    for name, spec in plan.suite.model_specs.items():
        met = dict.fromkeys(planned.cell.dataset for planned in plan.cells if planned.cell.model == name)
        datasets = {dataset: plan.datasets[dataset] for dataset in met}
        lines += contamination(name, spec.trained_on, datasets, formats, plan.suite.base)
    return lines


def _sources(plan: Plan) -> list[str]:
    """Cases without a prediction and predictions without a case, of each output source that can tell."""
    lines: list[str] = []
    for name, cls in plan.classes.items():
        if getattr(cls, "source", False) and hasattr(cls, "check"):
            source = plan.build_model(name)
            for data in dict.fromkeys(p.cell.dataset for p in plan.cells if p.cell.model == name):
                missing, extra = source.check(plan.datasets[data].index.ids)
                lines += _some(f"{name}: no prediction for {data}", missing)
                lines += _some(f"{name}: of no case of {data}", extra)
    return lines


def _some(what: str, problems: Sequence[str]) -> list[str]:
    shown = [f"{what}: {problem}" for problem in problems[:PROBLEMS_SHOWN]]
    more = len(problems) - PROBLEMS_SHOWN
    return [*shown, f"{what}: {more} more"] if more > 0 else shown


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"about {size:.0f} {unit}"
        size /= 1000
    return f"about {size:.1f} TB"
