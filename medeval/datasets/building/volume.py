"""One case cut into images and masks. Each step that drops something counts it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.base import ImagingDataset
from medeval.datasets.building import drawing
from medeval.datasets.building.instances import components, labelled, split_by_area, structures_of
from medeval.datasets.building.options import BuildOptions
from medeval.datasets.building.sources import Source, Volume
from medeval.datasets.nifti import file_order
from medeval.types import DataError, Image, LabelMap, MaskStack, Structures

Write = Callable[[str, bytes], None]
FLAT = "2d_none"


@dataclass
class Built:
    """What became of one volume. images: image -> its masks; sizes: file -> bytes; lines: the sidecar's; dropped: the log's."""

    images: dict[str, list[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Slice:
    """One slice: where it is, and the masks that its image keeps, as (class id, instance) -> mask."""

    name: str
    axis: int | None
    index: int | None
    shape: tuple[int, ...]
    masks: Mapping[str, NDArray[np.bool_]]


class Cutter:
    """Cuts one case; ``write`` gets each file's name and bytes."""

    def __init__(self, source: Source, volume: Volume, options: BuildOptions, write: Write) -> None:
        self._source, self._volume, self._options, self._write = source, volume, options, write
        self._built = Built()

    def cut(self, dataset: ImagingDataset) -> Built:
        """All images and masks of the case. Raises ``DataError`` when it cannot be read."""
        case = dataset.read(self._volume.case)
        image: Image = case.inputs["image"]
        structures: Structures = case.reference["structures"]
        self._built.counts["volumes"] += 1
        if case.notes:
            self._built.counts["volumes with non-finite voxels"] += 1
            self._dropped("note", "", note=case.notes)
        channels = self._channels(image)
        structures, channels, affine = self._arranged(structures, image, channels)
        files = {
            role: _relative(path, self._source.root)
            for role, path in dataset.sources(self._volume.case).items()
        }
        about = {
            "dataset": self._source.name, "case": self._volume.case, "patient": self._volume.patient,
            "source": next((p for r, p in files.items() if r.startswith("image")), ""),
            "labels": sorted({p for r, p in files.items() if not r.startswith("image")}),
            "source_shape": list(channels[0].shape[: image.ndim]),
        }  # fmt: skip
        scales = [self._volume_bounds(m, c) for m, c in zip(self._source.modalities, channels, strict=True)]
        for piece in self._slices(structures, image.ndim):
            for number, modality in enumerate(self._source.modalities):
                line = about | {"channel": number, "modality_sub": modality}
                self._image(piece, modality, channels[number], scales[number], line, affine)
        return self._built

    def _channels(self, image: Image) -> list[NDArray]:
        """One array a modality: (row, column), (row, column, 3) for colour, or a volume."""
        count, array = len(self._source.modalities), image.array
        if image.ndim == 2 and count == 1 and array.shape[0] == 3:
            if array.dtype != np.uint8:
                raise DataError(
                    f"{self._volume.case}: colour of type {array.dtype}; 8 bits a channel are built from"
                )
            return [np.moveaxis(array, 0, -1)]
        if array.shape[0] != count:
            raise DataError(
                f"{self._volume.case}: has {array.shape[0]} channels, and {count} modalities are named"
            )
        return list(array)

    def _arranged(
        self, structures: Structures, image: Image, channels: list[NDArray]
    ) -> tuple[Structures, list[NDArray], NDArray[np.float64] | None]:
        """Labels, channels and affine in the order of axes that is cut: the file's own, or RAS."""
        grid = image.grid
        if grid.ndim == 2:
            return structures, channels, None
        if self._options.orientation == "upright":
            affine = np.diag([*grid.spacing, 1.0]) if grid.affine is None else grid.affine
            return structures, channels, affine
        turned: Structures
        if isinstance(structures, LabelMap):
            turned = LabelMap(file_order(structures.array, grid), structures.labels, structures.ignore)
        else:
            masks = {name: file_order(structures.mask(name), grid) for name in structures.names}
            turned = MaskStack(masks, next(iter(masks.values())).shape if masks else structures.shape)
        return turned, [file_order(channel, grid) for channel in channels], drawing.stored_affine(grid)

    # Slices and their masks

    def _slices(self, structures: Structures, ndim: int) -> Iterator[_Slice]:
        if ndim == 2:
            yield from self._slice(structures, None, None, FLAT)
            return
        letters = dict(zip(self._options.letters, range(3), strict=True))
        for letter in self._options.axes:
            axis = letters[letter]
            shape = [n for a, n in enumerate(structures.shape) if a != axis]
            if drawing.too_narrow(shape, self._options.min_side):
                self._narrow(structures, axis, letter)
                continue
            for index in range(structures.shape[axis]):
                yield from self._slice(structures, axis, index, f"{letter}_{index:04d}")

    def _slice(
        self, structures: Structures, axis: int | None, index: int | None, name: str
    ) -> Iterator[_Slice]:
        """The slice, when something of it is kept."""
        counts = self._built.counts
        counts["slices"] += 1
        masks: dict[str, NDArray[np.bool_]] = {}
        held = False
        for structure, mask in self._masks(structures, axis, index):
            held = True
            title, class_id = self._source.classes[structure]
            parts = split_by_area(components(mask), mask.shape, self._options.min_area)
            for number, part in enumerate(parts.kept):
                masks[f"{class_id}_{number:03d}"] = part.mask(mask.shape)
            for part in parts.small:
                self._dropped("small mask", name, structure=title, pixels=part.area)
                counts["small masks dropped"] += 1
                counts["pixels in small masks"] += part.area
        if not held:
            counts["slices without a label"] += 1
        elif not masks:
            counts["images dropped: every mask was small"] += 1
        elif axis is None and drawing.too_narrow(mask.shape, self._options.min_side):
            counts["images dropped: too narrow"] += 1
            self._dropped("too narrow", name, shape=list(mask.shape))
        else:
            yield _Slice(name, axis, index, next(iter(masks.values())).shape, masks)

    def _masks(
        self, structures: Structures, axis: int | None, index: int | None
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        labels = labelled(structures)
        if labels is not None and isinstance(structures, LabelMap):
            yield from structures_of(self._drawn(structures.array, axis, index), labels)
            return
        for name in structures.names:
            mask = self._drawn(structures.mask(name), axis, index)
            if mask.any():
                yield name, mask

    def _drawn(self, array: NDArray, axis: int | None, index: int | None) -> NDArray:
        if axis is None or index is None:
            return array
        return drawing.picture_of(array, axis, index, self._options.orientation)

    def _narrow(self, structures: Structures, axis: int, letter: str) -> None:
        """Count the labelled slices of an axis whose slices are all too narrow."""
        others = tuple(a for a in range(3) if a != axis)
        if isinstance(structures, LabelMap):
            values = sorted({value for parts in structures.labels.values() for value in parts})
            held = np.asarray(np.isin(structures.array, values).any(axis=others))
        else:
            held = np.zeros(structures.shape[axis], dtype=bool)
            for name in structures.names:
                held |= structures.mask(name).any(axis=others)
        count, shape = int(held.sum()), [structures.shape[a] for a in reversed(others)]
        self._built.counts["slices"] += len(held)
        self._built.counts["slices without a label"] += len(held) - count
        self._built.counts["images dropped: too narrow"] += count
        self._dropped("too narrow", letter, shape=shape, slices=count)

    # Images

    def _image(
        self,
        piece: _Slice,
        modality: str,
        channel: NDArray,
        scale: Any,
        line: dict[str, Any],
        affine: NDArray[np.float64] | None,
    ) -> None:
        drawn = self._drawn(channel, piece.axis, piece.index)
        picture, how = self._scaled(drawn, modality, scale)
        stem = f"{modality}--{self._source.name}--{self._volume.case}--{piece.name}"
        if picture is None:
            self._built.counts["images dropped: constant"] += 1
            self._dropped("constant image", piece.name, modality=modality)
            return
        image = self._put(f"images/{stem}.png", picture)
        masks = [
            self._put(f"masks/{stem}--{key}.png", mask.astype(np.uint8) * 255)
            for key, mask in piece.masks.items()
        ]
        self._built.images[image] = sorted(masks)
        self._built.counts["images"] += 1
        self._built.counts["masks"] += len(masks)
        self._built.lines.append({"image": image} | line | self._place(piece, affine) | {"intensity": how})

    def _scaled(
        self, drawn: NDArray, modality: str, scale: Any
    ) -> tuple[NDArray[np.uint8] | None, dict[str, Any]]:
        """The 8-bit picture, None when it is constant; and how it was scaled."""
        if drawn.ndim == 3:
            return (None if drawn.min() == drawn.max() else drawn.astype(np.uint8)), {"rule": "as it is"}
        window = self._options.window if modality.startswith("ct") else None
        rule = "window" if window else "percentiles" if self._options.percentiles else "minimum and maximum"
        limits = scale if scale is not None else drawing.bounds(drawn, self._options.percentiles)
        if limits is None or not limits[0] < limits[1] or not np.isfinite(limits[1] - limits[0]):
            return None, {}
        picture = drawing.to_uint8(drawn, *limits)
        how = {"rule": rule, "scope": self._options.scope, "low": limits[0], "high": limits[1]}
        return (None if picture.min() == picture.max() else picture), how

    def _volume_bounds(self, modality: str, channel: NDArray) -> tuple[float, float] | None:
        """Limits that hold for every slice; None: each slice has its own."""
        if self._options.window and modality.startswith("ct"):
            return drawing.window_bounds(self._options.window)
        if self._options.scope == "image":
            return None
        return drawing.bounds(channel, self._options.percentiles) or (0.0, 0.0)

    def _place(self, piece: _Slice, affine: NDArray[np.float64] | None) -> dict[str, Any]:
        """Where the picture lies: what the layout's names do not say."""
        place: dict[str, Any] = {"shape": list(piece.shape), "orientation": self._options.orientation}
        if affine is None or piece.axis is None or piece.index is None:
            return place | {"axis": None, "index": None, "spacing": None}
        axis = piece.axis
        spacing = [float(np.linalg.norm(affine[:3, a])) for a in range(3)]
        first, second = (a for a in range(3) if a != axis)
        shape = np.insert(np.array(piece.shape[::-1]), axis, 1)
        matrix = drawing.picture_affine(affine, shape.tolist(), axis, piece.index, self._options.orientation)
        return place | {
            "axis": axis, "index": piece.index, "plane": drawing.plane_of(affine, axis),
            "spacing": [round(spacing[second], 6), round(spacing[first], 6)], "thickness": round(spacing[axis], 6),
            "affine": np.round(matrix, 6).tolist(),
        }  # fmt: skip

    def _put(self, name: str, picture: NDArray[np.uint8]) -> str:
        from PIL import Image as Pillow

        buffer = io.BytesIO()
        Pillow.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG")
        data = buffer.getvalue()
        self._write(name, data)
        self._built.sizes[name] = len(data)
        return name

    def _dropped(self, reason: str, where: str, **more: Any) -> None:
        entry = {"dataset": self._source.name, "case": self._volume.case, "slice": where, "reason": reason}
        self._built.dropped.append(entry | more)


def _relative(path: Path, root: Path) -> str:
    """The path below the folder that was built from; the name alone for a link that leads out of it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
