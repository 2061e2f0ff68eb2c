"""What volumes of SAM-Med3D's layout hold: counted from the names, measured on a sample that is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.building.sa_med3d.opening import THREADS, Splits, cases
from medeval.datasets.building.statistics import SAMPLE, Group
from medeval.datasets.sa_med3d import SAMed3D
from medeval.interaction.drawing import bounds, slices
from medeval.metrics.matching import components
from medeval.types import CaseFailure, CaseInfo, Grid, rng


@dataclass(frozen=True)
class MaskSize:
    """One mask. voxels: foreground; millilitres: their volume; sides: of its bounding box in mm; pieces: 26-connected."""

    voxels: int
    millilitres: float
    sides: tuple[float, ...]
    pieces: int


@dataclass
class Sampled:
    """What was measured. shapes and spacings (mm, three decimals) -> volumes; masks: structure -> one a mask."""

    volumes: int = 0
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    spacings: Counter[tuple[float, ...]] = field(default_factory=Counter)
    sides: list[tuple[float, ...]] = field(default_factory=list)
    masks: dict[str, list[MaskSize]] = field(default_factory=dict)
    empty: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0


@dataclass
class Statistics:
    """Counts of volumes and masks by split, modality, data set, structure and number of masks in a volume."""

    volumes: int = 0
    masks: int = 0
    patients: set[str] = field(default_factory=set)
    patients_known: bool = False
    splits: dict[str, Group] = field(default_factory=dict)
    modalities: dict[str, Group] = field(default_factory=dict)
    datasets: dict[str, Group] = field(default_factory=dict)
    structures: dict[str, Group] = field(default_factory=dict)
    masks_per_volume: Counter[int] = field(default_factory=Counter)
    sampled: Sampled = field(default_factory=Sampled)


def statistics(
    splits: Splits, sample: int = SAMPLE, *, threads: int = THREADS, tick: Callable[[bool], None] = lambda failed: None
) -> Statistics:  # fmt: skip
    """Count all cases, and measure ``sample`` volumes with their masks, drawn at random (always the same; 0: none).

    A case stands for a patient where the layout's names carry none. tick: once a case, and once more a measured volume.
    Raises ``DatasetError``.
    """
    found = Statistics(patients_known=any(data.index.patients_known for data in splits.values()))
    every = cases(splits)
    for split, case_id in every:
        _count(found, split, splits[split].info(case_id))
        tick(False)
    chosen = [every[int(n)] for n in np.sort(rng("statistics", len(every)).permutation(len(every))[:sample])]
    with ThreadPoolExecutor(min(threads, THREADS)) as pool:
        for measured in pool.map(lambda one: _measure(splits[one[0]], one[1]), chosen):
            _add(found.sampled, measured)
            tick(measured is None)
    return found


def _count(found: Statistics, split: str, case: CaseInfo) -> None:
    modality = str(case.metadata.get("modality", "(not told)"))
    source, patient, count = str(case.metadata["source"]), case.patient or case.id, len(case.structures)
    found.volumes += 1
    found.masks += count
    found.patients.add(patient)
    found.masks_per_volume[count] += 1
    found.splits.setdefault(split, Group()).add(count, patient, source)
    found.modalities.setdefault(modality, Group()).add(count, patient, source)
    found.datasets.setdefault(source, Group()).add(count, patient, modality)
    for structure in case.structures:
        found.structures.setdefault(structure, Group()).add(1, patient, source)


_Measured = tuple[Grid, dict[str, "MaskSize | None"]] | None


def _measure(dataset: SAMed3D, case_id: str) -> _Measured:
    """The image's grid and the size of each mask on it; None when something cannot be read."""
    try:
        structures = dataset.read(case_id, ("reference",)).reference["structures"]
        grid = dataset.grid(case_id)
    except CaseFailure:
        return None
    return grid, {name: mask_size(structures.mask(name), grid.spacing) for name in structures.names}


def _add(sampled: Sampled, measured: _Measured) -> None:
    if measured is None:
        sampled.unreadable += 1
        return
    grid, sizes = measured
    sampled.volumes += 1
    sampled.shapes[grid.shape] += 1
    sampled.spacings[tuple(round(edge, 3) for edge in grid.spacing)] += 1
    sampled.sides.append(tuple(n * edge for n, edge in zip(grid.shape, grid.spacing, strict=True)))
    for name, size in sizes.items():
        if size is None:
            sampled.empty[name] += 1
        else:
            sampled.masks.setdefault(name, []).append(size)


def mask_size(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> MaskSize | None:
    """The size of a mask (R, A, S) with edges in mm; None for an empty one."""
    corners = bounds(mask)
    if corners is None:
        return None
    inside = mask[slices(corners)]
    voxels = int(np.count_nonzero(inside))
    return MaskSize(
        voxels,
        voxels * float(np.prod(spacing)) / 1000,
        tuple(n * edge for n, edge in zip(inside.shape, spacing, strict=True)),
        int(components(inside).max()),
    )
