"""Geometry of ``Curve`` and ``Forest``; templates draw it as SVG, once wide and once for a telephone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from medeval.report.numbers import decimals, finite, interval_text, number_text, plain
from medeval.report.scales import MARKERS, PALETTE, Scale, marker, shortened, span, told_apart
from medeval.types.views import Column, Curve, Forest, Series, Table

WIDE, NARROW = 760, 336
_MANY_ROWS = 200  # of a curve's table
_MANY_X = 12  # above so many points a line's intervals are bands, below they are whiskers


def curve(view: Curve) -> dict[str, Any]:
    """Both drawings of a curve, its legend, a sentence for screen readers and its values as a table."""
    places = decimals(y for series in view.series for y in series.y)
    flags = told_apart([series.baseline for series in view.series])
    view = replace(view, series=[replace(s, baseline=b) for s, b in zip(view.series, flags, strict=True)])
    legend = [
        {
            "name": plain(s.name),
            "colour": i % PALETTE,
            "baseline": s.baseline,
            "marker": marker(_shape(i), 13, 7),
        }
        for i, s in enumerate(view.series)
    ]
    return {
        "drawings": [_curve_drawing(view, width, places) for width in (WIDE, NARROW)],
        "legend": legend,
        "description": _curve_description(view, places),
        "table": _curve_table(view),
    }


def _shape(number: int) -> int:
    return (number + number // PALETTE) % MARKERS


def _curve_drawing(view: Curve, width: int, places: int) -> dict[str, Any]:
    height = 380 if width == WIDE else 290
    left, right, top, bottom = 58, width - 14, 14, height - 48
    xs = sorted({float(x) for series in view.series for x in series.x})
    x = Scale(*span(xs, 0.04), left, right)
    y = Scale(*span(v for s in view.series for v in (*s.y, *s.low, *s.high)), bottom, top)
    whole = len(xs) <= _MANY_X and all(value == int(value) for value in xs)
    gap = min((x(b) - x(a) for a, b in pairwise(xs)), default=60)
    bands = max((len(series.x) for series in view.series), default=0) > _MANY_X
    lines = [
        _curve_line(series, number, len(view.series), x, y, gap, bands, places)
        for number, series in enumerate(view.series)
    ]
    x_ticks = (
        [(value, str(int(value))) for value in xs] if whole and xs else x.ticks(7 if width == WIDE else 5)
    )
    return {
        "width": width, "height": height, "left": left, "right": right, "top": top, "bottom": bottom, "lines": lines,
        "x_ticks": [(x(value), text) for value, text in x_ticks], "y_ticks": [(y(value), text) for value, text in y.ticks()],
    }  # fmt: skip


def _curve_line(
    series: Series, number: int, among: int, x: Scale, y: Scale, gap: float, bands: bool, places: int
) -> dict[str, Any]:
    """One series; several series stand side by side at each x, so that no whisker hides another."""
    beside = min(5.0, 0.5 * gap / max(1, among)) if series.low and not bands else 0.0
    shift = (number - (among - 1) / 2) * beside
    points: list[dict[str, Any] | None] = []
    whiskers, upper, lower = [], [], []
    for i, (at, value) in enumerate(zip(series.x, series.y, strict=True)):
        low = finite(series.low[i]) if series.low else None
        high = finite(series.high[i]) if series.high else None
        if finite(value) is None:
            points.append(None)
            continue
        px, py = round(x(float(at)) + shift, 1), y(float(value))  # type: ignore[arg-type]
        text = f"{plain(series.name)}, {at:g}: {number_text(value, places)} {interval_text(low, high, places)}".strip()
        points.append({"x": px, "y": py, "text": text, "marker": marker(_shape(number), px, py)})
        if low is not None and high is not None:
            whiskers.append((px, y(low), y(high)))
            upper.append(f"{px} {y(high)}")
            lower.append(f"{px} {y(low)}")
    band = f"M{'L'.join(upper)}L{'L'.join(reversed(lower))}Z" if bands and upper else ""
    return {
        "name": plain(series.name), "colour": number % PALETTE, "baseline": series.baseline, "path": _path(points),
        "points": [p for p in points if p and not bands], "whiskers": [] if bands else whiskers, "band": band,
    }  # fmt: skip


def _path(points: Sequence[dict[str, Any] | None]) -> str:
    """A line through the points, broken where one is missing."""
    path, pen = "", "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        path += f"{pen}{point['x']} {point['y']}"
        pen = "L"
    return path


def _curve_description(view: Curve, places: int) -> str:
    parts = []
    for series in view.series:
        known = [
            (at, value) for at, value in zip(series.x, series.y, strict=True) if finite(value) is not None
        ]
        if known:
            (first, a), (last, b) = known[0], known[-1]
            parts.append(
                f"{plain(series.name)}: {number_text(a, places)} at {first:g}, {number_text(b, places)} at {last:g}"
            )
    return f"{plain(view.y_title)} against {plain(view.x_title)}. " + "; ".join(parts)


def _curve_table(view: Curve) -> Table:
    """The curve's values: a row a series, a column an x; where x are many a row a point, evenly some of them."""
    xs = sorted({float(x) for series in view.series for x in series.x})
    title = f"{view.y_title} by {view.x_title}"
    if len(xs) > _MANY_X:
        return _long_table(view, title)
    rows = []
    for series in view.series:
        row: dict[str, Any] = {"series": series.name, "_baseline": series.baseline}
        row |= {f"{float(at):g}": _interval(series, i) for i, at in enumerate(series.x)}
        rows.append(row)
    columns = [Column("series", ""), *(Column(f"{x:g}", f"{x:g}", "interval") for x in xs)]
    return Table(title, columns, rows)


def _long_table(view: Curve, title: str) -> Table:
    rows: list[dict[str, Any]] = []
    most = max(2, _MANY_ROWS // max(1, len(view.series)))
    for series in view.series:
        last = len(series.x) - 1
        chosen = (
            sorted({round(n * last / (most - 1)) for n in range(most)}) if last >= most else range(last + 1)
        )
        rows += [
            {"series": series.name, "_baseline": series.baseline, "x": series.x[i], "y": _interval(series, i)}
            for i in chosen
        ]
    total = sum(len(series.x) for series in view.series)
    note = f"{len(rows)} of {total:,} points." if len(rows) < total else ""
    columns = [
        Column("series", ""),
        Column("x", view.x_title, "number"),
        Column("y", view.y_title, "interval"),
    ]
    return Table(title, columns, rows, note)


def _interval(series: Series, i: int) -> dict[str, Any]:
    low, high = (ends[i] if ends else None for ends in (series.low, series.high))
    return {"value": series.y[i], "low": low, "high": high}


def forest(view: Forest) -> dict[str, Any]:
    """Both drawings of a forest plot and a sentence for screen readers."""
    places = decimals(row.get(key) for row in view.rows for key in ("value", "low", "high"))
    flags = told_apart([bool(row.get("baseline")) for row in view.rows])
    rows = [{**row, "baseline": flag} for row, flag in zip(view.rows, flags, strict=True)]
    view = replace(view, rows=rows)
    drawings = [_forest_drawing(view, width, places) for width in (WIDE, NARROW)]
    parts = [f"{row['label']}: {row['value']} {row['interval']}".strip() for row in drawings[0]["rows"]]
    return {"drawings": drawings, "description": f"{plain(view.x_title)}. " + "; ".join(parts)}


def _forest_drawing(view: Forest, width: int, places: int) -> dict[str, Any]:
    """Wide: label, plot and numbers in three columns. Narrow: label and numbers above each line."""
    wide = width == WIDE
    longest = max((len(plain(row.get("label"))) for row in view.rows), default=0)
    column = min(300, max(80, 7 * longest + 8))
    row_height, left, right = (28, column + 20, width - 232) if wide else (50, 12, width - 12)
    top, bottom = 6, 6 + row_height * len(view.rows)
    x = Scale(
        *span(row.get(key) for row in view.rows for key in ("value", "low", "high", "before")), left, right
    )
    rows = []
    for number, row in enumerate(view.rows):
        value, low, high = (finite(row.get(key)) for key in ("value", "low", "high"))
        y = top + row_height * number + (row_height / 2 if wide else 34)
        n = row.get("n")
        rows.append({
            "y": y, "label_y": y if wide else y - 18, "label": plain(row.get("label")),
            "short": shortened(plain(row.get("label")), column if wide else width - 150, 6.7 if wide else 6.2),
            "value": number_text(value, places), "interval": interval_text(low, high, places),
            "n": "" if n is None else f"n {n:,}", "baseline": bool(row.get("baseline")),
            "low": None if low is None else x(low), "high": None if high is None else x(high),
            **_before(row, x, y, places),
            "marker": "" if value is None else marker(3 if row.get("baseline") else 1, x(value), y),
            "stripe": (top + row_height * number, row_height) if number % 2 else None,
        })  # fmt: skip
    return {
        "width": width, "height": bottom + 46, "left": left, "right": right, "top": top, "bottom": bottom, "rows": rows,
        "x_ticks": [(x(value), text) for value, text in x.ticks(6 if wide else 5)], "wide": wide,
    }  # fmt: skip


def _before(row: Mapping[str, Any], x: Scale, y: float, places: int) -> dict[str, Any]:
    """Where a paired row's value stood before: a circle of 4 and a line from it."""
    before, value = finite(row.get("before")), finite(row.get("value"))
    if before is None or value is None:
        return {"before": ""}
    at, to = x(before), x(value)
    circle = f"M{at - 4} {y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"
    return {"before": circle, "before_line": f"M{at} {y}H{to}", "before_text": number_text(before, places)}
