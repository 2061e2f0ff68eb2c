"""Statistics as plain views: the paper's figures as tables and curves."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from medeval.datasets.building import paper
from medeval.datasets.building.options import AREA
from medeval.datasets.building.statistics import Group, Statistics
from medeval.types.views import Column, Curve, Series, Table, View

_CLASSES = (AREA, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_COUNTS = (Column("images", "images", "integer"), Column("masks", "masks", "integer"))
_PATIENTS = Column("patients", "patients", "integer")


class Chapter(NamedTuple):
    """A part of the page."""

    title: str
    views: Sequence[View]
    text: str = ""


def chapters(found: Statistics) -> list[Chapter]:
    """The page: totals, modalities, data sets, structures, masks in an image, sizes."""
    sampled = found.sampled
    measured = f"Measured on {sampled.images:,} of {found.images:,} images, drawn at random." + (
        f" {sampled.unreadable:,} could not be read: see `medeval dataset check`."
        if sampled.unreadable
        else ""
    )
    parts = [
        Chapter("Totals", [_totals(found)]),
        Chapter(
            "Modalities",
            [_modalities(found), _groups("By sub-modality", "sub_modality", found.sub_modalities)],
        ),
        Chapter(
            "Data sets",
            [_groups("By data set", "dataset", found.datasets, ("modalities", True)), _sizes(found)],
        ),
        Chapter("Structures", [_structures(found)]),
        Chapter("Masks in an image", [_masks_per_image(found)]),
    ]
    if sampled.images:
        parts.append(
            Chapter("Sizes", [_image_sizes(found), _mask_sizes(found), _area_curve(found)], measured)
        )
    return parts


def _totals(found: Statistics) -> Table:
    rows: list[dict[str, Any]] = [
        {"what": "images", "here": found.images, "paper": paper.IMAGES},
        {"what": "masks", "here": found.masks, "paper": paper.MASKS},
        {"what": "masks in an image (mean)", "here": ratio(found.masks, found.images), "paper": round(paper.MASKS / paper.IMAGES, 2)},
        {"what": "patients (or cases)", "here": len(found.patients), "paper": None},
        {"what": "data sets", "here": len(found.datasets), "paper": None},
        {"what": "structures (names)", "here": len(found.structures), "paper": None},
        {"what": "images with misnamed masks", "here": found.unnamed, "paper": None},
    ]  # fmt: skip
    columns = [Column("what", " "), Column("here", "here", "number"), Column("paper", "paper", "number")]
    return Table("Totals", columns, rows, f"paper: {paper.SOURCE}, the whole collection")


def _modalities(found: Statistics) -> Table:
    rows = [
        {"modality": name, **_row(group), "share": ratio(100 * group.images, found.images),
         "paper_images": paper.MODALITIES.get(name, (None, None))[0], "paper_masks": paper.MODALITIES.get(name, (None, None))[1]}
        for name, group in by_size(found.modalities)
    ]  # fmt: skip
    columns = [Column("modality"), *_COUNTS, _PATIENTS, Column("share", "% of images", "number"),
               Column("paper_images", "images, paper", "integer"), Column("paper_masks", "masks, paper", "integer")]  # fmt: skip
    return Table("By modality", columns, rows)


def _groups(
    title: str, name: str, groups: Mapping[str, Group], others: tuple[str, bool] | None = None
) -> Table:
    rows = [
        {name: key, **_row(group), **({others[0]: ", ".join(sorted(group.others))} if others else {})}
        for key, group in by_size(groups)
    ]
    extra = [Column(others[0])] if others else []
    return Table(title, [Column(name, name.replace("_", "-")), *_COUNTS, _PATIENTS, *extra], rows)


def _sizes(found: Statistics) -> Table:
    """Data sets by size, in the classes of the paper's chart."""
    bounds = list(paper.SIZES)
    images = Counter(bisect_right(bounds, group.images) - 1 for group in found.datasets.values())
    masks = Counter(bisect_right(bounds, group.masks) - 1 for group in found.datasets.values())
    names = [f"{low:,} to {high:,}" for low, high in zip(bounds, [*bounds[1:], 10 * bounds[-1]], strict=True)]
    rows = [
        {"size": name, "images": images[n], "masks": masks[n], "paper_images": paper.SIZES[bounds[n]][0],
         "paper_masks": paper.SIZES[bounds[n]][1]}
        for n, name in enumerate(names)
    ]  # fmt: skip
    columns = [
        Column("size", "size class"), Column("images", "data sets by images", "integer"),
        Column("masks", "data sets by masks", "integer"), Column("paper_images", "by images, paper", "integer"),
        Column("paper_masks", "by masks, paper", "integer"),
    ]  # fmt: skip
    return Table("Data sets by size", columns, rows, f"paper: {paper.SOURCE}, read off a chart")


def _structures(found: Statistics) -> Table:
    rows = []
    for name, group in by_size(found.structures):
        areas = found.sampled.areas.get(name, [])
        row: dict[str, Any] = {"structure": name, **_row(group), "datasets": len(group.others)}
        row |= {"area": 100 * float(np.median(areas)) if areas else None}
        rows.append(row)
    columns = [Column("structure"), *_COUNTS, _PATIENTS, Column("datasets", "data sets", "integer"),
               Column("area", "median area, %", "number", note="of its image, of the masks that were measured")]  # fmt: skip
    return Table("By structure", columns, rows)


def _masks_per_image(found: Statistics) -> Table:
    total, rows = 0, []
    for count, images in sorted(found.masks_per_image.items()):
        total += images
        rows.append(
            {"masks": count, "images": images, "share": ratio(100 * images, found.images), "cumulative": ratio(100 * total, found.images)}
        )  # fmt: skip
    columns = [Column("masks", "masks in the image", "integer"), Column("images", "images", "integer"),
               Column("share", "% of images", "number"), Column("cumulative", "% with so many or fewer", "number")]  # fmt: skip
    return Table("Masks in an image", columns, rows)


def _image_sizes(found: Statistics) -> Table:
    sizes = found.sampled.sizes
    rows = [
        {
            "size": "x".join(map(str, shape)),
            "images": count,
            "share": ratio(100 * count, found.sampled.images),
        }
        for shape, count in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:30]
    ]
    sides = np.repeat([min(shape) for shape in sizes], list(sizes.values()))
    note = f"{len(sizes):,} sizes, the 30 most frequent; shorter side from {sides.min()} to {sides.max()}, median {np.median(sides):.0f}"
    columns = [
        Column("size", "rows x columns"),
        Column("images", "images", "integer"),
        Column("share", "% of images", "number"),
    ]
    return Table("Sizes of images", columns, rows, note)


def _mask_sizes(found: Statistics) -> Table:
    areas = found.sampled.all_areas()
    places = np.searchsorted(areas, _CLASSES)
    counts = np.diff([0, *places.tolist(), len(areas)])
    names = [
        f"{100 * low:g} to {100 * high:g} %"
        for low, high in zip((0.0, *_CLASSES), (*_CLASSES, 1.0), strict=True)
    ]
    rows = [
        {"area": name, "masks": int(n), "share": ratio(100 * int(n), len(areas))}
        for name, n in zip(names, counts, strict=True)
    ]
    columns = [
        Column("area", "area of the image"),
        Column("masks", "masks", "integer"),
        Column("share", "% of masks", "number"),
    ]
    return Table(
        "Sizes of masks", columns, rows, f"The paper dropped masks below {100 * AREA:g} % of their image."
    )


def _area_curve(found: Statistics) -> Curve:
    """How many masks are smaller than a share of the image, at 40 places of even spacing on a log scale."""
    areas = found.sampled.all_areas()
    places = np.geomspace(max(areas[0], 1e-5), max(areas[-1], 1e-4), 40) if len(areas) else np.zeros(0)
    smaller = np.searchsorted(areas, places, side="right") / max(len(areas), 1)
    series = Series("masks", [float(100 * p) for p in places], [float(100 * s) for s in smaller])
    return Curve("Masks smaller than", "area, % of the image", "% of masks", [series])


def _row(group: Group) -> dict[str, int]:
    return {"images": group.images, "masks": group.masks, "patients": len(group.patients)}


def by_size(groups: Mapping[str, Group]) -> list[tuple[str, Group]]:
    """Most images first."""
    return sorted(groups.items(), key=lambda item: (-item[1].images, item[0]))


def ratio(part: float, whole: float) -> float | None:
    """With two decimals; None of nothing."""
    return round(part / whole, 2) if whole else None
