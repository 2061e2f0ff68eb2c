"""Label values: integers that name structures, checked before anything is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.types import DataError, DatasetError, LabelMap

_ROUNDING = 1e-4  # header scaling turns 3 into 2.9999998; anything farther from an integer is no label


@dataclass(frozen=True)
class Labelling:
    """structure -> the values that make it up, and the value that is scored for nobody."""

    structures: Mapping[str, tuple[int, ...]]
    ignore: int | None = None

    def label_map(self, array: NDArray[np.integer], path: Path) -> LabelMap:
        """The array as named structures; ``DataError`` when it holds a value that has no name."""
        known = {0}.union(*self.structures.values()) | ({self.ignore} if self.ignore is not None else set())
        unknown = [int(value) for value in np.unique(array) if int(value) not in known]
        if unknown:
            raise DataError(
                f"{path}: holds label values that have no name: {_few(unknown)}; named: {_few(sorted(known))}"
            )
        return LabelMap(array, self.structures, self.ignore)


def parse_labels(labels: Mapping[str, Any], where: str) -> Labelling:
    """nnU-Net's form: ``{background: 0, liver: 1, kidneys: [2, 3], ignore: 4}``.

    A list is a region; ``ignore`` names the value to leave out; what is 0 is background and no structure.
    Raises ``DatasetError`` naming the label.
    """
    structures: dict[str, tuple[int, ...]] = {}
    for name, value in labels.items():
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not values or any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in values):
            raise DatasetError(f"{where}: label {name!r}: {value!r} is not an integer >= 0 or a list of them")
        if values != (0,):
            if 0 in values:
                raise DatasetError(
                    f"{where}: label {name!r}: {value!r} mixes the background (0) with structures"
                )
            structures[str(name)] = values
    ignore = structures.pop("ignore", None)
    if ignore is not None and len(ignore) > 1:
        raise DatasetError(f"{where}: label 'ignore' must be one value, not {list(ignore)}")
    if not structures:
        raise DatasetError(f"{where}: names no structure; for example {{background: 0, liver: 1}}")
    return Labelling(structures, ignore[0] if ignore else None)


def as_labels(array: NDArray, path: Path) -> NDArray[np.integer]:
    """The array as non-negative integers in the smallest type of uint8, uint16, int32 and int64.

    Floats with integer values are cast. Raises ``DataError`` with an example for NaN, fractions and negative values.
    """
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        array = _rounded(array, path)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0:
        raise DataError(f"{path}: a label map cannot hold negative values, for example {low}")
    kind = next(k for k in (np.uint8, np.uint16, np.int32, np.int64) if high <= np.iinfo(k).max)
    return array.astype(kind, copy=False)


def _rounded(array: NDArray, path: Path) -> NDArray[np.int64]:
    finite = np.isfinite(array)
    if not finite.all():
        raise DataError(f"{path}: a label map cannot hold NaN or infinity ({int((~finite).sum())} voxels)")
    rounded = np.rint(array)
    wrong = np.abs(array - rounded) > _ROUNDING
    if wrong.any():
        raise DataError(
            f"{path}: a label map must hold integers; {int(wrong.sum())} voxels do not, for example {array[wrong][0]:.6g}. "
            "Threshold probabilities, or resample labels with nearest neighbour"
        )
    if rounded.size and np.abs(rounded).max() > 2**53:
        raise DataError(f"{path}: label values up to {np.abs(rounded).max():.3g} are too large")
    return rounded.astype(np.int64)


def as_binary(array: NDArray[np.integer], path: Path) -> NDArray[np.bool_]:
    """A mask of one structure: 0 and one other value ({0, 1} and {0, 255} both occur). ``DataError`` otherwise."""
    values = [int(value) for value in np.unique(array)]
    if len([value for value in values if value]) > 1:
        raise DataError(
            f"{path}: a mask of one structure holds 0 and one other value, this one holds {_few(values)}; "
            "name the values with `labels:` if it is a label map"
        )
    return array != 0


def _few(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (f" and {len(values) - 8} more" if len(values) > 8 else "")
