"""``image-mask-folder``: pictures or volumes with their masks, paired by patterns of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from medeval.datasets.base import BOTH, FieldName, ImagingDataset
from medeval.datasets.images import as_binary, join_notes, read_grid, read_image, read_mask_like
from medeval.datasets.labels import Labelling, parse_labels
from medeval.datasets.paths import existing_folder
from medeval.datasets.patterns import captured, check_pattern, fill, find, has_wildcard, literal, placeholders
from medeval.types import Case, CaseInfo, DataError, MaskStack, Structures


@dataclass(frozen=True)
class _Pair:
    """One image and its masks: structure -> path relative to root. ``wanted`` is the mask pattern of this image."""

    image: str
    values: Mapping[str, str]
    wanted: str
    masks: Mapping[str, str]


class ImageMaskFolder(ImagingDataset):
    """Pairs by pattern: ``images: "img/*.png"``, ``masks: "mask/{id}_mask.png"``.

    ``{id}`` is what ``{id}`` matched in ``images``, or else all that ``*`` and other placeholders matched, joined by "_".
    Other placeholders (``{site}/img/{id}.png``) become metadata, ``{patient}`` the patient; ``masks`` may use them all.
    Without ``labels`` a mask file is binary: 0 and one other value, the structure is called ``structure``. With ``labels``
    it is a label map. A ``*`` or ``{structure}`` in ``masks`` stands for several binary masks an image, named by what it
    matches; a mask that fits two ids (``a_1`` and ``a_1_2``) belongs to the longer one.
    """

    selecting: ClassVar[frozenset[str]] = ImagingDataset.selecting | {"root", "images", "masks"}

    root: Path = Field(description="Folder that the patterns are relative to.")
    images: str = Field("images/*.png", description="Pattern of the images.")
    masks: str = Field("masks/{id}.png", description="Pattern of an image's mask or masks.")
    labels: Mapping[str, int | tuple[int, ...]] | None = Field(
        None,
        description="Names of the masks' values, as in nnU-Net: {background: 0, liver: 1, kidneys: [2, 3], ignore: 255}.",
    )
    structure: str = Field("foreground", description="Name of the structure of binary masks.")

    _check_patterns = field_validator("images", "masks")(check_pattern)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not has_wildcard(self.images):
            raise ValueError(
                f"images: {self.images!r} names one file; use * or {{id}} for the part that differs"
            )
        free = self._free
        if len(free) > 1:
            raise ValueError(
                f"masks: {self.masks!r} leaves {' and '.join(free)} open; at most one * or {{structure}}"
            )
        if free and free[0] not in ("*", "{structure}"):
            raise ValueError(
                f"masks: {free[0]} is no placeholder of images ({self.images!r}); for masks by name use {{structure}}"
            )
        if free and self.labels is not None:
            raise ValueError(
                "labels: a mask pattern with * stands for binary masks named by their file; drop one of the two"
            )
        if self.labels is not None:
            parse_labels(self.labels, "labels")
        return self

    @property
    def _free(self) -> list[str]:
        """Wildcards of ``masks`` that an image's name does not fill."""
        known = {"id", *placeholders(self.images)}
        names = [f"{{{name}}}" for name in placeholders(self.masks) if name not in known]
        return names + ["*"] * self.masks.count("*") + ["?"] * self.masks.count("?")

    def scan(self) -> Sequence[CaseInfo]:
        """Cases in order of the images' paths."""
        return [self._case_info(case_id, pair) for case_id, pair in self._pairs]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"images {self.images!r}"

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of ``labels``, or the one structure of binary masks; () where files name them, for then none is absent."""
        if self._labelling is not None:
            return tuple(self._labelling.structures)
        return () if self._free else (self.structure,)

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """``image`` and ``mask`` (or ``mask NAME`` for each) -> file."""
        pair = self._pair(case_id)
        if not self._free:
            return {"image": self.root / pair.image, "mask": self.root / literal(pair.wanted)}
        return {"image": self.root / pair.image} | {f"mask {n}": self.root / p for n, p in pair.masks.items()}

    def check(self) -> list[str]:
        """Missing files, and images for which no mask matches."""
        empty = [case.id for case in self.index if self._free and not self._pair(case.id).masks]
        return super().check() + [
            f"{case_id}: no mask matches {self._pair(case_id).wanted}" for case_id in empty
        ]

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (C, *spatial); reference ``structures``: ``LabelMap`` with ``labels``, else ``MaskStack``."""
        path = self.root / self._pair(case_id).image
        inputs: dict[str, Any] = {}
        reference: dict[str, Structures] = {}
        notes = []
        if "inputs" in fields:
            inputs["image"], note = read_image(path, self.on_nonfinite)
            notes.append(note)
        if "reference" in fields:
            grid = inputs["image"].grid if inputs else read_grid(path)
            masks: dict[str, Any] = {}
            for name, mask_path in self._mask_paths(case_id).items():
                array, note = read_mask_like(mask_path, grid, self.on_grid_mismatch)
                notes.append(note)
                if self._labelling is not None:
                    reference["structures"] = self._labelling.label_map(array, mask_path)
                else:
                    masks[name] = as_binary(array, mask_path)
            reference.setdefault("structures", MaskStack(masks, grid.shape))
        return self.case(case_id, inputs, reference, join_notes(*notes))

    def _mask_paths(self, case_id: str) -> dict[str, Path]:
        pair = self._pair(case_id)
        if not self._free:
            return {self.structure: self.root / literal(pair.wanted)}
        if not pair.masks:
            raise DataError(f"{self.root / pair.image}: no mask matches {pair.wanted}")
        return {name: self.root / path for name, path in pair.masks.items()}

    @cached_property
    def _labelling(self) -> Labelling | None:
        return None if self.labels is None else parse_labels(self.labels, "labels")

    @cached_property
    def _pairs(self) -> list[tuple[str, _Pair]]:
        """(case id, pair) in order; ids may repeat here, the index tells it."""
        existing_folder(self.root)
        listings: dict[Path, list[str]] = {}
        found: list[tuple[str, _Pair]] = []
        for path in find(self.root, self.images, listings):
            named, parts = captured(self.images, path) or ({}, ())
            case_id = named.get("id") or "_".join(parts)
            wanted = fill(self.masks, {**named, "id": case_id})
            masks = {_name(wanted, p): p for p in find(self.root, wanted, listings)} if self._free else {}
            found.append((case_id, _Pair(path, named, wanted, masks)))
        return _longest_id_owns(found)

    @cached_property
    def _by_id(self) -> dict[str, _Pair]:
        return dict(self._pairs)

    def _pair(self, case_id: str) -> _Pair:
        self.info(case_id)
        return self._by_id[case_id]

    def _case_info(self, case_id: str, pair: _Pair) -> CaseInfo:
        metadata = {k: v for k, v in pair.values.items() if k not in ("id", "patient")}
        known = tuple(pair.masks) if self._free else () if self.labels is not None else (self.structure,)
        return CaseInfo(case_id, pair.values.get("patient"), metadata, known)


def _name(wanted: str, path: str) -> str:
    named, parts = captured(wanted, path) or ({}, ())
    return (named.get("structure") or "".join(parts)).strip("_- ") or "foreground"


def _longest_id_owns(found: list[tuple[str, _Pair]]) -> list[tuple[str, _Pair]]:
    owner: dict[str, str] = {}
    for case_id, pair in found:
        for path in pair.masks.values():
            owner[path] = max(owner.get(path, ""), case_id, key=len)
    return [
        (
            case_id,
            _Pair(
                p.image,
                p.values,
                p.wanted,
                {n: path for n, path in p.masks.items() if owner[path] == case_id},
            ),
        )
        for case_id, p in found
    ]
