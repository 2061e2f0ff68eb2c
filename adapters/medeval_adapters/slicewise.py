"""Any promptable model of pictures as one of volumes, slice by slice, so that both kinds are compared at equal interaction.

    slices: {adapter: slicewise, model: sam-med2d, checkpoint: sam-med2d_b.pth, axis: axial, prompts: propagate}

per-slice   only slices that the user touched are segmented, each by its own clicks or its part of the box. A model needs a
            click on every slice of a structure then: that is the effort of SAM-Med3D's tables ("N points").
propagate   from there outwards, each next slice asked with the tight box (or the deepest point) of the last slice's mask,
            until a slice that the user touched himself, an empty mask, or one that overlaps the last too little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.plugins import build, resolve
from medeval.types import (
    Capabilities,
    DataError,
    EvaluatorFailure,
    Image,
    ModelFailure,
    PluginError,
    Prompt,
    Segmentation,
)
from medeval_adapters.slicewise_planes import Axis, Planes
from medeval_adapters.slicewise_stack import Stack


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known of one slice. asked: number of clicks it was shown; None where no user touched it."""

    mask: NDArray[np.bool_]
    logits: Any = None
    score: float | None = None
    asked: int | None = None


class Slicewise:
    """A 2D model asked slice by slice; the answer is the volume of its masks."""

    baseline: ClassVar[bool] = False
    takes: ClassVar[Capabilities] = Capabilities(dimensions=frozenset({3}))
    description: ClassVar[str] = "any 2D promptable model, slice by slice"

    def __init__(
        self,
        model: str,
        checkpoint: Path | None = None,
        options: dict[str, Any] | None = None,
        axis: Axis = "axial",
        prompts: Literal["per-slice", "propagate"] = "per-slice",
        overlap: Annotated[float, Field(ge=0, le=1)] = 0.3,
        follow: Literal["box", "point"] | None = None,
        boxes: bool = True,
    ) -> None:
        """model: an adapter's name, ``package.module:Class`` or ``path/file.py:Class``; its other options in ``options``.

        axis: across which slices are cut; ``thickest``: the axis with the largest spacing.
        overlap: Dice of neighbouring slices' masks under which ``propagate`` stops.
        follow: what ``propagate`` hands on; default: the box, for a model that takes boxes, else the point.
        boxes: take boxes from the user. False for points alone: ``preset: sam-med3d`` tells every model that takes boxes where
            the target is.
        Raises ``PluginError`` for a model that takes no pictures or no prompts.
        """
        given = {**(options or {}), **({"checkpoint": str(checkpoint)} if checkpoint else {})}
        self.model = build(resolve("medeval.adapters", model), given)
        _check_model(self.model, model)
        inner = getattr(self.model, "takes", None) or Capabilities()
        taken = inner.prompts | {"boxes"} if "box" in inner.prompts else inner.prompts
        self.takes = Capabilities(taken if boxes else taken - {"box", "boxes"}, frozenset({3}))  # type: ignore[misc]  # narrows the class's
        self.baseline = bool(getattr(self.model, "baseline", False))  # type: ignore[misc]
        ahead = bool(getattr(self.model, "encodes_ahead", False))
        self._beside = ThreadPoolExecutor(1, "slices") if ahead else None
        self.axis = axis
        self.prompts = prompts
        self.overlap = overlap
        self.follow = follow or ("box" if "box" in inner.prompts else "point")
        if prompts == "propagate" and {"box": "box", "point": "points"}[self.follow] not in inner.prompts:
            raise PluginError(
                f"follow: {model} takes no {self.follow}; it takes {', '.join(sorted(inner.prompts))}"
            )

    def encode(self, image: Image) -> Stack:
        """Slices are encoded when a prompt first touches them. Raises ``DataError`` for what is no volume."""
        if image.ndim != 3:
            raise DataError(
                f"a {image.ndim}D image came to `slicewise`, which takes volumes; give it to its model itself"
            )
        return Stack(image, Planes.of(image.grid, self.axis), self.model, self._beside)

    def segment(self, encoded: Stack, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One answer a prompt. Raises ``EvaluatorFailure`` for a prompt that says nothing about any slice."""
        sweeps = [Sweep(self, encoded.planes, prompt) for prompt in prompts]
        while wave := [(sweep, index, ask) for sweep in sweeps for index, ask in sweep.asks()]:
            _answer(encoded, wave)
        return [sweep.segmentation() for sweep in sweeps]


class Sweep:
    """One prompt on its way through the slices."""

    def __init__(self, of: Slicewise, planes: Planes, prompt: Prompt) -> None:
        self._of, self._planes = of, planes
        self._structure = prompt.structure
        self._range = _range(planes, prompt)
        self._answers = _known(prompt)
        self._pending: dict[int, Prompt] = self._touched(prompt)
        self._origin: dict[int, tuple[int, int]] = {}  # slice -> the slice it follows, and the direction
        if of.prompts == "propagate" and self._pending:
            self._start_again()

    def asks(self) -> Iterator[tuple[int, Prompt]]:
        """Slices to ask about next, with their 2D prompts."""
        now, self._pending = self._pending, {}
        yield from now.items()

    def answered(self, index: int, prompt: Prompt, answer: Segmentation) -> None:
        """Take one slice's answer, and go on from it."""
        mask = np.asarray(answer.mask, dtype=bool)
        source = self._origin.get(index)
        if source is not None and _dice(mask, self._answers[source[0]].mask) < self._of.overlap:
            return
        clicks = None if source is not None else len(() if prompt.points is None else prompt.points)
        self._answers[index] = Answer(mask, answer.logits, answer.score, clicks)
        if self._of.prompts == "propagate":
            for step in (-1, 1) if source is None else (source[1],):
                self._go_on(index, step)

    def segmentation(self) -> Segmentation:
        """The slices' masks as a volume, and what the next round needs."""
        volume = np.zeros(self._planes.shape, dtype=bool)
        for index, answer in self._answers.items():
            self._planes.paste(volume, index, answer.mask)
        scores = [answer.score for answer in self._answers.values() if answer.score is not None]
        return Segmentation(volume, float(np.mean(scores)) if scores else None, _kept(self._answers))

    def _touched(self, prompt: Prompt) -> dict[int, Prompt]:
        """What the user says about slices, where that is new; masks of earlier rounds come with the logits."""
        first = prompt.logits is None
        said = self._planes.slices_of(prompt if first else replace(prompt, mask=None))
        if self._of.prompts == "propagate" and prompt.box is not None:
            middle = (
                sum(self._range) // 2
            )  # of a 3D box, the one slice that it was drawn on, and the slices it ends at
            said = {index: ask for index, ask in said.items() if index == middle or ask.points is not None}
        if first and not said:
            raise EvaluatorFailure(
                f"{prompt.structure}: a prompt without a point, a box or a mask in the volume"
            )
        asks: dict[int, Prompt] = {}
        for index, ask in said.items():
            known = self._answers.get(index)
            if known is None:
                asks[index] = ask
            elif known.asked != len(() if ask.points is None else ask.points):
                asks[index] = replace(ask, mask=known.mask, logits=known.logits)
        return asks

    def _start_again(self) -> None:
        """After a correction every slice that the user touched speaks anew for its neighbours."""
        self._answers = {index: answer for index, answer in self._answers.items() if answer.asked is not None}
        for index in [index for index in self._answers if index not in self._pending]:
            for step in (-1, 1):
                self._go_on(index, step)

    def _go_on(self, index: int, step: int) -> None:
        """Ask the next slice, unless the structure ends here or the sweep from another slice has been there."""
        following = index + step
        low, high = self._range
        mask = self._answers[index].mask
        if (
            not low <= following < high
            or following in self._answers
            or following in self._pending
            or not mask.any()
        ):
            return
        self._origin[following] = (index, step)
        self._pending[following] = _from_neighbour(self._structure, mask, self._of.follow)


def _answer(stack: Stack, wave: Sequence[tuple[Sweep, int, Prompt]]) -> None:
    """Ask the 2D model about each slice once, with the prompts of all structures."""
    by_slice: dict[int, list[tuple[Sweep, Prompt]]] = {}
    for sweep, index, prompt in wave:
        if not 0 <= index < stack.planes.count:
            raise EvaluatorFailure(
                f"{prompt.structure}: slice {index} lies outside the volume's {stack.planes.count} slices"
            )
        by_slice.setdefault(index, []).append((sweep, prompt))
    found: dict[tuple[int, int], Segmentation] = {}
    order = list(by_slice)
    try:
        for index, following in zip_longest(order, order[1:]):
            asked = by_slice[index]
            answers = stack.ask(index, [prompt for _, prompt in asked], following)
            _check_answers(answers, len(asked), index, stack.planes.picture)
            found |= {(id(sweep), index): answer for (sweep, _), answer in zip(asked, answers, strict=True)}
    finally:
        stack.settle()
    for sweep, index, prompt in wave:  # in each sweep's own order, whichever slices other prompts touch
        sweep.answered(index, prompt, found[id(sweep), index])


def _check_answers(answers: Sequence[Segmentation], asked: int, index: int, picture: tuple[int, int]) -> None:
    if len(answers) != asked:
        raise ModelFailure(f"the 2D model gave {len(answers)} answers to {asked} prompts")
    for answer in answers:
        if np.shape(answer.mask) != picture:
            raise ModelFailure(
                f"the 2D model's mask of slice {index} is {np.shape(answer.mask)}, not {picture}"
            )


def _from_neighbour(structure: str, mask: NDArray[np.bool_], follow: str) -> Prompt:
    """What the last slice's mask says about the next: its box, or its deepest point."""
    if follow == "box":
        inside = np.argwhere(mask)
        return Prompt(structure, box=np.array([inside.min(axis=0), inside.max(axis=0) + 1], dtype=np.int64))
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    deepest = np.array(np.unravel_index(depth.argmax(), depth.shape), dtype=np.int64)
    return Prompt(structure, points=deepest[None], labels=np.ones(1, dtype=np.int64))


def _range(planes: Planes, prompt: Prompt) -> tuple[int, int]:
    """The slices that a structure may lie in: the box's, else all."""
    if prompt.box is None:
        return 0, planes.count
    start, stop = (int(edge) for edge in np.asarray(prompt.box)[:, planes.axis])
    return max(0, start), min(planes.count, stop)


def _kept(answers: dict[int, Answer]) -> dict[str, Any]:
    """Plain arrays and lists, so that a session can be written down and resumed."""
    listed = sorted(answers.items())
    return {
        "slices": [index for index, _ in listed],
        "asked": [-1 if answer.asked is None else answer.asked for _, answer in listed],
        "scores": [answer.score for _, answer in listed],
        "masks": [answer.mask for _, answer in listed],
        "logits": [answer.logits for _, answer in listed],
    }


def _known(prompt: Prompt) -> dict[int, Answer]:
    """The way back from ``_kept``. Raises ``EvaluatorFailure`` for anything else."""
    kept = prompt.logits
    if kept is None:
        return {}
    try:
        rows = zip(*(kept[key] for key in ("slices", "asked", "scores", "masks", "logits")), strict=True)
        return {
            int(index): Answer(np.asarray(mask, dtype=bool), logits, score, None if asked < 0 else int(asked))
            for index, asked, score, mask, logits in rows
        }
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise EvaluatorFailure(
            f"{prompt.structure}: logits that `slicewise` did not return: {type(kept).__name__}"
        ) from error


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 0.0


def _check_model(model: Any, name: str) -> None:
    lacking = [method for method in ("encode", "segment") if not callable(getattr(model, method, None))]
    if lacking:
        raise PluginError(
            f"model: {name} has no {' and no '.join(lacking)}; slicewise needs a promptable model"
        )
    takes = getattr(model, "takes", None) or Capabilities()
    if 2 not in takes.dimensions:
        raise PluginError(
            f"model: {name} takes {sorted(takes.dimensions)}D images; slicewise needs one that takes 2D"
        )
    if not takes.prompts:
        raise PluginError(f"model: {name} takes no prompts")
