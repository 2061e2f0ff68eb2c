"""Files and folders: suffixes that are understood, JSON, and entries of an index that must not leave their root."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from medeval.types import DataError, DatasetError

NIFTI = (".nii.gz", ".nii")
PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
IMAGES = NIFTI + PICTURES


def suffix_of(path: Path) -> str:
    """Lower-case suffix; ``.nii.gz`` counts as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The file's name without its suffix; ``case.nii.gz`` -> ``case``."""
    suffix = suffix_of(path)
    return path.name[: len(path.name) - len(suffix)] if suffix else path.name


def files_by_stem(folder: Path, suffixes: Iterable[str] = IMAGES) -> dict[str, Path]:
    """stem -> file for the image files directly in a folder, sorted by name; hidden files are passed over.

    Raises ``DatasetError`` when the folder does not exist or two files share a stem.
    """
    allowed = tuple(suffixes)
    found: dict[str, Path] = {}
    for path in sorted(existing_folder(folder).iterdir()):
        if path.name.startswith(".") or suffix_of(path) not in allowed or path.is_dir():
            continue
        if (stem := stem_of(path)) in found:
            raise DatasetError(f"{folder}: {found[stem].name} and {path.name} would both be {stem!r}")
        found[stem] = path
    return found


def existing_folder(folder: Path) -> Path:
    """The folder; ``DatasetError`` when it is not there or is no folder."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: {'is not a folder' if folder.exists() else 'no such folder'}")
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; ``DatasetError`` naming the file for anything else."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: must hold a JSON object, not {type(value).__name__}")
    return value


def inside(root: Path, entry: str, listed_in: Path, *, allow_outside: bool = False) -> Path:
    """The file that an index names, relative to ``root``.

    Raises ``DataError`` naming the index and the entry when the path is absolute, climbs with ``..`` or leads out of
    ``root`` by a link, unless ``allow_outside``.
    """
    text = entry.replace("\\", "/")
    path = root / text
    if allow_outside:
        return path
    problem = ""
    if "\0" in text or not text.strip():
        problem = "is not a path"
    elif PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive:
        problem = "is absolute"
    elif ".." in PurePosixPath(text).parts:
        problem = "climbs with '..'"
    elif not path.resolve().is_relative_to(root.resolve()):
        problem = "leads out of it by a link"
    if problem:
        raise DataError(
            f"{listed_in}: entry {entry!r} {problem}; entries must stay inside {root} "
            "(`allow_outside: true` lifts this for files that you trust)"
        )
    return path
