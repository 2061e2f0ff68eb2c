"""What a data set holds, counted in one pass over its names, and measured on a sample of its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from medeval.datasets.images import as_binary
from medeval.datasets.sa_med2d import SAMed2D
from medeval.datasets.sa_med2d_entries import Entry
from medeval.datasets.sa_med2d_names import parse_image
from medeval.datasets.sa_med2d_read import load_grid, load_mask
from medeval.types import CaseFailure, CaseInfo, DataError, rng

SAMPLE = 2000
_WINDOW = 256  # images that are read ahead


@dataclass
class Group:
    """Images, masks and patients of one modality, data set or structure; ``others``: what it goes together with."""

    images: int = 0
    masks: int = 0
    patients: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def add(self, masks: int, patient: str | None, other: str) -> None:
        """One image."""
        self.images += 1
        self.masks += masks
        self.patients.add(patient or "")
        self.others.add(other)


@dataclass
class Sampled:
    """What was measured. sizes: (rows, columns) -> images; areas: structure -> shares of the image's area, a mask each."""

    images: int = 0
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    areas: dict[str, list[float]] = field(default_factory=dict)
    unreadable: int = 0

    def all_areas(self) -> np.ndarray:
        """Shares of all masks, sorted."""
        return np.sort(np.concatenate([np.array(values) for values in self.areas.values()] or [np.zeros(0)]))


@dataclass
class Statistics:
    """Counts by modality, sub-modality, data set, structure, axis and number of masks in an image."""

    images: int = 0
    masks: int = 0
    patients: set[str] = field(default_factory=set)
    modalities: dict[str, Group] = field(default_factory=dict)
    sub_modalities: dict[str, Group] = field(default_factory=dict)
    datasets: dict[str, Group] = field(default_factory=dict)
    structures: dict[str, Group] = field(default_factory=dict)
    axes: Counter[str] = field(default_factory=Counter)
    masks_per_image: Counter[int] = field(default_factory=Counter)
    unnamed: int = 0  # images with a mask whose name is outside the grammar
    sampled: Sampled = field(default_factory=Sampled)


def statistics(
    dataset: SAMed2D,
    sample: int = SAMPLE,
    *,
    threads: int = 8,
    tick: Callable[[bool], None] = lambda failed: None,
) -> Statistics:
    """Count all cases of the data set, and measure ``sample`` images drawn at random (always the same; 0: none).

    A structure's name stands for itself: the same organ under two spellings counts twice. Memory grows with patients and
    structures, not with images. tick: once a case, and once more an image that was measured. Raises ``DatasetError``.
    """
    found = Statistics()
    names: dict[str, str] = {}
    for case in dataset.index:
        _count(found, dataset, case, names)
        tick(False)
    chosen = np.sort(rng("statistics", len(dataset.index)).permutation(len(dataset.index))[:sample])
    entries = (dataset.entry(dataset.index[int(n)].id) for n in chosen)
    for measured in _measured(dataset, entries, threads):
        _add_measured(found.sampled, measured)
        tick(measured is None)
    return found


def _count(found: Statistics, dataset: SAMed2D, case: CaseInfo, known: dict[str, str]) -> None:
    name = parse_image(case.id)
    modality = str(case.metadata.get("modality", name.modality))
    source, sub = name.source or "(not told)", name.sub_modality
    patient = known.setdefault(str(case.patient), str(case.patient))  # one text a patient, not one an image
    try:
        structures = [
            mask.structure
            for mask in dataset.mask_names(dataset.entries.at(dataset.entries.position(case.id)))
        ]
    except DataError:
        found.unnamed += 1
        structures = []
    count = len(structures)
    found.images += 1
    found.masks += count
    found.patients.add(patient)
    found.axes[name.axis or "2d"] += 1
    found.masks_per_image[count] += 1
    found.modalities.setdefault(modality, Group()).add(count, patient, source)
    found.sub_modalities.setdefault(f"{modality} {sub}".strip(), Group()).add(count, patient, source)
    found.datasets.setdefault(source, Group()).add(count, patient, modality)
    for structure, masks in Counter(structures).items():
        found.structures.setdefault(structure, Group()).add(masks, patient, source)


Measured = tuple[tuple[int, ...], list[tuple[str, float]]] | None


def _measured(dataset: SAMed2D, entries: Iterator[Entry], threads: int) -> Iterator[Measured]:
    with ThreadPoolExecutor(threads) as pool:
        for window in windows(entries, _WINDOW):
            yield from pool.map(lambda entry: _measure(dataset, entry), window)


def _measure(dataset: SAMed2D, entry: Entry) -> Measured:
    """Shape, and (structure, share of the image's area) of each mask; None when something cannot be read."""
    try:
        image, masks = dataset.paths(entry)
        grid = load_grid(dataset.files, image, None)
        areas = []
        for name, path in zip(dataset.mask_names(entry), masks, strict=True):
            mask = as_binary(load_mask(dataset.files, path, grid, "error").array, path)
            areas.append((name.structure, float(mask.mean())))
    except CaseFailure:
        return None
    return grid.shape, areas


def _add_measured(sampled: Sampled, measured: Measured) -> None:
    if measured is None:
        sampled.unreadable += 1
        return
    sampled.images += 1
    sampled.sizes[measured[0]] += 1
    for structure, area in measured[1]:
        sampled.areas.setdefault(structure, []).append(area)


def windows(items: Iterator[Entry], size: int) -> Iterator[Sequence[Entry]]:
    """Runs of items, so that a pool is given no more than it can soon do."""
    window: list[Entry] = []
    for item in items:
        window.append(item)
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window
