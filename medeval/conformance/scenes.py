"""Small seeded images that a model is checked on: bright balls, each with an equal one where a swap of axes would look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Grid, Image, Prompt, rng

Ball = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """One image and the structures in it.

    name: how messages call it. truths: bool masks of the image's spatial shape. decoys: for each truth, equal balls by what a
    model got wrong that looks there. brief: ask for the first structure by one prompt alone.
    """

    name: str
    image: Image
    truths: tuple[Ball, ...] = ()
    decoys: tuple[Mapping[str, Ball], ...] = ()
    brief: bool = False

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return self.image.ndim

    def copy(self) -> Scene:
        """The same scene with an image of its own, which a model may spoil."""
        return self.with_array(self.image.array.copy())

    def with_array(self, array: NDArray) -> Scene:
        """The same scene with another image on the same grid."""
        return replace(self, image=Image(array, self.image.grid))

    def prompts(self, takes: Capabilities) -> list[Prompt]:
        """One prompt of each kind that the model takes, for each structure: box, clicks, mask, box and clicks."""
        if self.brief:
            return [_prompt("ball 0", self.truths[0], _asked(takes)[-1])]
        return [
            _prompt(f"ball {number}", truth, kinds)
            for number, truth in enumerate(self.truths)
            for kinds in _asked(takes)
        ]


REVERSED = "their axes were reversed"
MILLIMETRES = "they were multiplied by the spacing"
PER_MILLIMETRE = "they were divided by the spacing"
SWAPPED = "the spacing's axes were reversed"


def scenes(ndim: int) -> list[Scene]:
    """The first has decoys; the others have odd, narrow and coloured images. ndim: 2 or 3."""
    if ndim == 3:
        return [
            _scene("24 x 32 x 40", (24, 32, 40), [(9, 16, 22), (6, 13, 20)], 3.0, decoys=True),
            _scene("odd sides, 19 x 25 x 31", (19, 25, 31), [(9, 12, 15)], 4.0),
            _scene("thick slices, 33 x 35 x 7", (33, 35, 7), [(16, 17, 3)], 3.0, spacing=(1.0, 1.0, 5.0)),
        ]
    return [
        _scene("48 x 80", (48, 80), [(14, 30), (8, 42), (26, 12)], 4.5, decoys=True),
        _scene("odd sides, 37 x 53", (37, 53), [(18, 26)], 6.0),
        _scene("narrow, 16 x 131", (16, 131), [(8, 65)], 4.0),
        _scene("three channels of 8 bits", (40, 56), [(20, 28)], 6.0, channels=3),
    ]


def spaced(ndim: int) -> Scene:
    """One ball in an image of unequal spacing, with equal ones where a mistake in the use of the spacing looks."""
    shape, spacing, radius = (
        ((48, 80), (1.0, 2.0), 4.5) if ndim == 2 else ((24, 32, 40), (1.0, 1.0, 2.0), 3.0)
    )
    at = np.array((24, 30) if ndim == 2 else (16, 16, 16))
    edges = np.array(spacing)
    places = {MILLIMETRES: at * edges, PER_MILLIMETRE: at / edges, SWAPPED: at * edges / edges[::-1]}
    truth = _ball(shape, tuple(at), radius)
    decoys = {wrong: _ball(shape, tuple(place), radius) for wrong, place in places.items()}
    name = f"voxels of {' x '.join(f'{edge:g}' for edge in spacing)} mm"
    bright = np.logical_or.reduce([truth, *decoys.values()])
    return Scene(name, Image(_drawn(name, bright), Grid(shape, spacing)), (truth,), (decoys,))


def cornered(ndim: int) -> Scene:
    """Two balls that the image's border cuts: at its first corner and at its last."""
    shape = (48, 80) if ndim == 2 else (24, 32, 40)
    first = (3,) * ndim
    last = tuple(side - 4 for side in shape)
    return _scene("balls at the border", shape, [first, last], 5.0)


def cubed(ndim: int) -> tuple[Scene, Scene]:
    """The same square or cube twice, without and with a ball whose mirrored and swapped places all differ.

    A ball in the middle is in both: what is scaled by the image's range stays the same.
    """
    side, at, radius = (56, (14, 33), 5.0) if ndim == 2 else (32, (7, 12, 22), 4.0)
    shape, name = (side,) * ndim, "a square" if ndim == 2 else "a cube"
    ball, middle = _ball(shape, at, radius), _ball(shape, [(side - 1) / 2] * ndim, radius)
    grid = Grid(shape, (1.0,) * ndim)
    without, with_ball = (
        Scene(name, Image(_drawn(name, bright), grid), (ball,)) for bright in (middle, middle | ball)
    )
    return without, with_ball


def another(scene: Scene, number: int) -> Scene:
    """An image of the same size with other contents."""
    array = scene.image.array
    noise = rng("conformance", scene.name, number).normal(0, 0.3, array.shape)
    other = np.clip(array[..., ::-1] + noise * (array.max() - array.min()), array.min(), array.max())
    return replace(
        scene.with_array(other.astype(array.dtype)), name=f"{scene.name}, image {number}", decoys=()
    )


def _scene(
    name: str, shape: tuple[int, ...], centres: Sequence[tuple[int, ...]], radius: float, *, decoys: bool = False,
    channels: int = 1, spacing: tuple[float, ...] | None = None,
) -> Scene:  # fmt: skip
    truths = tuple(_ball(shape, centre, radius) for centre in centres)
    others = tuple({REVERSED: _ball(shape, centre[::-1], radius)} for centre in centres) if decoys else ()
    bright = np.logical_or.reduce([*truths, *(ball for by in others for ball in by.values())])
    array = _drawn(name, bright, channels)
    stored = np.clip(array * 160 + 40, 0, 255).astype(np.uint8) if channels == 3 else array
    return Scene(name, Image(stored, Grid(shape, spacing or (1.0,) * len(shape))), truths, others)


def _drawn(name: str, bright: Ball, channels: int = 1) -> NDArray[np.float32]:
    """(channels, *shape): 1 where it is bright, and a little noise."""
    noise = rng("conformance", name).normal(0.0, 0.04, (channels, *bright.shape))
    return (noise + bright).astype(np.float32)


def _ball(shape: tuple[int, ...], centre: Sequence[Any], radius: float) -> Ball:
    squares = [(axis - at) ** 2 for axis, at in zip(np.indices(shape), centre, strict=True)]
    return np.asarray(np.sum(squares, axis=0) <= radius**2)


def _asked(takes: Capabilities) -> list[frozenset[str]]:
    known = takes.prompts & {"box", "points", "mask"}
    both = [frozenset({"box", "points"})] if {"box", "points"} <= known else []
    return [frozenset({kind}) for kind in sorted(known)] + both or [frozenset({"box"})]


def _prompt(name: str, truth: Ball, kinds: frozenset[str]) -> Prompt:
    at = np.argwhere(truth)
    middle = np.round(at.mean(axis=0)).astype(np.int64)
    return Prompt(
        name,
        box=np.stack([at.min(axis=0), at.max(axis=0) + 1]) if "box" in kinds else None,
        points=np.stack([middle, middle + 1]) if "points" in kinds else None,
        labels=np.ones(2, dtype=np.int64) if "points" in kinds else None,
        mask=truth.copy() if "mask" in kinds else None,
    )
