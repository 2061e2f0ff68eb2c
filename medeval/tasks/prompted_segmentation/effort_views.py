"""Quality against what it costs the user: curves over interaction cost, and a table of effort by setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medeval.interaction import parse_prompt
from medeval.interaction.effort import EFFORT_COLUMNS, cost_of
from medeval.tasks.summary import CellScorer
from medeval.types.views import Column, Curve, Series, Table, View

Row = Mapping[str, Any]
_TITLES = {
    "n_clicks": "clicks", "n_boxes": "boxes", "n_lines": "lines", "n_slices": "slices", "drawn_mm": "drawn [mm]",
    "human_seconds": "user [s]",
}  # fmt: skip


def effort_points(scorer: CellScorer, weights: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row a (prompt, round, metric): the score with its interval, and the mean effort and cost at that round.

    Effort is of the sessions that were answered; a mask that was given as the prompt has none and no row.
    """
    mean = {(p, r): effort for p, r, effort in _mean_efforts(scorer, weights)}
    single = [row | {"round": 1} for row in scorer.plain_scores()]
    several = {(row["prompt"], row["metric"]) for row in scorer.curves()}
    rows = [*scorer.curves(), *(row for row in single if (row["prompt"], row["metric"]) not in several)]
    return [
        {**row, **mean[row["prompt"], row["round"]]} for row in rows if (row["prompt"], row["round"]) in mean
    ]


def _mean_efforts(scorer: CellScorer, weights: Mapping[str, float]) -> Any:
    rounds = scorer.column("round")
    for prompt, members in scorer.by_prompt(np.arange(len(rounds))):
        for number in np.unique(rounds[members]):
            part = members[rounds[members] == number]
            effort = {name: _mean(scorer.column(name)[part]) for name in (*EFFORT_COLUMNS, "human_seconds")}
            placed = [effort[name] for name in ("n_clicks", "n_boxes", "n_lines")]
            if all(value is not None for value in placed) and (any(placed) or _clicks_alone(prompt)):
                counted = {name: value or 0.0 for name, value in effort.items()}
                yield prompt, max(1, int(number)), {**effort, "cost": float(cost_of(counted, weights))}


def _clicks_alone(prompt: str) -> bool:
    """True for sessions that begin with nothing: their round without a click costs nothing, and says so."""
    return bool(parse_prompt(prompt).pairs)


def effort_views(task: str, points: Sequence[Row], weights: Mapping[str, float]) -> list[View]:
    """Of each dataset: curves of every metric over interaction cost, and the effort of each setting's last round."""
    note = "Interaction cost: " + ", ".join(f"{value:g} a {kind}" for kind, value in weights.items() if value)
    views: list[View] = []
    for dataset in dict.fromkeys(row["dataset"] for row in points):
        rows = [row for row in points if row["dataset"] == dataset]
        for metric in dict.fromkeys(row["metric"] for row in rows):
            views.append(_curve(task, dataset, metric, [r for r in rows if r["metric"] == metric], note))
        views.append(_table(task, dataset, rows, note))
    return views


def _curve(task: str, dataset: str, metric: str, rows: Sequence[Row], note: str) -> Curve:
    lines: dict[tuple, list[Row]] = {}
    for row in rows:
        lines.setdefault((row["model"], row["arm"], _family(row["prompt"])), []).append(row)
    series = [_series(key, _longest(points)) for key, points in lines.items()]
    unit = rows[0]["unit"]
    words = "Each line is one kind of session; points are its rounds, intervals resample whole sessions by patient."
    return Curve(
        f"{metric} against interaction cost: {task} on {dataset}",
        "interaction cost",
        f"{metric} [{unit}]" if unit else metric,
        series,
        f"{words} {note}.",
    )


def _family(prompt: str) -> str:
    """Settings that are one session read off at several lengths: ``3 slice boxes + 5 clicks`` -> ``3 slice boxes``."""
    setting = parse_prompt(prompt)
    return setting.opening or ("clicks" if setting.clicks else setting.label)


def _longest(points: Sequence[Row]) -> list[Row]:
    by_prompt: dict[str, list[Row]] = {}
    for row in points:
        by_prompt.setdefault(row["prompt"], []).append(row)
    longest = max(by_prompt.values(), key=lambda rows: len(rows))
    return sorted(longest, key=lambda row: int(row["round"]))


def _series(key: tuple, points: Sequence[Row]) -> Series:
    model, arm, family = key
    bounded = any(row["low"] is not None for row in points)
    return Series(
        " ".join(filter(None, [model, arm, f"({family})"])),
        [round(row["cost"], 2) for row in points],
        [row["value"] for row in points],
        [row["low"] for row in points] if bounded else (),
        [row["high"] for row in points] if bounded else (),
        points[0]["baseline"],
        [row.get("records_shown") for row in points],
    )


def _table(task: str, dataset: str, rows: Sequence[Row], note: str) -> Table:
    last: dict[tuple, Row] = {}
    for row in rows:
        key = (row["model"], row["arm"], row["prompt"])
        if key not in last or row["round"] > last[key]["round"]:
            last[key] = row
    given = [name for name in _TITLES if any(row.get(name) is not None for row in last.values())]
    armed = any(row["arm"] for row in last.values())
    columns = [
        Column("model"), *([Column("arm")] if armed else []), Column("prompt", "prompt (from ground truth)"),
        *(Column(name, _TITLES[name], "number") for name in given), Column("cost", "interaction cost", "number"),
    ]  # fmt: skip
    lines = [
        {
            "model": row["model"], "arm": row["arm"], "prompt": row["prompt"], "cost": row["cost"],
            "_baseline": row["baseline"], **{name: row.get(name) for name in given},
        }
        for row in last.values()
    ]  # fmt: skip
    return Table(
        f"Effort of {task} on {dataset}, mean of a session", columns, lines, f"{note}; after the last round"
    )


def _mean(values: Any) -> float | None:
    known = [float(value) for value in values if value is not None and value == value]
    return float(np.mean(known)) if known else None
