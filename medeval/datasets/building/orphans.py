"""Files that no index names."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from medeval.datasets.building.collected import Hashes
from medeval.datasets.building.findings import Finding
from medeval.datasets.sa_med2d import SAMed2D


def orphans(dataset: SAMed2D, named: Hashes) -> Iterator[Finding]:
    """Pictures in images/ and masks/ whose path is not among ``named``; the folders are listed as a stream."""
    for folder in ("images", "masks"):
        for path in dataset.files.listed(folder):
            if path_hash(dataset, path) not in named:
                yield Finding("orphan", f"{folder}/{path.name}", f"{path} is named by no index")


def path_hash(dataset: SAMed2D, path: Path) -> bytes:
    """Eight bytes that stand for a file of the layout."""
    name = path.relative_to(dataset.root).as_posix() if path.is_relative_to(dataset.root) else str(path)
    return blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
