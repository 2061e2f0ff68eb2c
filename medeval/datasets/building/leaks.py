"""Patients that a split cuts in two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from medeval.datasets.building.findings import Finding
from medeval.datasets.sa_med2d import SAMed2D
from medeval.datasets.sa_med2d_names import split_of
from medeval.types import CaseInfo


def leaks(dataset: SAMed2D) -> Iterator[Finding]:
    """Patients that stand in more than one of the files ``image2label_NAME.json`` and ``label2image_NAME.json``.

    A patient is what the sidecar, the file names or ``patient_id`` say. Memory grows with patients, not with images.
    """
    files: dict[str, list[str]] = defaultdict(list)
    for name in dataset.files.indices():
        files[split_of(name)].append(name)
    splits: dict[str, set[str]] = defaultdict(set)
    for split, names in files.items():
        part = dataset.model_copy(update={"index_files": tuple(names), "split": None})
        for case in part.index:
            splits[str(case.patient)].add(split)
    for patient, held in sorted(splits.items()):
        if len(held) > 1:
            yield Finding("leak", patient, f"has images in the splits {', '.join(sorted(held))}")


def cases_in_both(first: Sequence[CaseInfo], second: Sequence[CaseInfo]) -> int:
    """How many patients have images in both parts: 0 for a split by patient, more for the paper's split by image."""
    return len({case.patient for case in first} & {case.patient for case in second})
