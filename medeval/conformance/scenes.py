"""Small seeded images that a model is checked on: bright balls, each with an equal one where a swap of axes would look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Grid, Image, Prompt, rng


@dataclass(frozen=True, eq=False)
class Scene:
    """One image and the structures in it.

    name: how messages call it. truths: bool masks of the image's spatial shape. decoys: for each truth, the equal ball at the
    position with reversed axes; () where the scene has none.
    """

    name: str
    image: Image
    truths: tuple[NDArray[np.bool_], ...]
    decoys: tuple[NDArray[np.bool_], ...] = ()

    def copy(self) -> Scene:
        """The same scene with an image of its own, which a model may spoil."""
        return Scene(self.name, Image(self.image.array.copy(), self.image.grid), self.truths, self.decoys)

    def first(self) -> Scene:
        """The same image with its first structure alone."""
        return Scene(self.name, self.image, self.truths[:1], self.decoys[:1])

    def prompts(self, takes: Capabilities) -> list[Prompt]:
        """One prompt of each kind that the model takes, for each structure: box, a click, box and clicks, mask."""
        made: list[Prompt] = []
        for number, truth in enumerate(self.truths):
            made += [_prompt(f"ball {number}", truth, kinds) for kinds in _asked(takes)]
        return made


def scenes(ndim: int) -> list[Scene]:
    """The first has decoys; the others have odd, narrow and coloured images. ndim: 2 or 3."""
    centres: list[tuple[int, ...]]
    if ndim == 3:
        centres = [(9, 16, 22), (6, 13, 20)]
        return [
            _scene("24 x 32 x 40", (24, 32, 40), centres, 3.0, decoys=True),
            _scene("odd sides, 19 x 25 x 31", (19, 25, 31), [(9, 12, 15)], 4.0),
            _scene("thick slices, 33 x 35 x 7", (33, 35, 7), [(16, 17, 3)], 3.0, spacing=(1.0, 1.0, 5.0)),
        ]
    centres = [(14, 30), (8, 42), (26, 12)]
    return [
        _scene("48 x 80", (48, 80), centres, 4.5, decoys=True),
        _scene("odd sides, 37 x 53", (37, 53), [(18, 26)], 6.0),
        _scene("narrow, 16 x 131", (16, 131), [(8, 65)], 4.0),
        _scene("three channels of 8 bits", (40, 56), [(20, 28)], 6.0, channels=3),
    ]


def another(scene: Scene, number: int) -> Scene:
    """An image of the same size with other contents."""
    array = scene.image.array
    noise = rng("conformance", scene.name, number).normal(0, 0.3, array.shape)
    other = np.clip(array[..., ::-1] + noise * (array.max() - array.min()), array.min(), array.max())
    return Scene(
        f"{scene.name}, image {number}", Image(other.astype(array.dtype), scene.image.grid), scene.truths
    )


def _scene(
    name: str, shape: tuple[int, ...], centres: Sequence[tuple[int, ...]], radius: float, *, decoys: bool = False,
    channels: int = 1, spacing: tuple[float, ...] | None = None,
) -> Scene:  # fmt: skip
    truths = tuple(_ball(shape, centre, radius) for centre in centres)
    others = tuple(_ball(shape, centre[::-1], radius) for centre in centres) if decoys else ()
    bright = np.logical_or.reduce([*truths, *others])
    array = rng("conformance", name).normal(0.0, 0.04, (channels, *shape)) + bright
    stored = np.clip(array * 160 + 40, 0, 255).astype(np.uint8) if channels == 3 else array.astype(np.float32)
    return Scene(name, Image(stored, Grid(shape, spacing or (1.0,) * len(shape))), truths, others)


def _ball(shape: tuple[int, ...], centre: tuple[int, ...], radius: float) -> NDArray[np.bool_]:
    squares = [(axis - at) ** 2 for axis, at in zip(np.indices(shape), centre, strict=True)]
    return np.sum(squares, axis=0) <= radius**2


def _asked(takes: Capabilities) -> list[frozenset[str]]:
    known = takes.prompts & {"box", "points", "mask"}
    both = [frozenset({"box", "points"})] if {"box", "points"} <= known else []
    return [frozenset({kind}) for kind in sorted(known)] + both or [frozenset({"box"})]


def _prompt(name: str, truth: NDArray[np.bool_], kinds: frozenset[str]) -> Prompt:
    at = np.argwhere(truth)
    middle = np.round(at.mean(axis=0)).astype(np.int64)
    return Prompt(
        name,
        box=np.stack([at.min(axis=0), at.max(axis=0) + 1]) if "box" in kinds else None,
        points=np.stack([middle, middle + 1]) if "points" in kinds else None,
        labels=np.ones(2, dtype=np.int64) if "points" in kinds else None,
        mask=truth.copy() if "mask" in kinds else None,
    )
