"""``sa-med2d``: the layout of SA-Med2D-20M and of SAM-Med2D's demo. 2D pictures, one file a mask.

One case is one image with all its masks. Instances of a structure stay separate masks, named ``hip_left#0`` and
``hip_left#1`` (the part before ``#`` is the structure) only where an image holds several; ``instances: merged`` unites
them. Pictures carry no spacing: distances are in pixels. A mask that is not there says nothing: small ones were filtered
out of the release, so ``structures`` names no absent ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.datasets.base import BOTH, FieldName, ImagingDataset
from medeval.datasets.images import as_binary, join_notes, read_grid, read_image, read_mask_like
from medeval.datasets.paths import existing_folder, files_by_stem, inside
from medeval.datasets.sa_med2d_names import (
    MaskName,
    name_instances,
    parse_image,
    parse_mask,
    read_class_names,
    read_index,
    split_of,
)
from medeval.datasets.selection import parse_split
from medeval.types import Case, CaseInfo, DataError, DatasetError, MaskStack, nearest

RELEASE_INDEX = "SAMed2D_v1.json"
CLASS_NAMES = "SAMed2D_v1_class_mapping_id.json"


@dataclass(frozen=True)
class _Entry:
    """One image of the index: its path and its masks' as written, and which file says so."""

    image: str
    masks: tuple[str, ...]
    listed_in: Path
    splits: tuple[str, ...] = ()


class SAMed2D(ImagingDataset):
    """A folder with ``images/``, ``masks/`` and any of the indices ``SAMed2D_v1.json``, ``image2label_*.json``, ``label2image_*.json``.

    Without ``index_files`` all of them are read and merged, and images that none lists (they have no mask) are cases
    too, with nothing to score; the release's own index is taken alone, for listing its millions of files is slow. With
    ``index_files``, or with ``split`` naming one (``split: test`` reads ``*_test.json``), only what they list is a case.
    A first component that the root does not hold (``data_demo/images/...``) is dropped.
    """

    selecting: ClassVar[frozenset[str]] = ImagingDataset.selecting | {"root", "index_files", "allow_outside"}

    root: Path = Field(description="Folder that holds images/, masks/ and the index files.")
    index_files: tuple[str, ...] | None = Field(
        None, description="Index files to read, relative to root; default: all."
    )
    instances: Literal["separate", "merged"] = Field(
        "separate", description="Several masks of one structure in an image: one record each, or united."
    )
    allow_outside: bool = Field(
        False, description="Permit entries that are absolute, climb, or lead out of root by a link."
    )

    def scan(self) -> Sequence[CaseInfo]:
        """Cases in order of their image's name."""
        return [self._case_info(stem, entry) for stem, entry in sorted(self._entries.items())]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"{RELEASE_INDEX}, image2label_*.json or label2image_*.json, or pictures in images/"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """``image`` and ``mask NAME`` -> file."""
        entry = self._entry(case_id)
        image, masks = self._paths(entry)
        keys = self._mask_keys(case_id, entry)
        named = {f"mask {n} {key}": path for n, (key, path) in enumerate(zip(keys, masks, strict=True))}
        return {"image": image, **named}

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (C, row, column); reference ``structures``: ``MaskStack``, {} for an image without masks."""
        entry = self._entry(case_id)
        path, mask_paths = self._paths(entry)
        inputs, reference, notes = {}, {}, []
        if "inputs" in fields:
            inputs["image"], note = read_image(path, self.on_nonfinite)
            notes.append(note)
        if "reference" in fields:
            grid = inputs["image"].grid if inputs else read_grid(path)
            masks: dict[str, NDArray[np.bool_]] = {}
            for key, mask_path in zip(self._mask_keys(case_id, entry), mask_paths, strict=True):
                array, note = read_mask_like(mask_path, grid, self.on_grid_mismatch)
                mask = as_binary(array, mask_path)
                masks[key] = masks[key] | mask if key in masks else mask
                notes.append(note)
            reference["structures"] = MaskStack(masks, grid.shape)
        return self.case(case_id, inputs, reference, join_notes(*notes))

    # Which images, and what their names say

    @cached_property
    def _entries(self) -> dict[str, _Entry]:
        files = self._index_paths()
        merged: dict[str, _Entry] = {}
        for file in files:
            for image, masks in read_index(file).items():
                _add(merged, _Entry(image, tuple(masks), file, (split_of(file.name),)))
        if self._lists_folder(files):
            for entry in self._on_disk({PurePosixPath(entry.image).name for entry in merged.values()}):
                _add(merged, entry)
        return merged

    def _index_paths(self) -> list[Path]:
        existing_folder(self.root)
        if self.index_files is not None:
            return [self.root / name for name in self.index_files]
        if (self.root / RELEASE_INDEX).is_file() and not self._split_name:
            return [self.root / RELEASE_INDEX]
        found = sorted([*self.root.glob("image2label_*.json"), *self.root.glob("label2image_*.json")])
        if not self._split_name:
            return found
        mine = [file for file in found if split_of(file.name) == self._split_name]
        if not mine:
            raise DatasetError(
                f"{self.root}: no index file for split {self._split_name!r}; "
                f"{nearest(self._split_name, {split_of(file.name) for file in found})}"
            )
        return mine

    @property
    def _split_name(self) -> str:
        return parse_split(self.split)[0]

    def _lists_folder(self, files: Sequence[Path]) -> bool:
        release = any(file.name == RELEASE_INDEX for file in files)
        return (
            self.index_files is None
            and not self._split_name
            and not release
            and (self.root / "images").is_dir()
        )

    def _on_disk(self, listed: set[str]) -> list[_Entry]:
        """Images of ``images/`` that no index lists; with the masks of their name where there is no index at all."""
        images = files_by_stem(self.root / "images")
        masks = files_by_stem(self.root / "masks") if not listed and (self.root / "masks").is_dir() else {}
        owned: dict[str, list[str]] = {}
        for stem, path in masks.items():
            owner = _owner(stem, images)
            if owner is not None:
                owned.setdefault(owner, []).append(f"masks/{path.name}")
        return [
            _Entry(f"images/{path.name}", tuple(owned.get(stem, ())), self.root / "images")
            for stem, path in images.items()
            if path.name not in listed
        ]

    def _entry(self, case_id: str) -> _Entry:
        self.info(case_id)  # a case outside the selection is unknown
        return self._entries[case_id]

    def _case_info(self, stem: str, entry: _Entry) -> CaseInfo:
        name = parse_image(stem)
        splits = "+".join(dict.fromkeys(split for split in entry.splits if split))
        metadata = name.metadata() | ({"split": splits} if splits else {})
        try:
            structures = tuple(dict.fromkeys(self._mask_keys(stem, entry)))
        except DataError:
            structures = ()  # told by `check` and by `read`
        return CaseInfo(stem, name.patient, metadata, structures)

    def _mask_keys(self, stem: str, entry: _Entry) -> list[str]:
        """Structure of each mask, in the entry's order."""
        names = [self._mask_name(stem, mask, entry.listed_in) for mask in entry.masks]
        return [n.structure for n in names] if self.instances == "merged" else name_instances(names)

    def _mask_name(self, stem: str, mask: str, listed_in: Path) -> MaskName:
        image = parse_image(stem)
        name = parse_mask(PurePosixPath(mask.replace("\\", "/")).stem, image)
        if name is None:
            form = "--CLASS_000.png" if image.source else "_STRUCTURE_000.png"
            raise DataError(f"{listed_in}: mask {mask!r} of image {stem!r} is not named {stem}{form}")
        return replace(name, structure=self._class_names.get((image.source, name.class_id), name.structure))

    @cached_property
    def _class_names(self) -> dict[tuple[str, str], str]:
        return read_class_names(self.root / CLASS_NAMES)

    def _paths(self, entry: _Entry) -> tuple[Path, list[Path]]:
        """The image's file and its masks', none outside of root. Before their names are read: a hostile path is told as such."""
        return self._path(entry, entry.image), [self._path(entry, mask) for mask in entry.masks]

    def _path(self, entry: _Entry, written: str) -> Path:
        """The file of an index entry; its first component is dropped where the root does not hold it."""
        path = inside(self.root, written, entry.listed_in, allow_outside=self.allow_outside)
        parts = PurePosixPath(written.replace("\\", "/")).parts
        if len(parts) > 2 and not (self.root / parts[0]).exists():
            return inside(self.root, "/".join(parts[1:]), entry.listed_in, allow_outside=self.allow_outside)
        return path


def _add(merged: dict[str, _Entry], new: _Entry) -> None:
    """Add an image, or another index's masks and split to one that is there."""
    stem = PurePosixPath(new.image.replace("\\", "/")).stem
    old = merged.get(stem)
    if old is None:
        merged[stem] = replace(new, masks=tuple(dict.fromkeys(new.masks)))
    elif old.image != new.image:
        raise DatasetError(
            f"{new.listed_in}: {new.image!r} and {old.image!r} ({old.listed_in.name}) would both be {stem!r}"
        )
    else:
        masks = tuple(dict.fromkeys(old.masks + new.masks))
        merged[stem] = replace(old, masks=masks, splits=old.splits + new.splits)


def _owner(mask_stem: str, images: Mapping[str, Path]) -> str | None:
    """The image that a mask's name begins with; the longest, for ``case_1`` also begins ``case_1_2``'s masks."""
    cut = mask_stem.rfind("--") if "--" in mask_stem else mask_stem.rfind("_")
    separator = "--" if "--" in mask_stem else "_"
    while cut > 0:
        if mask_stem[:cut] in images:
            return mask_stem[:cut]
        cut = mask_stem.rfind(separator, 0, cut)
    return None
