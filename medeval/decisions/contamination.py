"""Warnings when a model says that it was trained on what it is evaluated on: by name, and by the files' hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from medeval.datasets.base import Dataset
from medeval.datasets.fingerprints import file_digest
from medeval.types import DataError, SuiteError

_SHA256 = re.compile(r"^[0-9a-f]{64}\b")


def contamination(
    model: str,
    trained_on: Iterable[str],
    datasets: Mapping[str, Dataset],
    formats: Mapping[str, str],
    base: Path,
) -> list[str]:
    """A sentence for each dataset that a model was trained on and is evaluated on.

    trained_on: what it declares: names of data sets, or files (relative to ``base``) of SHA-256 hashes as ``sha256sum``
    writes them, one a line. datasets: those that it is evaluated on. formats: dataset -> its format.
    Raises ``SuiteError`` for a file without hashes.
    """
    lines = []
    for entry in trained_on:
        hashes = _hashes(base / entry) if (base / entry).is_file() else None
        for name, dataset in datasets.items():
            if hashes is not None:
                lines += _by_hash(model, name, dataset, hashes, entry)
            elif _plain(entry) in {_plain(word) for word in _names(name, dataset, formats.get(name, ""))}:
                lines.append(
                    f"{model} declares {entry!r} among its training sets and is evaluated on {name}: its scores there say "
                    "nothing of new data"
                )
    return lines


def _by_hash(model: str, name: str, dataset: Dataset, hashes: set[str], entry: str) -> list[str]:
    seen = [case for case in dataset.index.ids if any(digest in hashes for digest in _digests(dataset, case))]
    if not seen:
        return []
    return [f"{model}: {len(seen)} of {len(dataset.index)} cases of {name} hold files that {entry} lists as training data "
            f"(the first: {seen[0]})"]  # fmt: skip


def _digests(dataset: Dataset, case: str) -> Iterator[str]:
    try:
        yield from (file_digest(path) for path in dataset.sources(case).values() if path.is_file())
    except DataError:  # a case whose paths are refused is told by its own record
        return


def _hashes(file: Path) -> set[str]:
    found = {
        match.group()
        for line in file.read_text("utf-8", "replace").lower().splitlines()
        if (match := _SHA256.match(line))
    }
    if not found:
        raise SuiteError(
            f"{file}: trained_on names a file without SHA-256 hashes; write one a line, as `sha256sum` does"
        )
    return found


def _names(name: str, dataset: Dataset, format_: str) -> set[str]:
    """What the data set may be called: in the suite, its format where that is a data set, its folder or file."""
    place = getattr(dataset, "root", None) or getattr(dataset, "file", None)
    return {name, format_, *([Path(place).stem] if place else [])}


def _plain(name: str) -> str:
    """Letters and digits alone: ``SA-Med2D 20M`` and ``sa_med2d_20m`` are one."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())
