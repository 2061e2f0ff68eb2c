"""Which patches of a volume SAM-Med3D is asked about for one structure, and with which clicks.

target   the 128^3 patch around the target's box, as the official script crops; the box tells nothing else
clicks   around the first click, as the paper starts; it moves when a click falls outside
tiled    windows over the whole volume, overlapping by half: first those of the clicks, then, as the paper extends its
         crop, the neighbours of every face that the mask reaches, with what is known so far as their mask prompt
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import EvaluatorFailure, Prompt
from medeval_adapters.sam_med3d_field import Field
from medeval_adapters.sam_med3d_volume import Begin, Volume

Patch = Literal["clicks", "target", "tiled"]
Clicks = Literal["all", "newest"]


@dataclass(frozen=True, eq=False)
class Ask:
    """One question to the decoder. points: (n, 3) places at 1.5 mm, relative to the patch; labels: (n,); n may be 0.

    mask: the mask prompt, low-resolution logits.
    """

    begin: Begin
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    mask: NDArray[np.float32]


@dataclass(eq=False)
class Dialogue:
    """One prompt being answered. points, labels: all clicks at 1.5 mm, of the volume. known: the answers so far."""

    volume: Volume
    structure: str
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    known: Field
    newest_only: bool = False
    tiles: Tiles | None = None
    pending: list[Begin] = field(default_factory=list)
    _asked: set[Begin] = field(default_factory=set)

    def asks(self) -> list[Ask]:
        """What is to be asked next, all from what is known now; nothing when the answer is whole."""
        now, self.pending = self.pending, []
        self._asked.update(now)
        return [self._ask(begin) for begin in now]

    def answered(self, begin: Begin, logits: NDArray[np.float32]) -> None:
        """Take an answer, and in a tiled volume go on to the neighbours of each face that it reaches."""
        self.known.put(begin, logits)
        if self.tiles is None:
            return
        for axis, end in self.known.touched(begin):
            other = self.tiles.beside(begin, axis, end)
            if other is not None and other not in self._asked and other not in self.pending:
                self.pending.append(other)

    def _ask(self, begin: Begin) -> Ask:
        inside = np.flatnonzero(_holds(self.points, begin, self.volume.size))
        if self.newest_only:
            inside = inside[-1:]
        return Ask(begin, self.points[inside] - begin, self.labels[inside], self.known.prompt(begin))


def open_dialogue(volume: Volume, prompt: Prompt, patch: Patch, clicks: Clicks, low: int) -> Dialogue:
    """The dialogue of one prompt, its first patches pending. Raises ``EvaluatorFailure`` for what cannot be meant."""
    points, labels = _checked(prompt, volume)
    known = Field.given(prompt.logits, volume.size, low, prompt.structure)
    if prompt.logits is None and prompt.mask is not None:
        start = _from_mask(volume, np.asarray(prompt.mask, dtype=bool), known, prompt.structure)
    else:
        start = None
    made = Dialogue(volume, prompt.structure, volume.grid.points(points), labels, known, clicks == "newest")
    if patch == "tiled":
        made.tiles = Tiles(volume.grid.shape, volume.size, known.cell)
        made.pending = made.tiles.holding(made.points) or ([start] if start else [])
    elif patch == "target":
        made.pending = [_follow(made, _around_box(prompt, volume))]
    else:
        made.pending = [
            start if start and not len(points) else _follow(made, _around(made.points[:1], volume.size))
        ]
    return made


class Tiles:
    """Patches that cover a volume of ``shape`` at 1.5 mm, half of each shared with the next; all fall on cells alike."""

    def __init__(self, shape: tuple[int, int, int], size: int, cell: int) -> None:
        from medeval_models.sam_med3d.patches import centre_begin

        self._size = size
        centred = centre_begin(shape, size)
        self._starts = [
            [middle] if n <= size else _starts(n, size, cell)
            for n, middle in zip(shape, centred, strict=True)
        ]

    def __iter__(self) -> Iterator[Begin]:
        return product(*self._starts)  # type: ignore[return-value]  # three axes

    def holding(self, points: NDArray[np.float64]) -> list[Begin]:
        """For each point the tile whose centre is nearest."""
        found: dict[Begin, None] = {}
        for point in points:
            first, second, third = (
                min(starts, key=lambda start, p=place: abs(start + (self._size - 1) / 2 - p))  # type: ignore[misc]
                for starts, place in zip(self._starts, point, strict=True)
            )
            found[first, second, third] = None
        return list(found)

    def beside(self, begin: Begin, axis: int, end: int) -> Begin | None:
        """The next tile along an axis; None at the volume's end, or for a patch that is no tile."""
        starts = self._starts[axis]
        if begin[axis] not in starts:
            return None
        at = starts.index(begin[axis]) + end
        if not 0 <= at < len(starts):
            return None
        first, second, third = (starts[at] if other == axis else begin[other] for other in range(3))
        return first, second, third


def _starts(n: int, size: int, cell: int) -> list[int]:
    last = -(-(n - size) // cell) * cell
    return sorted({*range(0, last, size // 2), last})


def _checked(prompt: Prompt, volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, 3) clicks and (n,) labels; a box without clicks is asked as a click in its middle."""
    shape = volume.grid.original
    points = np.asarray(() if prompt.points is None else prompt.points, dtype=np.float64).reshape(-1, 3)
    labels = (
        np.ones(len(points), dtype=np.int64)
        if prompt.labels is None
        else np.asarray(prompt.labels, dtype=np.int64)
    )
    if len(labels) != len(points):
        raise EvaluatorFailure(f"{prompt.structure}: {len(points)} points with {len(labels)} labels")
    for point in points:
        if not ((point >= 0) & (point < shape)).all():
            raise EvaluatorFailure(
                f"{prompt.structure}: click {point.tolist()} (R, A, S) lies outside the volume of {shape}"
            )
    if prompt.mask is not None and np.shape(prompt.mask) != shape:
        raise EvaluatorFailure(
            f"{prompt.structure}: mask prompt of shape {np.shape(prompt.mask)}, the volume is {shape}"
        )
    if not len(points) and prompt.box is not None:
        box = _checked_box(prompt, shape)
        points, labels = (box[0] + box[1] - 1)[None] / 2, np.ones(1, dtype=np.int64)
    if not len(points) and prompt.mask is None and prompt.logits is None:
        raise EvaluatorFailure(
            f"{prompt.structure}: a prompt without a click, a box or a mask; SAM-Med3D needs one"
        )
    return points, labels


def _checked_box(prompt: Prompt, shape: tuple[int, ...]) -> NDArray[np.float64]:
    box = np.asarray(prompt.box, dtype=np.float64)
    if box.shape != (2, 3):
        raise EvaluatorFailure(
            f"{prompt.structure}: a box of shape {box.shape}; [[R, A, S] start, [R, A, S] stop] is expected"
        )
    box = np.clip(box, 0, shape)
    if (box[0] >= box[1]).any():
        raise EvaluatorFailure(
            f"{prompt.structure}: box {np.asarray(prompt.box).tolist()} is empty in the volume of {shape}"
        )
    return box


def _from_mask(volume: Volume, mask: NDArray[np.bool_], known: Field, structure: str) -> Begin:
    """Puts a given mask into the patch around it, as logits as sure as their share of each cell."""
    from medeval_models.sam_med3d.grids import signed_distance
    from medeval_models.sam_med3d.patches import crop_begin

    inside = np.argwhere(mask)
    if not len(inside):
        raise EvaluatorFailure(f"{structure}: an empty mask as a prompt")
    grid, edge = volume.grid, volume.grid.axes[0].target
    begin = crop_begin(grid.box(np.array([inside.min(axis=0), inside.max(axis=0) + 1])), volume.size)
    distance = signed_distance(mask, [axis.spacing for axis in grid.axes], limit=edge)
    covered = np.clip(0.5 + grid.field(distance, begin, (volume.size,) * 3, outside=-edge) / edge, 0, 1)
    cells = covered.reshape([side for _ in range(3) for side in (known.low, known.cell)]).mean(axis=(1, 3, 5))
    sure = np.clip(cells, 1e-3, 1 - 1e-3)
    known.put(begin, np.log(sure / (1 - sure)).astype(np.float32))
    return begin


def _around_box(prompt: Prompt, volume: Volume) -> Begin:
    from medeval_models.sam_med3d.patches import crop_begin

    if prompt.box is None:
        raise EvaluatorFailure(
            f"{prompt.structure}: `patch: target` crops around the target's box, and this prompt has none; ask with "
            "`box + N clicks`, or take `patch: clicks`"
        )
    return crop_begin(volume.grid.box(_checked_box(prompt, volume.grid.original)), volume.size)


def _around(points: NDArray[np.float64], size: int) -> Begin:
    from medeval_models.sam_med3d.patches import crop_begin

    voxels = np.floor(points + 0.5).astype(np.int64)
    return crop_begin(np.array([voxels.min(axis=0), voxels.max(axis=0) + 1]), size)


def _follow(dialogue: Dialogue, first: Begin) -> Begin:
    """The patch to ask about: the last one while it holds the newest click, else one that does."""
    known, size, newest = dialogue.known, dialogue.volume.size, dialogue.points[-1:]
    for begin in [*reversed(known.patches), first]:
        if not len(newest) or _holds(newest, begin, size)[0]:
            return begin
    together = _around(dialogue.points, size)
    moved = together if _holds(dialogue.points, together, size).all() else _around(newest, size)
    if not known.patches:
        return moved
    anchor, cell = next(iter(known.patches)), known.cell
    # On the cells of the first patch, so that its logits can be handed on as they are.
    one, two, three = (a + round((b - a) / cell) * cell for a, b in zip(anchor, moved, strict=True))
    return one, two, three


def _holds(points: NDArray[np.float64], begin: Begin, size: int) -> NDArray[np.bool_]:
    relative = points - np.asarray(begin)
    return np.asarray(((relative >= -0.5) & (relative < size - 0.5)).all(axis=1))
