"""Score rows as plain views: tables with intervals, curves over rounds, a gallery. The report draws them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medeval.types import Key
from medeval.types.views import Column, Curve, Forest, Gallery, GalleryItem, Matrix, Series, Table, View

if TYPE_CHECKING:
    from medeval.tasks.base import Task

Row = Mapping[str, Any]
FOREST_ROWS = 40  # of a forest plot; the table has them all
GALLERY_MODELS = 8  # pictures of at most so many models a dataset: a report is to be looked at


def build_views(task: Task, scores: Sequence[Row], curves: Sequence[Row], picks: Sequence[Row]) -> list[View]:
    """The report's views of one task."""
    views: list[View] = []
    sessions = [row for row in scores if "curve" in row and "about" not in row]
    scores = [row for row in scores if "curve" not in row]
    for dataset in dict.fromkeys(row["dataset"] for row in scores):
        mine = [row for row in scores if row["dataset"] == dataset]
        views += _overview(task, dataset, [row for row in mine if not row["by"]])
        for by in ("", *task.by):
            rows = [row for row in mine if row["by"] == by]
            if rows:
                views.append(
                    score_table(
                        f"{task.label} on {dataset}" + (f", by {by}" if by else ""), rows, task.ladder
                    )
                )
                views += _heat_map(task, dataset, by, rows) if by else []
        clicked = [row for row in sessions if row["dataset"] == dataset]
        if clicked:
            title = f"Click sessions of {task.label} on {dataset}, by {clicked[0]['curve']}"
            views.append(score_table(title, clicked, task.ladder))
        views += _curves(task, dataset, [row for row in curves if row["dataset"] == dataset])
    if picks:
        views.append(_gallery(task, picks))
    return views


def _overview(task: Task, dataset: str, rows: Sequence[Row]) -> list[View]:
    """The models beside each other by the first metric, where they are few enough to be looked at."""
    first = [row for row in rows if row["metric"] == rows[0]["metric"]]
    if not 2 <= len(first) <= FOREST_ROWS:
        return []
    lines = [
        {
            "label": " ".join(filter(None, [row["model"], row["arm"], row["prompt"]])),
            "baseline": row["baseline"],
            **{key: row[key] for key in ("value", "low", "high", "n")},
        }
        for row in first
    ]
    axis = _axis(first[0])
    return [Forest(f"{axis}: {task.label} on {dataset}", f"{axis}, {first[0]['direction']} is better", lines)]


def _heat_map(task: Task, dataset: str, by: str, rows: Sequence[Row]) -> list[View]:
    """Groups (a row) by models (a column) of the first metric and the first prompt, where both are several."""
    first = [r for r in rows if r["metric"] == rows[0]["metric"] and r["prompt"] == rows[0]["prompt"]]
    values = {(" · ".join(map(str, r["group"].values())), " ".join(filter(None, [r["model"], r["arm"]]))): r["value"] for r in first}  # fmt: skip
    groups, models = (list(dict.fromkeys(name[axis] for name in values)) for axis in (0, 1))
    if min(len(groups), len(models)) < 2:
        return []
    asked = f", {rows[0]['prompt']}" if rows[0]["prompt"] else ""
    title = f"{_axis(first[0])} by {by}: {task.label} on {dataset}{asked}"
    return [Matrix(title, groups, models, [[values.get((group, model)) for model in models] for group in groups])]  # fmt: skip


def _axis(row: Row) -> str:
    return f"{row['metric']} [{row['unit']}]" if row["unit"] else str(row["metric"])


def score_table(title: str, rows: Sequence[Row], ladder: str = "") -> Table:
    """One row a (model, arm, prompt, group), one column a metric."""
    metrics = {row["metric"]: row for row in rows}
    groups = list(dict.fromkeys(name for row in rows for name in row["group"]))
    prompted = any(row["prompt"] for row in rows)
    armed = any(row["arm"] for row in rows)
    several = len({row["task"] for row in rows}) > 1
    columns = [
        *(Column(name) for name in groups),
        Column("model"),
        *([Column("task")] if several else []),
        *([Column("arm")] if armed else []),
        *([Column("prompt", "prompt (from ground truth)" if ladder else "prompt")] if prompted else []),
        *(_metric_column(name, row) for name, row in metrics.items()),
        Column("n", "n", "integer", "records"),
        Column("patients", "patients", "text"),
        Column("failed", "failed", "text", "cases that failed, by cause"),
        Column(
            "undefined",
            "undefined",
            "text",
            "absent structures, what a model does not do, values that a metric's rule leaves undefined",
        ),
    ]
    lines: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        identity = (*row["group"].values(), row["task"], row["model"], row["arm"], row["prompt"])
        line = lines.setdefault(identity, _line(row))
        line[row["metric"]] = _cell(row)
        _add_counts(line, row)
    return Table(title, columns, list(lines.values()), table_note(rows))


def _metric_column(name: str, row: Row) -> Column:
    return Column(
        name,
        f"{name} [{row['unit']}]" if row["unit"] else name,
        "interval",
        row["definition"],
        row["direction"],
    )


def _line(row: Row) -> dict[str, Any]:
    return {
        **{name: str(value) for name, value in row["group"].items()},
        "model": row["model"],
        "task": row["task"],
        "arm": row["arm"],
        "prompt": row["prompt"] or "none",
        "n": row["n"],
        "patients": "unknown" if row["patients"] is None else str(row["patients"]),
        "failed": _failed(row),
        "undefined": "",
        "_baseline": row["baseline"],
    }


def _cell(row: Row) -> dict[str, Any]:
    keys = ("value", "low", "high", "n", "patients", "note", "bounds")
    return {key: row[key] for key in keys if key in row}


def _failed(row: Row) -> str:
    causes = ", ".join(f"{count} {cause}" for cause, count in row["failed"].items())
    return f"{row['failed_cases']} ({causes})" if causes else "0"


def _add_counts(line: dict[str, Any], row: Row) -> None:
    parts = [f"{row['metric']}: {count} {rule}" for rule, count in row["undefined"].items()]
    if not line["undefined"]:
        counted = {"absent": row.get("absent"), "not covered": row.get("not_covered")}
        parts = [*(f"{count} {what}" for what, count in counted.items() if count), *parts]
    line["undefined"] = "; ".join(filter(None, [line["undefined"], *parts]))


def table_note(rows: Sequence[Row]) -> str:
    """What must be said of all rows: the estimand and what the intervals rest on."""
    notes = dict.fromkeys(note for row in rows for note in str(row.get("note") or "").split("; ") if note)
    estimands = dict.fromkeys(row["estimand"] for row in rows if row.get("estimand"))
    return "; ".join([*estimands, *notes])


def _curves(task: Task, dataset: str, rows: Sequence[Row]) -> list[View]:
    views: list[View] = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        lines: dict[tuple[str, str, str], list[Row]] = {}
        for row in rows:
            if row["metric"] == metric:
                lines.setdefault((row["model"], row["arm"], row["prompt"]), []).append(row)
        series = [_series(key, points) for key, points in _longest(lines).items()]
        unit = next(row["unit"] for row in rows if row["metric"] == metric)
        title = f"{metric} against {task.ladder or 'rounds'}: {task.label} on {dataset}"
        views.append(Curve(title, f"round ({task.ladder})", f"{metric} [{unit}]" if unit else metric, series))
    return views


def _longest(lines: dict[tuple[str, str, str], list[Row]]) -> dict[tuple[str, str, str], list[Row]]:
    """Of settings that are one session read off at several lengths only the longest is drawn."""
    kept: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for key, points in lines.items():
        family = (key[0], key[1], _opening(key[2]))
        if family not in kept or len(points) > len(lines[kept[family]]):
            kept[family] = key
    return {key: lines[key] for key in kept.values()}


def _opening(prompt: str) -> str:
    """What a setting begins with before its clicks: ``box jitter 5 + 3 clicks`` -> ``box jitter 5``."""
    return re.sub(r"( \+ )?\d+ clicks?$", "", prompt)


def _series(key: tuple[str, str, str], points: Sequence[Row]) -> Series:
    model, arm, prompt = key
    first = _opening(prompt)
    name = " ".join(filter(None, [model, arm, f"({first} first)" if first else ""]))
    return Series(
        name,
        [row["round"] for row in points],
        [row["value"] for row in points],
        [row["low"] for row in points] if any(row["low"] is not None for row in points) else (),
        [row["high"] for row in points] if any(row["high"] is not None for row in points) else (),
        points[0]["baseline"],
        [row.get("records_shown") for row in points],
    )


def _gallery(task: Task, picks: Sequence[Row]) -> Gallery:
    items, models = [], dict.fromkeys((row["dataset"], row["model"]) for row in picks if not row["baseline"])
    models |= dict.fromkeys((row["dataset"], row["model"]) for row in picks)
    for dataset, model in list(models)[:GALLERY_MODELS]:
        for row in picks:
            if (row["dataset"], row["model"]) == (dataset, model):
                key = Key(row["structure"], row["prompt"], row["round"], row["sample"])
                caption = " · ".join(
                    filter(None, [row["case"], row["structure"], row["prompt"], row["shown"]])
                )
                items.append(
                    GalleryItem(
                        dataset, model, row["arm"], row["seed"], row["case"], key, caption, row["rank"]
                    )
                )
    return Gallery(f"Cases of {task.label}: best, median, worst, failed", items)
