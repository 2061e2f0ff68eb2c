"""Geometry of the plots that show single records: distributions (rainclouds) and Bland-Altman panels.

Every point carries a number; one list a view says which record each number is, so that a page of some thousand points
stays small and a click on a point can open its case.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.report.numbers import decimals, finite, number_text, plain
from medeval.report.plots import NARROW, WIDE
from medeval.report.scales import PALETTE, Scale, shortened, span, told_apart
from medeval.types.views import (
    BlandAltman,
    CaseGroup,
    CasePoint,
    Column,
    Curve,
    Distribution,
    GalleryItem,
    Table,
)

_ROW, _CLOUD = 74, 26  # pixels of a row of a distribution, and of its density
_PANEL = 240
_GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples spread points evenly over a band, whatever their number


def anchor(dataset: str, model: str, arm: str, seed: int, case_id: str, key: Sequence[Any]) -> str:
    """What a record's picture and its points are found by in the page: 12 hexadecimal digits."""
    named = json.dumps([dataset, model, arm, seed, case_id, *key])
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def item_anchor(item: GalleryItem) -> str:
    """The anchor of a gallery item's record."""
    return anchor(item.dataset, item.model, item.arm, item.seed, item.case_id, item.key)


def distribution(view: Distribution) -> dict[str, Any]:
    """The parts of a distribution, each drawn wide and narrow, its values as a table, and what its points are.

    Raises ``ValueError`` for a group without q1, median and q3.
    """
    view = replace(view, groups=_checked(view.title, view.groups, ("q1", "median", "q3")))
    places = decimals(point.x for group in view.groups for point in group.points)
    limits = span(point.x for group in view.groups for point in group.points)
    first, parts = 0, []
    for name, groups in _parts(view.groups):
        drawings = [_rows(groups, limits, width, places, first) for width in (WIDE, NARROW)]
        parts.append({"name": name, "drawings": drawings, "description": _spoken(groups, places)})
        first += sum(len(group.points) for group in groups)
    columns = [Column("q1", "1st quartile", "number"), Column("median", "median", "number"),
               Column("q3", "3rd quartile", "number")]  # fmt: skip
    return {
        "parts": parts, "x_title": plain(view.x_title), "table": _table(view.title, view.groups, columns),
        "data": _data(view.groups, [plain(view.x_title)], places),
    }  # fmt: skip


def bland_altman(view: BlandAltman) -> dict[str, Any]:
    """The parts of a Bland-Altman view, a panel a group, all on the same axes. Raises ``ValueError`` as ``distribution``."""
    view = replace(view, groups=_checked(view.title, view.groups, ("bias", "low", "high")))
    places = decimals(group.marks["bias"] for group in view.groups)
    xs = span(point.x for group in view.groups for point in group.points)
    ys = span([*(point.y for g in view.groups for point in g.points), *(v for g in view.groups for v in g.marks.values())])  # fmt: skip
    first, parts = 0, []
    for name, groups in _parts(view.groups):
        panels = []
        for group in groups:
            panels.append(_panel(group, xs, ys, places, first))
            first += len(group.points)
        parts.append({"name": name, "panels": panels})
    columns = [Column("bias", "mean difference", "number"), Column("low", "lower limit", "number"),
               Column("high", "upper limit", "number")]  # fmt: skip
    return {
        "parts": parts, "x_title": plain(view.x_title), "y_title": plain(view.y_title),
        "table": _table(view.title, view.groups, columns),
        "data": _data(view.groups, [plain(view.x_title), plain(view.y_title)], places),
    }  # fmt: skip


def _checked(title: str, groups: Sequence[CaseGroup], needed: Sequence[str]) -> list[CaseGroup]:
    """The groups, marked as baselines where that tells them apart. Raises ``ValueError`` for a mark that is no number."""
    for group in groups:
        lacking = [name for name in needed if not math.isfinite(group.marks.get(name, math.nan))]
        if lacking:
            raise ValueError(
                f"{title!r}, group {group.name!r}: no finite {', '.join(lacking)} among its marks"
            )
    flags = told_apart([group.baseline for group in groups])
    return [replace(group, baseline=flag) for group, flag in zip(groups, flags, strict=True)]


def _parts(groups: Sequence[CaseGroup]) -> Iterable[tuple[str, list[CaseGroup]]]:
    return [(plain(name), list(part)) for name, part in groupby(groups, key=lambda group: group.part)]


def _rows(
    groups: Sequence[CaseGroup], limits: tuple[float, float], width: int, places: int, first: int
) -> dict[str, Any]:
    wide = width == WIDE
    column = min(240, max(90, 7 * max(len(plain(group.name)) for group in groups) + 8)) if wide else 12
    left, right, top = column, width - 14, 4 if wide else 20
    height = _ROW if wide else _ROW + 14
    x = Scale(*limits, left, right)
    bottom = top + height * len(groups) - (0 if wide else 14)
    rows = []
    for number, group in enumerate(groups):
        rows.append(_cloud(group, x, top + height * number, places, first, number))
        rows[-1] |= {"label_x": 0 if wide else 4, "short": shortened(plain(group.name), column if wide else width - 20),
                     "label_y": top + height * number + (_ROW / 2 if wide else -8)}  # fmt: skip
        first += len(group.points)
    return {
        "width": width, "height": bottom + 46, "left": left, "right": right, "top": top, "bottom": bottom, "rows": rows,
        "x_ticks": [(x(value), text) for value, text in x.ticks(8 if wide else 5)],
    }  # fmt: skip


def _cloud(group: CaseGroup, x: Scale, top: float, places: int, first: int, number: int) -> dict[str, Any]:
    """Density above, the box of the quartiles below it, the points underneath."""
    base, rain = top + 8 + _CLOUD, top + 20 + _CLOUD
    points = [
        (x(point.x), round(rain + 16 * ((n + 1) * _GOLDEN % 1), 1), first + n)
        for n, point in enumerate(group.points)
    ]
    q1, median, q3 = (group.marks[name] for name in ("q1", "median", "q3"))
    text = f"median {number_text(median, places)}, quartiles {number_text(q1, places)} to {number_text(q3, places)}"
    return {
        "name": plain(group.name), "colour": number % PALETTE, "baseline": group.baseline, "points": points,
        "density": _density([point.x for point in group.points], x, base), "text": f"{text}, n {group.n:,}",
        "box": (x(q1), x(median), x(q3)), "box_y": base + 4,
    }  # fmt: skip


def _density(values: Sequence[float], x: Scale, base: float) -> str:
    """Gaussian kernel density within the range of the values (Silverman's bandwidth), as a closed SVG path."""
    found = np.asarray(values, dtype=np.float64)
    if len(found) < 5 or found.min() == found.max():
        return ""
    at = np.linspace(found.min(), found.max(), 61)
    heights = _kernel(found, at)
    tops = base - heights / heights.max() * _CLOUD
    line = "L".join(f"{x(float(a))} {round(float(t), 1)}" for a, t in zip(at, tops, strict=True))
    return f"M{x(float(at[0]))} {base}L{line}L{x(float(at[-1]))} {base}Z"


def _kernel(values: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.percentile(values, (25, 75))
    spread = min(values.std(), (high - low) / 1.34) or values.std()
    width = 0.9 * spread * len(values) ** -0.2
    return np.asarray(np.exp(-0.5 * ((at[:, None] - values[None]) / width) ** 2).sum(axis=1))


def _panel(
    group: CaseGroup, xs: tuple[float, float], ys: tuple[float, float], places: int, first: int
) -> dict[str, Any]:
    left, right, top, bottom = 70, NARROW - 26, 8, _PANEL - 42
    x, y = Scale(*xs, left, right), Scale(*ys, bottom, top)
    bias, low, high = (group.marks[name] for name in ("bias", "low", "high"))
    said = [number_text(value, places) for value in (bias, low, high)]
    return {
        "name": plain(group.name), "baseline": group.baseline, "n": group.n,
        "width": NARROW, "height": _PANEL, "left": left, "right": right, "top": top, "bottom": bottom,
        "points": [(x(point.x), y(point.y), first + n) for n, point in enumerate(group.points)],
        "bias": y(bias), "limits": (y(low), y(high)), "zero": y(0.0) if ys[0] <= 0 <= ys[1] else None,
        "x_ticks": [(x(value), text) for value, text in x.ticks(4)], "y_ticks": [(y(value), text) for value, text in y.ticks(5)],
        "text": f"mean difference {said[0]}, limits of agreement {said[1]} to {said[2]}, n {group.n:,}",
    }  # fmt: skip


def _spoken(groups: Sequence[CaseGroup], places: int) -> str:
    return "; ".join(
        f"{plain(group.name)}: median {number_text(group.marks['median'], places)}, n {group.n:,}"
        for group in groups
    )


def _table(title: str, groups: Sequence[CaseGroup], columns: Sequence[Column]) -> Table:
    rows = [
        {"_group": group.part, "_baseline": group.baseline, "name": group.name, "n": group.n, **group.marks}
        for group in groups
    ]
    return Table(title, [Column("name", "model"), Column("n", "n", "integer"), *columns], rows)


def curve_data(view: Curve) -> Mapping[str, Any] | None:
    """For the page's script: of each line, of each of its vertices, the group of records that it stands for and its name.

    None where no point has records to open. Vertices are the points with a value, in their order.
    """
    if not any(group and group.points for series in view.series for group in series.records):
        return None
    groups: list[CaseGroup] = []
    lines = []
    places = decimals(y for series in view.series for y in series.y)
    for series in view.series:
        line = []
        for n, (at, value) in enumerate(zip(series.x, series.y, strict=True)):
            group = series.records[n] if n < len(series.records) else None
            if finite(value) is not None:
                there = group is not None and len(group.points) > 0
                line.append([len(groups) if there else -1, f"{at:.3g}: {number_text(value, places)}"])
                groups += [group] if there and group is not None else []
        lines.append([plain(series.name), line])
    return {**_data(groups, [], 3), "lines": lines, "x": plain(view.x_title), "y": plain(view.y_title)}


def _data(groups: Sequence[CaseGroup], axes: Sequence[str], places: int) -> Mapping[str, Any]:
    """For the page's script: names of the values, groups, and of every point its group, record, anchor and values."""
    told = list(dict.fromkeys(plain(name) for group in groups for name in group.scores))
    scores = [name for name in told if name not in axes]
    return {
        "names": [*axes, *scores],
        "groups": [[*(plain(text) for text in (g.name, g.dataset, g.part)), g.n] for g in groups],
        "points": [
            [number, *_named(point),
             anchor(group.dataset, group.model, group.arm, point.seed, point.case_id, point.key), plain(point.note),
             *(number_text(v, places) for v in (point.x, point.y)[: len(axes)]), *_scores(group, point, scores)]
            for number, group in enumerate(groups) for point in group.points
        ],
    }  # fmt: skip


def _scores(group: CaseGroup, point: CasePoint, names: Sequence[str]) -> list[str]:
    """The point's scores as text; "" for one that it has not."""
    known = dict(zip((plain(name) for name in group.scores), point.scores, strict=False))
    return [number_text(known[name], decimals([known[name]])) if name in known else "" for name in names]


def _named(point: CasePoint) -> list[str]:
    key = point.key
    more = [f"round {key.round}" if key.round else "", f"sample {key.sample}" if key.sample else "",
            f"seed {point.seed}" if point.seed else ""]  # fmt: skip
    return [
        plain(point.case_id),
        " · ".join(plain(part) for part in (key.structure, key.prompt, *more) if part),
    ]
