"""One structure's two masks, with everything that several metrics share computed once: counts, crop, surface distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from medeval.metrics import kernels, tensors
from medeval.metrics.distances import SurfaceDistances
from medeval.metrics.inputs import (
    Bytes,
    as_array,
    as_mask,
    check_same_shape,
    check_spacing,
    not_a_mask,
)
from medeval.types.errors import MetricError
from medeval.types.geometry import Grid

Surface = Literal["surfel", "voxel"]
Scalar = TypeVar("Scalar", bound=np.generic)


class Counts(NamedTuple):
    """Voxels by what prediction and reference say of them; ``tn`` counts the whole image but what is ignored."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def prediction(self) -> int:
        """Voxels of the prediction."""
        return self.tp + self.fp

    @property
    def reference(self) -> int:
        """Voxels of the reference."""
        return self.tp + self.fn


class MaskPair:
    """Prediction and reference of one structure, with shared and lazily computed intermediates.

    prediction, reference: 2D or 3D masks {0, 1} of one shape (numpy or torch; bool, integer or float): the whole image,
        or a part that holds all foreground when ``grid`` tells the whole.
    spacing: voxel edge lengths (mm) in array order.
    structure: its name, for metrics with a table of tolerances.
    grid: the full image's grid: its voxel count (specificity) and diagonal (worst distance). Default: the arrays' own.
    probabilities: float array in [0, 1] of the masks' shape, for calibration metrics.
    ignore: mask of voxels that are background on both sides and counted nowhere.

    Raises ``MetricError`` naming the argument that is wrong.
    """

    __slots__ = (
        "_box", "_counts", "_crops", "_device", "_grid", "_masks", "_own", "_surfaces", "_values", "ignore", "origin",
        "probabilities", "shape", "spacing", "structure",
    )  # fmt: skip

    probabilities: NDArray[np.floating] | None
    ignore: NDArray[np.bool_] | None

    def __init__(
        self,
        prediction: Any,
        reference: Any,
        spacing: Sequence[float],
        structure: str = "",
        grid: Grid | None = None,
        probabilities: Any = None,
        *,
        ignore: Any = None,
    ) -> None:
        if tensors.on_device(prediction, reference) and probabilities is None and ignore is None:
            self._fill_from_device(tensors.device_masks(prediction, reference), spacing, structure, grid)
            return
        maps = _read(prediction, "prediction"), _read(reference, "reference")
        check_same_shape(*maps)
        left_out = as_ignore(ignore, maps[0].shape)
        if left_out is not None:
            maps = without(maps[0], left_out), without(maps[1], left_out)
        ndim = maps[0].ndim
        self._fill(maps, (1,), check_spacing(spacing, ndim), structure, grid, np.zeros(ndim, dtype=np.int64))
        self.ignore = left_out
        self.probabilities = as_probabilities(probabilities, self.shape)

    def _fill(
        self,
        maps: tuple[Bytes, Bytes] | None,
        values: tuple[int, ...],
        spacing: tuple[float, ...],
        structure: str,
        grid: Grid | None,
        origin: NDArray[np.int64],
    ) -> None:
        self._device: tensors.DeviceMasks | None = None
        self._own = maps
        self._values = values
        self.shape: tuple[int, ...] = maps[0].shape if maps else ()
        self.spacing = spacing
        self.structure = structure
        self.origin = origin
        self.probabilities = None
        self.ignore = None
        self._grid = grid
        self._counts: Counts | None = None
        self._box: NDArray[np.int64] | None = None
        self._masks: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
        self._crops: tuple[Bytes, Bytes] | None = None
        self._surfaces: dict[Surface, SurfaceDistances] = {}

    def _fill_from_device(
        self, found: tensors.DeviceMasks, spacing: Sequence[float], structure: str, grid: Grid | None
    ) -> None:
        """Counts are known; the crop stays on the device until a metric needs it."""
        steps = check_spacing(spacing, len(found.shape))
        grid = grid or Grid(found.shape, steps)
        self._fill(None, (1,), steps, structure, grid, found.box[0])
        self.shape = tuple((found.box[1] - found.box[0]).tolist())
        self._counts = Counts(found.tp, found.fp, found.fn, voxels(grid) - found.tp - found.fp - found.fn)
        self._box = found.box - found.box[0]
        self._device = found

    @classmethod
    def of_labels(
        cls,
        maps: tuple[Bytes, Bytes],
        values: tuple[int, ...],
        spacing: tuple[float, ...],
        structure: str,
        grid: Grid,
        counts: Counts,
        box: NDArray[np.int64],
    ) -> MaskPair:
        """A pair cut out of two checked byte label maps; ``mask_pairs`` is the way to make these.

        box: (2, ndim) half-open, of all ``values`` in both maps. The pair's arrays are views of that crop.
        """
        pair = cls.__new__(cls)
        crop = tuple(slice(int(a), int(b)) for a, b in zip(*box, strict=True))
        pair._fill((maps[0][crop], maps[1][crop]), values, spacing, structure, grid, box[0])
        pair._counts = counts
        pair._box = box - box[0]
        return pair

    @property
    def _maps(self) -> tuple[Bytes, Bytes]:
        if self._own is None:
            self._own = self._device.host()  # type: ignore[union-attr]
            self._device = None
        return self._own

    @property
    def grid(self) -> Grid:
        """Grid of the full image."""
        if self._grid is None:
            self._grid = Grid(self.shape, self.spacing)
        return self._grid

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def counts(self) -> Counts:
        """Voxel counts over the full image."""
        if self._counts is None:
            self._scan()
        return self._counts  # type: ignore[return-value]

    @property
    def box(self) -> NDArray[np.int64]:
        """(2, ndim) half-open box of both masks within the pair's arrays; zeros when both are empty."""
        if self._box is None:
            self._scan()
        return self._box  # type: ignore[return-value]

    @property
    def crop_voxels(self) -> int:
        """Number of voxels of ``box``: what the pair costs."""
        start, stop = self.box.tolist()
        size = 1
        for low, high in zip(start, stop, strict=True):
            size *= high - low
        return size

    def _scan(self) -> None:
        try:
            counts, boxes = kernels.scan(*self._maps, 2)
        except ValueError as error:
            wrong = self._maps[0] if self._maps[0].max() == error.args[0] else self._maps[1]
            argument = "prediction" if wrong is self._maps[0] else "reference"
            raise not_a_mask(argument, error.args[0]) from None
        (_, fn), (fp, tp) = counts.tolist()
        total = voxels(self.grid) - (0 if self.ignore is None else int(np.count_nonzero(self.ignore)))
        self._counts = Counts(tp, fp, fn, total - tp - fp - fn)
        self._box = boxes[1]

    @property
    def empty(self) -> str:
        """Which sides are empty: "", "both empty", "prediction empty" or "reference empty"."""
        counts = self.counts
        if counts.tp or (counts.fp and counts.fn):
            return ""
        return "prediction empty" if counts.fn else "reference empty" if counts.fp else "both empty"

    @property
    def prediction(self) -> NDArray[np.bool_]:
        """Bool array of ``shape``; ``origin`` says where it lies in the image."""
        return self._both()[0]

    @property
    def reference(self) -> NDArray[np.bool_]:
        """Bool array of ``shape``."""
        return self._both()[1]

    def _both(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        if self._masks is None:
            first, second = (_select(m, self._values) for m in self._maps)
            self._masks = first, second
        return self._masks

    @property
    def crops(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(prediction, reference) as bool arrays over ``box``."""
        first, second = (_select(crop, self._values) for crop in self._cropped())
        return first, second

    def _cropped(self) -> tuple[Bytes, Bytes]:
        if self._crops is None:
            where = tuple(slice(a, b) for a, b in zip(*self.box.tolist(), strict=True))
            self._crops = self._maps[0][where], self._maps[1][where]
        return self._crops

    def surface(self, kind: Surface) -> SurfaceDistances:
        """Distances between the two surfaces; kept for the next metric.

        kind: "surfel" (corners weighted by area) or "voxel" (border voxels).
        Raises ``MetricError`` when a side is empty.
        """
        known = self._surfaces.get(kind)
        if known is None:
            if self.empty:
                raise MetricError(f"no surface distance: {self.empty}")
            known = kernels.surfaces(*self._cropped(), self._values, self.spacing, kind == "surfel")
            self._surfaces[kind] = known
        return known


def _read(array: Any, argument: str) -> Bytes:
    """A mask as bytes; values above 1 are found when voxels are counted."""
    narrowed = kernels.narrow(as_array(array, argument))
    return as_mask(array, argument) if narrowed is None else narrowed


def _select(array: Bytes, values: tuple[int, ...]) -> NDArray[np.bool_]:
    return array == values[0] if len(values) == 1 else np.isin(array, values)


def voxels(grid: Grid) -> int:
    """Number of voxels of a grid."""
    total = 1
    for n in grid.shape:
        total *= int(n)
    return total


def as_ignore(ignore: Any, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """The ignore mask as bool, or None when nothing is ignored."""
    if ignore is None:
        return None
    mask = as_mask(ignore, "ignore")
    if mask.shape != shape:
        raise MetricError(f"ignore has shape {mask.shape}, but the masks have shape {shape}")
    if mask.max() > 1:
        raise not_a_mask("ignore", int(mask.max()))
    return mask.view(np.bool_) if mask.any() else None


def without(array: NDArray[Scalar], ignore: NDArray[np.bool_]) -> NDArray[Scalar]:
    """A copy with 0 where ``ignore``."""
    copy = array.copy()
    copy[ignore] = 0
    return copy


def as_probabilities(probabilities: Any, shape: tuple[int, ...]) -> NDArray[np.floating] | None:
    """Probabilities as a float array of the masks' shape.

    Raises ``MetricError`` for another shape, NaN, or values outside [0, 1].
    """
    if probabilities is None:
        return None
    values = as_array(probabilities, "probabilities")
    if values.shape != shape:
        raise MetricError(f"probabilities have shape {values.shape}, but the masks have shape {shape}")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if not (values.min() >= 0.0 and values.max() <= 1.0):
        raise MetricError("probabilities must lie in [0, 1] and hold no NaN")
    return values
