"""Folders in SAM-Med3D's layout, recognised and opened split by split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from medeval.datasets.sa_med3d import SPLITS, SAMed3D
from medeval.types import DatasetError

Splits = Mapping[str, SAMed3D]
THREADS = 4  # a CT with its masks is some hundred MB a thread


def is_layout(root: Path) -> bool:
    """Whether labels lie where ``STRUCTURE/MODALITY_DATASET/labelsTr`` (or ``labelsTs``) would be."""
    return root.is_dir() and any(_present(root))


def open_splits(root: Path, patient: str | None = None) -> dict[str, SAMed3D]:
    """``train`` and ``test`` of what is there. Raises ``DatasetError`` when neither is; ``ValidationError``."""
    given = {"root": root, **({"patient_id": patient} if patient else {})}
    names = [name for name in SPLITS if name in set(_present(root))]
    if not names:
        raise DatasetError(f"{root}: no STRUCTURE/MODALITY_DATASET/labelsTr or labelsTs")
    return {name: SAMed3D.model_validate({**given, "split": name}) for name in names}


def cases(splits: Splits) -> list[tuple[str, str]]:
    """(split, case id) of all cases, in order."""
    return [(split, case_id) for split, dataset in splits.items() for case_id in dataset.index.ids]


def _present(root: Path) -> Iterator[str]:
    for name, suffix in SPLITS.items():
        if any(path.is_dir() for path in root.glob(f"[!.]*/[!.]*/labels{suffix}")):
            yield name
