"""A ``Gallery`` made ready: every item's picture, the slices beside it, and what the outlines are called.

Slices are embedded while a gallery has room for them, so that a page of many volumes stays small; the picture itself
always is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medeval.report.numbers import plain
from medeval.report.pictures import drawing, slice_drawing
from medeval.report.points import item_anchor
from medeval.types.views import Gallery, GalleryItem, Picture

Pictures = Callable[[GalleryItem], Picture | None]
MOST_SLICE_BYTES = 1_500_000  # of all further slices of one gallery


def gallery(view: Gallery, pictures: Pictures) -> dict[str, Any]:
    """Items with picture, slices, place and anchor; the legend; whether any prompt is drawn.

    Raises ``ValueError`` naming the case when a picture's arrays do not fit each other.
    """
    names, left = ["reference", "prediction"], MOST_SLICE_BYTES
    entries = []
    for item in view.items:
        try:
            entry = _entry(item, pictures(item), names, left)
        except ValueError as error:
            raise ValueError(
                f"gallery {view.title!r}, case {item.case_id!r} of {item.dataset!r}: {error}"
            ) from error
        left -= sum(_size(part) for part in entry["slices"][1:])
        entries.append(entry)
    drawn = [part for entry in entries for part in entry["slices"]]
    used = {outline["number"] for part in drawn for outline in part["outlines"]}
    legend = [(number, plain(name)) for number, name in enumerate(names) if number in used]
    return {"items": entries, "legend": legend, "prompts": any(p["points"] or p["box"] for p in drawn)}


def _entry(item: GalleryItem, picture: Picture | None, names: list[str], room: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "item": item,
        "anchor": item_anchor(item),
        "picture": None,
        "slices": [],
        "place": 0,
    }
    if picture is None:
        return entry
    main = drawing(picture, names)
    around = [slice_drawing(other, picture, names) for other in picture.slices] if room > 0 else []
    if sum(map(_size, around)) > room:
        around = []
    place = picture.place if around else 0
    return {**entry, "picture": main, "slices": [*around[:place], main, *around[place:]], "place": place}


def _size(drawn: dict[str, Any]) -> int:
    """Characters that a drawn picture takes in the page, or nearly so."""
    return len(drawn["uri"]) + sum(
        len(outline["path"]) + len(outline["uri"]) for outline in drawn["outlines"]
    )
