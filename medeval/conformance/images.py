"""What an image may be like: odd, narrow, thick-sliced, coloured, blank, of 16 bits; and where its axes lie."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.conformance.contract import named
from medeval.conformance.findings import Found, check
from medeval.conformance.scenes import Scene, cubed
from medeval.conformance.segmenting import RESIZE, TRANSPOSE, Automatic, OfImages
from medeval.conformance.subjects import differing, same
from medeval.tasks.masks import to_numpy
from medeval.types import CaseFailure

ROUNDING = 1e-3  # share of voxels that may flip by a network's rounding


@check("axis order", TRANSPOSE, of=Automatic)
def automatic_axes(subject: Automatic, scenes: list[Scene]) -> Found:
    """The array has the image's axes, and a ball in the image changes the answer where it is, not where it would be mirrored."""
    shape = scenes[0].image.grid.shape
    parts = [to_numpy(part) for part in subject.parts(subject.answer(scenes[0]))]
    if any(part.shape == shape[::-1] for part in parts):
        return f"the answer's shape is {shape[::-1]}: that of the image, {shape}, with its axes reversed"
    dark, bright = cubed(len(shape))
    pairs = zip(subject.masks(dark), subject.masks(bright), strict=False)
    changed = np.argwhere(
        np.logical_or.reduce([a != b for a, b in pairs if a.shape == b.shape] or [np.zeros(1)])
    )
    return _elsewhere(changed, bright) if changed.shape[1:] == (len(shape),) else None


@check("odd sizes", RESIZE, of=OfImages, needs=("answers", "axis order"))
def odd_sizes(subject: OfImages, scenes: list[Scene]) -> Found:
    """Odd, narrow, thick-sliced and coloured images get masks of their own size. What the model refuses in words passes."""
    for scene in scenes[1:]:
        if found := _wrong(subject, scene):
            return found
    return None


@check(
    "blank image", "guard divisions by the image's range or deviation: a slice of air is constant", of=OfImages,
    needs=("answers",),
)  # fmt: skip
def blank_image(subject: OfImages, scenes: list[Scene]) -> Found:
    """A constant image gets an answer, or is refused in words."""
    zeros = np.zeros_like(scenes[0].image.array)
    with np.errstate(all="ignore"):
        blank = subject.brief(scenes[0].with_array(zeros))
        return _wrong(subject, Scene("an image of zeros", blank.image, blank.truths, brief=blank.brief))


@check(
    "stored types", "convert to float before any arithmetic: integers of 8 and 16 bits overflow", of=OfImages,
    needs=("answers", "input untouched", "determinism", "no hidden state"),
)  # fmt: skip
def stored_types(subject: OfImages, scenes: list[Scene]) -> Found:
    """The same values stored as 16-bit integers and as floats get the same masks."""
    scene = subject.brief(scenes[0])
    array = scene.image.array
    share = (array - array.min()) / np.ptp(array)
    for dtype, low, high in ((np.uint16, 0, 60_000), (np.int16, -30_000, 30_000)):
        stored = np.rint(low + share * (high - low)).astype(dtype)
        try:
            as_stored = subject.masks(scene.with_array(stored))
            as_float = subject.masks(scene.with_array(stored.astype(np.float32)))
        except CaseFailure:
            continue
        if not same(as_stored, as_float, ROUNDING):
            of = f"{np.dtype(dtype)} in [{low:,}, {high:,}]"
            return f"an image of {of} gets another answer than the same values in float32 ({differing(as_stored, as_float)} voxels)"
    return None


@check(
    "no structures",
    "answer an empty mapping or array of 0 where none of your structures is asked for",
    of=Automatic,
)
def no_structures(subject: Automatic, scenes: list[Scene]) -> Found:
    """No names at all, and a name that the model does not know: answered, or refused in words."""
    for names in ((), ("a structure of no atlas",)):
        try:
            subject.ask({**subject.given(scenes[0]), "structures": names})
        except CaseFailure:
            continue
        except Exception as error:
            return f"asked for the structures {names}: raised {type(error).__name__}: {error}"
    return None


def _wrong(subject: OfImages, scene: Scene) -> Found:
    """What is wrong with the answer to a scene, what it raises among it; None where the model refuses in words."""
    try:
        return named(scene, subject.wrong(scene, subject.answer(scene)))
    except CaseFailure:
        return None
    except Exception as error:
        return f"{scene.name}: raised {type(error).__name__}: {error}"


def _elsewhere(changed: NDArray[np.int64], scene: Scene) -> str | None:
    """Where most of the changed voxels lie, if that is a mirrored or swapped place of the ball and not the ball's own."""
    own = np.argwhere(scene.truths[0])
    centre, reach = own.mean(axis=0), np.ptp(own, axis=0).max() / 2 + 1
    last = np.array(scene.image.grid.shape) - 1

    def near(place: NDArray[Any]) -> float:
        return float((np.linalg.norm(changed - place, axis=1) <= reach).mean()) if len(changed) else 0.0

    if near(centre) > 0.1:
        return None
    for order in permutations(range(len(last))):
        for flips in product((False, True), repeat=len(last)):
            place = np.where(flips, last - centre[list(order)], centre[list(order)])
            if near(place) > 0.5:
                seen = [
                    f"{'mirrored ' if flip else ''}{axis}" for axis, flip in zip(order, flips, strict=True)
                ]
                return f"a ball in the image changes the answer elsewhere: the axes come back as {', '.join(seen)}"
    return None
