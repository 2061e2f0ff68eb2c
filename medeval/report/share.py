"""What of a report may leave the house: a closed list of views and fields, with nothing that stands for a single person.

Score rows are cut to ``ROW_FIELDS`` and drawn anew; of views only those of ``_SHARED`` have a shared form, and any other
kind, known or not, is left out and counted. Views of single records become figures of at least ``least`` people each:
a distribution a cumulative curve over bins, Bland-Altman panels a table. No point, case id or click-through remains.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medeval.types.views import (
    BlandAltman,
    CaseGroup,
    Column,
    Curve,
    Distribution,
    Forest,
    Gallery,
    GalleryItem,
    Matrix,
    Picture,
    Series,
    Table,
    View,
)

# Whatever else a score row holds is not taken over.
ROW_FIELDS = (
    "task", "dataset", "model", "arm", "baseline", "prompt", "by", "group", "metric", "direction", "unit", "definition",
    "value", "low", "high", "n", "patients", "estimand", "note", "failed", "failed_cases", "undefined", "absent", "not_covered",
)  # fmt: skip
_STEPS = 12  # of a distribution's grid between its tenth and its ninetieth percentile

Person = Callable[[str, str], str]


@dataclass(frozen=True, eq=False)
class Sharing:
    """The rules of one shared report.

    least: people that every figure rests on. person: (dataset, case id) -> whom the case is of: the patient, or the case
    itself where patients are not known. safe: True for a text that names nobody and no place. pixels: pictures are wanted.
    withheld: what was left out -> how often, filled as views are shared.
    """

    least: int
    person: Person
    safe: Callable[[str], bool]
    pixels: bool = False
    withheld: Counter[str] = field(default_factory=Counter)


def banded(count: int, least: int) -> str:
    """A count as a shared report tells it, so that no difference of two tells a small one: 0, "< 10", "10 or more" ..."""
    if count <= 0:
        return "0"
    return f"< {least}" if count < least else f"{count - count % least} or more"


def shared_row(row: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A score row of ``ROW_FIELDS`` alone. changes: fields that take another value."""
    return {name: changes[name] if name in changes else row[name] for name in ROW_FIELDS}


def shared_views(views: Sequence[View], rules: Sharing) -> list[View]:
    """The shared form of those views that have one; the others are counted in ``rules.withheld``."""
    found: list[View] = []
    for view in views:
        share = _SHARED.get(type(view))  # the very type: a subclass may hold more
        made = None if share is None else share(view, rules)
        if made is None:
            rules.withheld["views of single records or without counts of people"] += 1
        else:
            found.append(made)
    return found


def bare_views(views: Sequence[View]) -> list[View]:
    """Views that were drawn of shared rows, without records behind them; any but tables, forests, maps and curves is left out."""
    found: list[View] = []
    for view in views:
        if type(view) is Curve:
            series = [Series(s.name, s.x, s.y, s.low, s.high, s.baseline) for s in view.series]
            found.append(Curve(view.title, view.x_title, view.y_title, series, view.note))
        elif type(view) in (Table, Forest, Matrix):
            found.append(view)
    return found


def anonymous(
    view: Gallery, draw: Callable[[GalleryItem], Picture | None]
) -> Callable[[GalleryItem], Picture | None]:
    """What draws the items of ``shared_views``' form of this gallery: pictures without captions and slices' names."""
    originals = dict(zip(_items(view), view.items, strict=True))

    def drawn(item: GalleryItem) -> Picture | None:
        picture = draw(originals[item]) if item in originals else None
        return None if picture is None else _bare(picture)

    return drawn


def _bare(picture: Picture) -> Picture:
    """Pixels, outlines and prompts without words; outlines keep the two names that the report gives."""
    known = ("reference", "prediction")
    outlines = {
        name if name in known else f"outline {number}": mask
        for number, (name, mask) in enumerate(picture.outlines.items(), start=1)
    }
    return replace(
        picture, outlines=outlines, caption="", slices=tuple(_bare(part) for part in picture.slices)
    )


def _gallery(view: Gallery, rules: Sharing) -> Gallery | None:
    if not rules.pixels or not rules.safe(view.title):
        return None
    items = [
        item for item in _items(view) if rules.safe(f"{item.dataset} {item.model} {item.arm} {item.caption}")
    ]
    return Gallery(view.title, items, "Cases are numbered as they stand here.")


def _items(view: Gallery) -> list[GalleryItem]:
    """The items with numbers in the place of case ids, and no caption: it may hold an id, a score or an error."""
    numbers: dict[tuple[str, str], int] = {}
    for item in view.items:
        numbers.setdefault((item.dataset, item.case_id), len(numbers) + 1)
    return [
        replace(
            item,
            case_id=f"case {numbers[item.dataset, item.case_id]}",
            caption=" · ".join(filter(None, [item.key.structure, item.key.prompt])),
        )
        for item in view.items
    ]


# -- single records, told together ----------------------------------------------------------------------------------


def _people(group: CaseGroup, rules: Sharing) -> list[str]:
    return [rules.person(group.dataset, point.case_id) for point in group.points]


def _kept(groups: Sequence[CaseGroup], rules: Sharing) -> list[CaseGroup]:
    """Groups of enough people, whose name may be told."""
    found = [
        g for g in groups if rules.safe(f"{g.name} {g.part}") and len(set(_people(g, rules))) >= rules.least
    ]
    if left := len(groups) - len(found):
        rules.withheld[f"groups of fewer than {rules.least}"] += left
    return found


def _distribution(view: Distribution, rules: Sharing) -> Curve | None:
    """Share of records at or below a value, at steps that have ``least`` people on either side and between them."""
    groups = _kept(view.groups, rules)
    if not groups or not rules.safe(f"{view.title} {view.x_title}"):
        return None
    step = _step([point.x for group in groups for point in group.points])
    lines = [_cumulative(group, step, rules) for group in groups]
    series = [line for line in lines if line.x]
    if max((len(line.x) for line in series), default=0) < 2:  # too few people for a line
        return None
    note = f"Between two marks, below the first and above the last lie at least {rules.least} people."
    return Curve(view.title, view.x_title, "share of records at or below", series, note)


def _step(values: Sequence[float]) -> float:
    """A round width: 1, 2 or 5 times a power of ten, so that no edge is anybody's value."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), (0.1, 0.9))
    width = float(high - low) / _STEPS or float(max(values) - min(values)) / _STEPS
    if not width > 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(width))
    return power * next(f for f in (1, 2, 5, 10) if f * power >= width * (1 - 1e-9))


def _cumulative(group: CaseGroup, step: float, rules: Sharing) -> Series:
    name = " ".join(filter(None, [group.name, f"({group.part})" if group.part else ""]))
    people = _people(group, rules)
    order = sorted(range(len(people)), key=lambda at: group.points[at].x)
    x: list[float] = []
    y: list[float | None] = []
    inside: set[str] = set()
    for position, at in enumerate(order[:-1]):
        inside.add(people[at])
        edge = _edge_between(group.points[at].x, group.points[order[position + 1]].x, step)
        above = order[position + 1 :]
        if edge is not None and len(inside) >= rules.least and len({people[i] for i in above}) >= rules.least:
            x.append(edge)
            y.append(round((position + 1) / len(people), 3))
            inside = set()
    return Series(name, x, y, baseline=group.baseline)


def _edge_between(below: float, above: float, step: float) -> float | None:
    """The first edge of the grid in [below, above), None where there is none."""
    if step <= 0:
        return None
    edge = math.ceil(below / step - 1e-9) * step
    return float(f"{edge:.6g}") if below <= edge + 1e-12 and edge < above else None


def _bland_altman(view: BlandAltman, rules: Sharing) -> Table | None:
    """Mean difference and limits of agreement of each group; its points are left out."""
    groups = _kept(view.groups, rules)
    if not groups or not rules.safe(f"{view.title} {view.y_title}"):
        return None
    columns = [
        Column("model"), Column("prompt"), Column("people"),
        Column("bias", f"mean {view.y_title}", "number"), Column("low", "lower limit of agreement", "number"),
        Column("high", "upper limit of agreement", "number"),
    ]  # fmt: skip
    rows = [
        {"model": g.name, "prompt": g.part, "people": banded(len(set(_people(g, rules))), rules.least),
         "_baseline": g.baseline,
         **{name: g.marks[name] for name in ("bias", "low", "high")}}
        for g in groups
    ]  # fmt: skip
    return Table(view.title, columns, rows, "Limits: mean ± 1.96 standard deviations (Bland & Altman 1986).")


_SHARED: dict[type, Callable[[Any, Sharing], View | None]] = {
    Distribution: _distribution,
    BlandAltman: _bland_altman,
    Gallery: _gallery,
}
