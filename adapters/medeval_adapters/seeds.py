"""What the classical methods share: a grey image, seeds read from a prompt, and the way back to the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.types import Image, Prompt, Segmentation

_NEAR = 3  # voxels around the user's point where a guessed background seed is given up


@dataclass(frozen=True, eq=False)
class Gray:
    """An encoded image: the mean of its channels with mean 0 and standard deviation 1 (0 everywhere when constant).

    values: float32, spatial shape. spacing: voxel edge lengths in array order, in units of the shortest.
    """

    values: NDArray[np.float32]
    spacing: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Seeds:
    """Where a method starts from, inside the window that it works on.

    window: the part of the image.
    foreground, background: bool, the window's shape, disjoint; foreground is not empty, background may be.
    on, off: (n, ndim) the user's own points on the structure and on the background, in the window's coordinates.
    """

    window: tuple[slice, ...]
    foreground: NDArray[np.bool_]
    background: NDArray[np.bool_]
    on: NDArray[np.int64]
    off: NDArray[np.int64]


def gray(image: Image) -> Gray:
    """The image as one standardised channel; voxels that are no finite number count as 0."""
    mean = np.asarray(image.array, dtype=np.float32).mean(axis=0)
    mean = np.nan_to_num(mean, posinf=0.0, neginf=0.0)
    centred = mean - np.float32(mean.mean(dtype=np.float64))
    spread = float(centred.std(dtype=np.float64))
    flat = spread <= 1e-6 * max(1.0, float(np.abs(mean).max(initial=0)))
    shortest = min(image.grid.spacing)
    return Gray(
        centred * np.float32(0 if flat else 1 / spread), tuple(edge / shortest for edge in image.grid.spacing)
    )


def segment_each(
    shape: tuple[int, ...],
    prompts: Sequence[Prompt],
    solve: Callable[[Seeds], NDArray[np.bool_]],
    core: float,
    margin: float = 0.0,
) -> list[Segmentation]:
    """Answer prompts one by one: ``solve`` gives a mask of the window; the user's own points are then always right.

    A prompt that says nothing about where the structure is (background points alone) gets an empty mask.
    """
    answers = []
    for prompt in prompts:
        mask = np.zeros(shape, dtype=bool)
        if (seeds := plant(prompt, shape, core, margin)) is not None:
            part = solve(seeds)
            part[tuple(seeds.off.T)] = False
            part[tuple(seeds.on.T)] = True
            mask[seeds.window] = part
        answers.append(Segmentation(mask))
    return answers


def plant(prompt: Prompt, shape: tuple[int, ...], core: float, margin: float = 0.0) -> Seeds | None:
    """Seeds of one prompt; None when nothing tells where the structure is.

    With a box, the window is the box (widened to hold the points on the structure) and a frame of ``margin`` times its
    sides, at least one voxel: the frame is background, a centred ellipsoid of ``core`` times the box foreground. Without
    a box the window is the image and its outermost voxels are background. The user's own points overrule both guesses.
    """
    on, off = _points(prompt, len(shape))
    box = _clipped(prompt.box, shape)
    if box is None and not len(on):
        return None
    inner = np.array([np.zeros(len(shape), dtype=np.int64), shape]) if box is None else _around(box, on)
    frame = 0 if box is None else np.maximum(1, np.ceil(margin * (inner[1] - inner[0]))).astype(np.int64)
    first, last = np.maximum(inner[0] - frame, 0), np.minimum(inner[1] + frame, shape)
    off = off[((off >= first) & (off < last)).all(axis=1)]
    foreground = np.zeros(last - first, dtype=bool)
    if box is not None:
        foreground |= _core(box - first, foreground.shape, core, off - first)
    background = _frame(foreground.shape, inner - first, on - first)
    on, off = on - first, off - first
    foreground[tuple(off.T)] = False
    background[tuple(off.T)] = True
    foreground[tuple(on.T)] = True
    background &= ~foreground
    if not foreground.any():
        return None
    return Seeds(
        tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True)),
        foreground,
        background,
        on,
        off,
    )


def keep_seeded(region: NDArray[np.bool_], seeds: Seeds) -> NDArray[np.bool_]:
    """The pieces of a region that touch a foreground seed, after each background point cut a small ball out of it."""
    from scipy import ndimage

    kept = region & ~seeds.background
    for point in seeds.off:
        near, within = ball(point, region.shape, _NEAR)
        kept[near] &= ~within
    kept |= seeds.foreground
    pieces, count = ndimage.label(kept)
    seeded = np.zeros(count + 1, dtype=bool)
    seeded[pieces[seeds.foreground]] = True
    return seeded[pieces]


def ball(
    point: NDArray[np.int64], shape: tuple[int, ...], radius: int
) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """The window around a point and the ball inside it."""
    near = tuple(
        slice(max(0, int(p) - radius), min(n, int(p) + radius + 1)) for p, n in zip(point, shape, strict=True)
    )
    return near, _squared(np.ogrid[near], point) <= radius**2


def nearest_seed(seeds: Seeds, spacing: Sequence[float]) -> NDArray[np.bool_]:
    """Voxels nearer to the foreground than to the background: all that can be said where intensities say nothing."""
    from scipy import ndimage

    if not seeds.background.any():
        return np.ones(seeds.foreground.shape, dtype=bool)
    to_foreground = ndimage.distance_transform_edt(~seeds.foreground, sampling=spacing)
    return to_foreground < ndimage.distance_transform_edt(~seeds.background, sampling=spacing)


def _points(prompt: Prompt, ndim: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    points = np.asarray(() if prompt.points is None else prompt.points, dtype=np.int64).reshape(-1, ndim)
    labels = np.ones(len(points), dtype=np.int64) if prompt.labels is None else np.asarray(prompt.labels)
    return points[labels == 1], points[labels == 0]


def _clipped(box: NDArray[np.int64] | None, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    if box is None:
        return None
    inside = np.clip(np.asarray(box, dtype=np.int64), 0, np.array(shape))
    return inside if (inside[0] < inside[1]).all() else None


def _around(box: NDArray[np.int64], points: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest box around a box and points."""
    return np.stack([np.min([box[0], *points], axis=0), np.max([box[1], *(points + 1)], axis=0)])


def _core(
    box: NDArray[np.int64], shape: tuple[int, ...], core: float, off: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The box's centred ellipsoid (at least its middle voxel), without what is nearer to a background point."""
    middle, half = (box[0] + box[1] - 1) / 2, core * (box[1] - box[0]) / 2
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    inside = _squared(grid, middle, np.maximum(half, 1e-6)) <= 1
    inside[tuple(((box[0] + box[1] - 1) // 2).tolist())] = True
    for point in off:
        inside &= _squared(grid, middle) < _squared(grid, point)
    return inside


def _frame(shape: tuple[int, ...], inner: NDArray[np.int64], on: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Everything outside the inner box; where there is nothing outside, the window's outermost voxels.

    These are a guess, so they give way around the user's own points on the structure.
    """
    outside = np.ones(shape, dtype=bool)
    if (inner[0] == 0).all() and (inner[1] == shape).all():
        inner = np.array([(1, n - 1) if n > 2 else (0, n) for n in shape]).T
    outside[tuple(slice(int(a), int(b)) for a, b in inner.T)] = False
    for point in on:
        near, within = ball(point, shape, _NEAR)
        outside[near] &= ~within
    return outside


def _squared(grid: Sequence[NDArray], point: NDArray, scale: NDArray | float = 1.0) -> NDArray[np.float64]:
    """Squared distance from a point, axes divided by ``scale``."""
    scales = np.broadcast_to(scale, (len(grid),))
    squares = [((axis - p) / s) ** 2 for axis, p, s in zip(grid, point, scales, strict=True)]
    return np.asarray(sum(squares[1:], squares[0]))
