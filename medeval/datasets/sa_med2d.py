"""``sa-med2d``: the layout of SA-Med2D-20M and of SAM-Med2D's demo. 2D pictures, one file a mask.

One case is one image with all its masks. Instances of a structure stay separate masks, named ``hip_left#0`` and
``hip_left#1`` (the part before ``#`` is the structure) only where an image holds several; ``instances: merged`` unites
them. Pictures carry no spacing: distances are in pixels, unless the sidecar of ``medeval dataset build`` tells it. A mask
that is not there says nothing: small ones were filtered out of the release, so ``structures`` names no absent ones.

Indices of millions of rows are read as a stream and kept as a Parquet file in the cache folder; the cases are made from
it when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.datasets.base import BOTH, FieldName, ImagingDataset
from medeval.datasets.images import as_binary, join_notes
from medeval.datasets.paths import files_by_stem
from medeval.datasets.sa_med2d_entries import Entries, Entry, InMemory, cached
from medeval.datasets.sa_med2d_files import CLASS_NAMES, RELEASE_INDEX, SIDECAR, Archive, Files, open_files
from medeval.datasets.sa_med2d_merge import Row, merged, stem_of_entry
from medeval.datasets.sa_med2d_names import (
    MaskName,
    class_names,
    name_instances,
    parse_image,
    parse_mask,
    split_of,
)
from medeval.datasets.sa_med2d_read import load_grid, load_image, load_mask
from medeval.datasets.sa_med2d_select import StoredIndex, at_positions, choose
from medeval.datasets.sa_med2d_stream import stream_lines, stream_object, stream_pairs
from medeval.datasets.selection import parse_split
from medeval.types import Case, CaseIndex, CaseInfo, DataError, DatasetError, MaskStack, nearest

IN_MEMORY = 8 << 20  # bytes of index files that are held as objects; larger ones go through the cache folder
HELD = 100_000  # cases of an index that are held as objects


class SAMed2D(ImagingDataset):
    """A folder, or a zip archive of it, with ``images/``, ``masks/`` and any of the indices ``SAMed2D_v1.json``, ``image2label_*.json``, ``label2image_*.json``.

    Without ``index_files`` all of them are read and merged, and images that none lists (they have no mask) are cases
    too, with nothing to score; the release's own index is taken alone, for listing its millions of files is slow. With
    ``index_files``, or with ``split`` naming one (``split: test`` reads ``*_test.json``), only what they list is a case.
    A first component that the root does not hold (``data_demo/images/...``) is dropped. ``cases.jsonl``, the sidecar of
    ``medeval dataset build``, gives patients and the pixels' spacing in mm.
    """

    selecting: ClassVar[frozenset[str]] = ImagingDataset.selecting | {
        "root",
        "index_files",
        "allow_outside",
        "sidecar",
    }

    root: Path = Field(
        description="Folder that holds images/, masks/ and the index files, or its zip archive."
    )
    index_files: tuple[str, ...] | None = Field(
        None, description="Index files to read, relative to root; default: all."
    )
    instances: Literal["separate", "merged"] = Field(
        "separate", description="Several masks of one structure in an image: one record each, or united."
    )
    sidecar: bool = Field(
        True,
        description="Take patients and pixel spacing from cases.jsonl, where there is one; else pixels are the unit.",
    )
    allow_outside: bool = Field(
        False, description="Permit entries that are absolute, climb, or lead out of root by a link."
    )

    @cached_property
    def index(self) -> CaseIndex:
        """The cases of this configuration; of millions, those that are kept are found in a stream. Raises ``DatasetError``."""
        entries = self.entries
        if len(entries) <= HELD:
            return super().index
        positions = choose(
            entries, self._brief_of, self.select, self.seed, self.split, self.limit, self._what
        )
        if positions is not None and len(positions) <= HELD:
            return CaseIndex([self._info_of(entry) for entry in at_positions(entries, positions)])
        return StoredIndex(entries, self._info_of, positions)

    def scan(self) -> Sequence[CaseInfo]:
        """Cases in order of their image's name."""
        return [self._case_info(entry) for entry in self.entries]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"{RELEASE_INDEX}, image2label_*.json or label2image_*.json, or pictures in images/"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """``image`` and ``mask NAME`` -> file; of an archive, paths that name its members."""
        entry = self.entry(case_id)
        image, masks = self.paths(entry)
        keys = self.mask_keys(entry)
        named = {f"mask {n} {key}": path for n, (key, path) in enumerate(zip(keys, masks, strict=True))}
        return {"image": image, **named}

    def reading(self, case_id: str) -> object:
        """Names of the masks, the spacing, and of an archive's members their checksums: ``sources`` cannot be hashed there."""
        entry = self.entry(case_id)
        packed = isinstance(self.files, Archive)
        sums = [self.files.content(self._relative(path)) for path in self._flat(entry)] if packed else []
        return [self.mask_keys(entry), entry.spacing, sums]

    def check(self) -> list[str]:
        """What is wrong with the cases as far as the files' entries tell, one sentence each; nothing is read."""
        problems = []
        for case in self.index:
            try:
                sources = self.sources(case.id)
            except DataError as error:
                problems.append(f"{case.id}: {error}")
                continue
            troubles = ((role, path, self.files.trouble(path)) for role, path in sources.items())
            problems += [f"{case.id}: {role} {path} {trouble}" for role, path, trouble in troubles if trouble]
        return problems

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (C, row, column); reference ``structures``: ``MaskStack``, {} for an image without masks."""
        entry = self.entry(case_id)
        path, mask_paths = self.paths(entry)
        inputs, reference, notes = {}, {}, []
        if "inputs" in fields:
            inputs["image"], note = load_image(self.files, path, entry.spacing, self.on_nonfinite)
            notes.append(note)
        if "reference" in fields:
            grid = inputs["image"].grid if inputs else load_grid(self.files, path, entry.spacing)
            masks: dict[str, NDArray[np.bool_]] = {}
            for key, mask_path in zip(self.mask_keys(entry), mask_paths, strict=True):
                array, note = load_mask(self.files, mask_path, grid, self.on_grid_mismatch)
                mask = as_binary(array, mask_path)
                masks[key] = masks[key] | mask if key in masks else mask
                notes.append(note)
            reference["structures"] = MaskStack(masks, grid.shape)
        return self.case(case_id, inputs, reference, join_notes(*notes))

    # One image: what the tools of `medeval dataset` use beside the protocol above

    def entry(self, case_id: str) -> Entry:
        """The row of one case; ``DatasetError`` when the selection does not hold it."""
        self.info(case_id)
        return self.entries.at(self.entries.position(case_id))

    def paths(self, entry: Entry) -> tuple[Path, list[Path]]:
        """The image's file and its masks', none outside of root (``DataError``). A hostile path is told before its name is."""
        return self._path(entry, entry.image), [self._path(entry, mask) for mask in entry.masks]

    def mask_keys(self, entry: Entry) -> list[str]:
        """Structure of each mask, in the entry's order; ``DataError`` for a name outside the grammar."""
        names = self.mask_names(entry)
        return [n.structure for n in names] if self.instances == "merged" else name_instances(names)

    def mask_names(self, entry: Entry) -> list[MaskName]:
        """What the masks' names say, with the class mapping's names; ``DataError`` for a name outside the grammar."""
        image = parse_image(entry.stem)
        found = []
        for mask in entry.masks:
            name = parse_mask(stem_of_entry(mask), image)
            if name is None:
                form = "--CLASS_000.png" if image.source else "_STRUCTURE_000.png"
                where = self.root / entry.listed_in[0]
                raise DataError(
                    f"{where}: mask {mask!r} of image {entry.stem!r} is not named {entry.stem}{form}"
                )
            title = self._class_names.get((image.source, name.class_id))
            found.append(name if title is None else replace(name, structure=title))
        return found

    @property
    def knows_classes(self) -> bool:
        """True when there is a class mapping."""
        return bool(self._class_names)

    def _info_of(self, entry: Entry) -> CaseInfo:
        return self._described(self._case_info(entry))

    def _brief_of(self, entry: Entry) -> CaseInfo:
        return self._described(self._case_info(entry, structures=False))

    def _case_info(self, entry: Entry, *, structures: bool = True) -> CaseInfo:
        name = parse_image(entry.stem)
        splits = "+".join(dict.fromkeys(split for split in map(split_of, entry.listed_in) if split))
        metadata = name.metadata() | ({"split": splits} if splits else {})
        try:
            keys = tuple(dict.fromkeys(self.mask_keys(entry))) if structures else ()
        except DataError:
            keys = ()  # told by `check` and by `read`
        return CaseInfo(entry.stem, entry.patient or name.patient, metadata, keys)

    @cached_property
    def _class_names(self) -> dict[tuple[str, str], str]:
        if not self.files.has(CLASS_NAMES):
            return {}
        where = self.root / CLASS_NAMES
        with self.files.text(CLASS_NAMES) as stream:
            return class_names(stream_object(stream, where), where)

    def _path(self, entry: Entry, written: str) -> Path:
        """The file of an index entry; its first component is dropped where the root does not hold it."""
        listed_in = entry.listed_in[0]
        path = self.files.path(written, listed_in, allow_outside=self.allow_outside)
        parts = PurePosixPath(written.replace("\\", "/")).parts
        if len(parts) > 2 and not self.files.top(parts[0]):
            return self.files.path("/".join(parts[1:]), listed_in, allow_outside=self.allow_outside)
        return path

    def _flat(self, entry: Entry) -> list[Path]:
        image, masks = self.paths(entry)
        return [image, *masks]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    # Which images there are

    @cached_property
    def files(self) -> Files:
        """The folder or the archive. Raises ``DatasetError``."""
        return open_files(self.root)

    @cached_property
    def entries(self) -> Entries:
        """Every image of the index files in order of their names, before any selection. Raises ``DatasetError``."""
        listing = self._index_names()
        names = [*listing, SIDECAR] if self.sidecar and self.files.has(SIDECAR) else listing
        entries = merged(self._rows(listing, names), names, self.root)
        if self._lists_folder(listing):
            held = list(entries)
            held += self._on_disk({PurePosixPath(entry.image).name for entry in held})
            return InMemory(sorted(held, key=lambda entry: entry.stem))
        if sum(self.files.size(name) for name in names) <= IN_MEMORY:
            return InMemory(entries)
        return cached([self.files.content(name) for name in names], names, entries)

    def _rows(self, listing: Sequence[str], names: Sequence[str]) -> Iterator[Row]:
        for file, name in enumerate(listing):
            with self.files.text(name) as stream:
                for number, (image, masks) in enumerate(stream_pairs(stream, self.root / name)):
                    yield Row(stem_of_entry(image), file, number, image, masks)
        if len(names) > len(listing):
            yield from self._sidecar_rows(len(listing))

    def _sidecar_rows(self, file: int) -> Iterator[Row]:
        where = self.root / SIDECAR
        with self.files.text(SIDECAR) as stream:
            for number, line in stream_lines(stream, where):
                image, patient, spacing = line.get("image"), line.get("patient"), line.get("spacing")
                good = isinstance(image, str) and (patient is None or isinstance(patient, str))
                if not good or not (spacing is None or _is_spacing(spacing)):
                    raise DatasetError(
                        f"{where}, line {number}: needs image (a path), patient (a text or null) and spacing "
                        "([rows, columns] in mm, or null)"
                    )
                yield Row(stem_of_entry(str(image)), file, number, None, (), patient, spacing)

    def _index_names(self) -> list[str]:
        files = self.files
        if self.index_files is not None:
            return list(self.index_files)
        if files.has(RELEASE_INDEX) and not self._split_name:
            return [RELEASE_INDEX]
        found = files.indices()
        if not self._split_name:
            return found
        mine = [name for name in found if split_of(name) == self._split_name]
        if not mine:
            raise DatasetError(
                f"{self.root}: no index file for split {self._split_name!r}; "
                f"{nearest(self._split_name, {split_of(name) for name in found})}"
            )
        return mine

    @property
    def _split_name(self) -> str:
        return parse_split(self.split)[0]

    def _lists_folder(self, listing: Sequence[str]) -> bool:
        chosen = self.index_files is not None or bool(self._split_name) or RELEASE_INDEX in listing
        return not chosen and self.root.is_dir() and (self.root / "images").is_dir()

    def _on_disk(self, listed: set[str]) -> list[Entry]:
        """Images of ``images/`` that no index lists; with the masks of their name where there is no index at all."""
        images = files_by_stem(self.root / "images")
        masks = files_by_stem(self.root / "masks") if not listed and (self.root / "masks").is_dir() else {}
        owned: dict[str, list[str]] = {}
        for stem, path in masks.items():
            owner = _owner(stem, images)
            if owner is not None:
                owned.setdefault(owner, []).append(f"masks/{path.name}")
        return [
            Entry(stem, f"images/{path.name}", tuple(owned.get(stem, ())), ("images",))
            for stem, path in images.items()
            if path.name not in listed
        ]


def _is_spacing(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in value)
    )


def _owner(mask_stem: str, images: Mapping[str, Path]) -> str | None:
    """The image that a mask's name begins with; the longest, for ``case_1`` also begins ``case_1_2``'s masks."""
    cut = mask_stem.rfind("--") if "--" in mask_stem else mask_stem.rfind("_")
    separator = "--" if "--" in mask_stem else "_"
    while cut > 0:
        if mask_stem[:cut] in images:
            return mask_stem[:cut]
        cut = mask_stem.rfind(separator, 0, cut)
    return None
