"""The report's first section: what was evaluated, on how much, and how the models did at a glance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from medeval.report import Section
from medeval.tasks.base import Task
from medeval.types.views import Column, Matrix, Table, View

Row = Mapping[str, Any]
_COLUMNS, _METRICS = 8, 3  # of the table, and of one pair of task and dataset; the sections have them all
_MAPS, _MAP_COLUMNS, _MAP_ROWS = 4, 12, 30  # heat maps of models by prompts, and how large they may be
_READING = (
    "Each number is a model's score; the brackets hold its 95% confidence interval: how far off it may be because only these "
    "patients were seen. Where there is none, patients were too few for one. ↑ higher is better, ↓ lower is better."
)  # fmt: skip


def overview_section(
    told: Sequence[tuple[Task, Sequence[Row]]], manifest: Mapping[str, Any], failed: Mapping[str, int]
) -> Section:
    """Sentences on data and failures; a row a model with its first metric on every dataset; heat maps over prompts.

    told: each task with its score rows. failed: status -> number of records.
    """
    pairs = _pairs(told)
    if not pairs:
        return Section("Overview", (), _text(manifest, failed))
    meant = "\n".join(dict.fromkeys(_meaning(task, rows[0]) for task, rows in pairs))
    maps = (_heat_map(task, rows) for task, rows in pairs if rows[0]["metric"] == _first(told, task))
    views: list[View] = [_glance(pairs), *islice((view for view in maps if view), _MAPS)]
    return Section("Overview", views, f"{_text(manifest, failed)}\n{meant}\n\n{_READING}")


def _meaning(task: Task, row: Row) -> str:
    """The metric's definition and its ends, as a line of a list."""
    ends = next(
        (metric.range for metric in task.bound_metrics if metric.name == row["metric"]), (math.inf, math.inf)
    )
    worst, best = ends if row["direction"] == "higher" else ends[::-1]
    told = f"from {worst:g} (worst) to {best:g} (best)" if all(map(math.isfinite, ends)) else ""
    return f"- {row['metric']}: {', '.join(filter(None, [row['definition'], told]))}."


def _first(told: Sequence[tuple[Task, Sequence[Row]]], task: Task) -> str:
    """The task's first metric."""
    return next((str(row["metric"]) for other, rows in told if other is task for row in rows), "")


def model_rows(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a model: its adapter and the options that say something."""
    rows = []
    for name, options in manifest.get("suite", {}).get("models", {}).items():
        said = {key: value for key, value in options.items() if value not in (None, [], {}, "")}
        adapter = said.pop("adapter", "")
        told = ", ".join(f"{key} {_plain(value)}" for key, value in said.items() if key != "baseline")
        rows.append({"model": name, "adapter": str(adapter), "role": "baseline" if said.get("baseline") else "", "options": told})  # fmt: skip
    return rows


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(manifest: Mapping[str, Any], failed: Mapping[str, int]) -> str:
    models, datasets = manifest.get("suite", {}).get("models", {}), manifest.get("datasets", {})
    asked = "; ".join(f"{name}: {counted(data)}" for name, data in datasets.items())
    broken = ", ".join(f"{count} {status}" for status, count in failed.items())
    return "\n".join(
        [
            f"- {len(models)} model{'s' * (len(models) != 1)} on {len(datasets)} dataset{'s' * (len(datasets) != 1)} ({asked}).",
            f"- {f'Records that failed: {broken}; their causes stand under Failures' if failed else 'No record failed'}.",
        ]
    )  # fmt: skip


def counted(data: Mapping[str, Any]) -> str:
    """``5 cases, 1 patient``, of a dataset's entry in the manifest."""
    cases, patients = data.get("cases"), data.get("patients")
    whose = "patients unknown" if patients is None else f"{patients} patient{'s' * (patients != 1)}"
    return f"{cases} case{'s' * (cases != 1)}, {whose}"


def _pairs(told: Sequence[tuple[Task, Sequence[Row]]]) -> list[tuple[Task, list[Row]]]:
    """Of each task and dataset the rows of the first metric, over all cases; of further metrics where one pair is all."""
    found = []
    for task, scores in told:
        plain = [row for row in scores if not row["by"] and "curve" not in row]
        for dataset in dict.fromkeys(row["dataset"] for row in plain):
            metrics: dict[str, list[Row]] = {}
            for row in plain:
                if row["dataset"] == dataset:
                    metrics.setdefault(row["metric"], []).append(row)
            found.append([(task, rows) for rows in metrics.values()])
    each = _METRICS if len(found) == 1 else 1
    return [pair for pairs in found for pair in pairs[:each]][:_COLUMNS]


def _prompts(task: Task, rows: Sequence[Row]) -> list[str]:
    """The prompts of these rows in the suite's order."""
    there = dict.fromkeys(row["prompt"] for row in rows)
    return list(dict.fromkeys([*(p for p in task.prompt_order if p in there), *there]))


def _name(row: Row) -> str:
    return " ".join(filter(None, [row["model"], row["arm"]]))


def _glance(pairs: Sequence[tuple[Task, list[Row]]]) -> Table:
    """A row a model, best first by the first column; each column one task and dataset, by the suite's first prompt."""
    columns: list[Column] = []
    lines: dict[str, dict[str, Any]] = {}
    for number, (task, rows) in enumerate(pairs):
        prompt, first = _prompts(task, rows)[0], rows[0]
        unit = f" [{first['unit']}]" if first["unit"] else ""
        asked = f"; {prompt}" if prompt else ""
        columns.append(Column(f"{number}", f"{first['metric']}{unit}", "interval", f"{task.label} on {first['dataset']}{asked}", first["direction"]))  # fmt: skip
        for row in rows:
            if row["prompt"] == prompt:
                line = lines.setdefault(_name(row), {"model": _name(row), "_baseline": row["baseline"]})
                line[f"{number}"] = {key: row.get(key) for key in ("value", "low", "high", "bounds")}
    signs = [-1 if rows[0]["direction"] == "higher" else 1 for _, rows in pairs]
    ordered = sorted(
        lines.values(), key=lambda line: [_place(line.get(f"{n}"), sign) for n, sign in enumerate(signs)]
    )
    several = any(len(_prompts(task, rows)) > 1 for task, rows in pairs)
    note = "Of several prompts the suite's first is shown here; Scores has them all." if several else ""
    return Table("Models at a glance", [Column("model"), *columns], ordered, note)


def _place(cell: Mapping[str, Any] | None, sign: int) -> tuple[bool, float]:
    value = None if cell is None else cell["value"]
    return (value is None, sign * (value or 0.0))


def _heat_map(task: Task, rows: Sequence[Row]) -> Matrix | None:
    """Models (a row) by prompts (a column), where both are several."""
    prompts, models = _prompts(task, rows), list(dict.fromkeys(map(_name, rows)))
    if not (2 <= len(prompts) <= _MAP_COLUMNS and 2 <= len(models) <= _MAP_ROWS):
        return None
    found = {(_name(row), row["prompt"]): row["value"] for row in rows}
    first = rows[0]
    unit = f" [{first['unit']}]" if first["unit"] else ""
    title = f"{first['metric']}{unit} by model and prompt: {task.label} on {first['dataset']}"
    values = [[found.get((model, prompt)) for prompt in prompts] for model in models]
    return Matrix(title, models, prompts, values, f"{first['direction'].capitalize()} is better.")
