"""Statistics of volumes as plain views."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from medeval.datasets.building.sa_med3d.statistics import MaskSize, Statistics
from medeval.datasets.building.statistics import Group
from medeval.datasets.building.statistics_views import Chapter, by_size, ratio
from medeval.types.views import Column, Curve, Series, Table

SHOWN = 30
# The paper's cleaning: masks below 1 cm^3 or with a side under 1.5 cm are dropped, five components are kept.
SMALL_ML, SMALL_SIDE, PIECES = 1.0, 15.0, 5
_COUNTS = (Column("images", "volumes", "integer"), Column("masks", "masks", "integer"))


def chapters(found: Statistics) -> list[Chapter]:
    """The page: totals, modalities, data sets, structures, masks in a volume; then what was measured."""
    sampled, word = found.sampled, "patients" if found.patients_known else "cases"
    parts = [
        Chapter("Totals", [_totals(found, word)]),
        Chapter(
            "Modalities and data sets",
            [
                _groups("By modality", "modality", found.modalities, word, "data sets"),
                _groups("By data set", "dataset", found.datasets, word, "modalities"),
                _groups("By split", "split", found.splits, word, "data sets"),
            ],
        ),
        Chapter(
            "Structures",
            [_groups("By structure", "structure", found.structures, word, "data sets"), _per_volume(found)],
        ),
    ]
    if sampled.volumes:
        measured = f"Measured on {sampled.volumes:,} of {found.volumes:,} volumes, drawn at random." + (
            f" {sampled.unreadable:,} could not be read: see `medeval dataset check`."
            if sampled.unreadable
            else ""
        )
        parts.append(
            Chapter("Sizes", [_masks(found), _spacings(found), _shapes(found), _curve(found)], measured)
        )
    return parts


def _totals(found: Statistics, word: str) -> Table:
    told = {
        "volumes": found.volumes,
        "masks": found.masks,
        "masks in a volume (mean)": ratio(found.masks, found.volumes),
        word: len(found.patients),
        "data sets": len(found.datasets),
        "structures": len(found.structures),
    }
    note = (
        ""
        if word == "patients"
        else "patients are not known: give --patient, a regular expression on `MODALITY_DATASET/CASE`"
    )
    return Table("Totals", [Column("what", " "), Column("here", "here", "number")],
                 [{"what": what, "here": here} for what, here in told.items()], note)  # fmt: skip


def _groups(title: str, name: str, groups: Mapping[str, Group], word: str, others: str) -> Table:
    rows = [
        {name: key, "images": group.images, "masks": group.masks, "patients": len(group.patients),
         "others": ", ".join(sorted(group.others))}
        for key, group in by_size(groups)
    ]  # fmt: skip
    label = "data set" if name == "dataset" else name
    columns = [Column(name, label), *_COUNTS, Column("patients", word, "integer"), Column("others", others)]
    return Table(title, columns, rows)


def _per_volume(found: Statistics) -> Table:
    rows = [
        {"masks": count, "volumes": volumes, "share": ratio(100 * volumes, found.volumes)}
        for count, volumes in sorted(found.masks_per_volume.items())
    ]
    columns = [Column("masks", "masks in the volume", "integer"), Column("volumes", "volumes", "integer"),
               Column("share", "% of volumes", "number")]  # fmt: skip
    return Table("Masks in a volume", columns, rows)


def _masks(found: Statistics) -> Table:
    """Sizes of each structure's masks: medians, the smallest, and what the paper's cleaning would drop."""
    names = sorted({*found.sampled.masks, *found.sampled.empty})
    rows = [_mask_row(name, found.sampled.masks.get(name, []), found.sampled.empty[name]) for name in names]
    columns = [
        Column("structure"), Column("masks", "masks", "integer"), Column("empty", "empty", "integer"),
        Column("voxels", "voxels (median)", "integer"), Column("ml", "ml (median)", "number"),
        Column("least", "ml (least)", "number"), Column("most", "ml (most)", "number"),
        Column("side", "longest side, mm (median)", "number"), Column("pieces", "components (median)", "number"),
        Column("most_pieces", "components (most)", "integer"), Column("small", "small", "integer"),
        Column("scattered", f"over {PIECES} components", "integer"),
    ]  # fmt: skip
    note = (f"small: below {SMALL_ML:g} ml or with a side under {SMALL_SIDE:g} mm, which SAM-Med3D's cleaning drops; it keeps "
            f"the {PIECES} largest components. Components are 26-connected; sides are those of the bounding box.")  # fmt: skip
    return Table("Sizes of masks", columns, rows, note)


def _mask_row(name: str, sizes: Sequence[MaskSize], empty: int) -> dict[str, Any]:
    row: dict[str, Any] = {"structure": name, "masks": len(sizes), "empty": empty}
    if not sizes:
        return row
    volumes = [size.millilitres for size in sizes]
    pieces = [size.pieces for size in sizes]
    return row | {
        "voxels": round(_median(size.voxels for size in sizes)),
        "ml": round(_median(volumes), 3),
        "least": round(min(volumes), 3),
        "most": round(max(volumes), 3),
        "side": round(_median(max(size.sides) for size in sizes), 1),
        "pieces": _median(pieces),
        "most_pieces": max(pieces),
        "small": sum(size.millilitres < SMALL_ML or min(size.sides) < SMALL_SIDE for size in sizes),
        "scattered": sum(count > PIECES for count in pieces),
    }


def _spacings(found: Statistics) -> Table:
    note = f"{len(found.sampled.spacings):,} spacings, the {SHOWN} most frequent; axes R, A, S. SAM-Med3D was trained at 1.5 mm."
    return _frequencies("Spacings", "spacing, mm", found.sampled.spacings, found.sampled.volumes, note)


def _shapes(found: Statistics) -> Table:
    sides = np.array(found.sampled.sides)
    note = f"{len(found.sampled.shapes):,} sizes, the {SHOWN} most frequent; axes R, A, S; sides from {sides.min():.0f} to {sides.max():.0f} mm"
    return _frequencies("Sizes of volumes", "voxels", found.sampled.shapes, found.sampled.volumes, note)


def _frequencies(title: str, what: str, counts: Counter[Any], volumes: int, note: str) -> Table:
    rows = [
        {"what": "x".join(f"{n:g}" for n in value), "volumes": count, "share": ratio(100 * count, volumes)}
        for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    ]
    columns = [Column("what", what), Column("volumes", "volumes", "integer"), Column("share", "% of volumes", "number")]  # fmt: skip
    return Table(title, columns, rows, note)


def _curve(found: Statistics) -> Curve:
    """How many masks are smaller than a volume, at 40 places of even spacing on a log scale."""
    volumes = np.sort([size.millilitres for sizes in found.sampled.masks.values() for size in sizes])
    places = np.geomspace(volumes[0], volumes[-1], 40) if len(volumes) else np.zeros(0)
    smaller = 100 * np.searchsorted(volumes, places, side="right") / max(len(volumes), 1)
    series = Series("masks", [float(place) for place in places], [float(share) for share in smaller])
    return Curve("Masks smaller than", "volume, ml", "% of masks", [series])


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))
