"""What an answer must be: shape, dtype, range, device; what must be left alone; what an empty prompt gets."""

from __future__ import annotations

from typing import Any

import numpy as np

from medeval.conformance.findings import check
from medeval.conformance.scenes import Scene
from medeval.conformance.subjects import Automatic, Mask, Promptable, Subject
from medeval.tasks.masks import checked_segmentation
from medeval.types import CaseFailure, ModelFailure, Prompt

HIT, MISSED = 0.5, 0.1  # share of a ball that a mask must cover to be on it, and may cover to be off it


@check(
    "answers",
    "one Segmentation(mask) a prompt, bool, of the image's spatial shape (threshold in the adapter)",
)
def answers(subject: Subject, scenes: list[Scene]) -> str | None:
    """Every scene's answer holds to the protocol: the task's own check, with an image of even sides."""
    return _wrong(subject, scenes[0])


@check("odd sizes", "resize to the image's own spatial shape, not to a multiple of the network's stride")
def odd_sizes(subject: Subject, scenes: list[Scene]) -> str | None:
    """The same for odd, narrow, thick-sliced and coloured images. An image that the model refuses in words passes."""
    for scene in scenes[1:]:
        try:
            wrong = _wrong(subject, scene)
        except CaseFailure:
            continue
        except Exception as error:
            return f"{scene.name}: raised {type(error).__name__}: {error}"
        if wrong:
            return wrong
    return None


@check("device", "return numpy arrays or CPU tensors: a tensor on a GPU stays there until it is scored")
def device(subject: Subject, scenes: list[Scene]) -> str | None:
    """No answer lies on an accelerator."""
    answer = subject.raw(scenes[0].copy())
    values = [one.mask for one in answer] if isinstance(subject, Promptable) else [answer]
    where = {str(place) for value in values if (place := _device(value)) not in (None, "cpu")}
    return f"answers lie on {', '.join(sorted(where))}" if where else None


@check("input untouched", "work on a copy: the same image goes to other models")
def input_untouched(subject: Subject, scenes: list[Scene]) -> str | None:
    """The image's and the prompts' arrays are byte for byte as they were."""
    scene = scenes[0].copy()
    if isinstance(subject, Promptable):
        prompts = scene.prompts(subject.takes)
        before = [_bytes(prompt) for prompt in prompts]
        subject.ask(scene, prompts)
        if [_bytes(prompt) for prompt in prompts] != before:
            return "a prompt's arrays were changed in place"
    else:
        subject.raw(scene)
    return (
        None
        if np.array_equal(scene.image.array, scenes[0].image.array)
        else "image.array was changed in place"
    )


@check("axis order", "boxes and points are in array order, (row, column) or (R, A, S), not (x, y)")
def axis_order(subject: Subject, scenes: list[Scene]) -> str | None:
    """No prompt kind lands on the equal ball where a swap of axes would look."""
    if not isinstance(subject, Promptable):
        return None
    scene = scenes[0].copy()
    kinds = len(scene.prompts(subject.takes)) // len(scene.truths)
    masks = subject.masks(scene)
    for kind in range(kinds):
        swapped = [
            _share(masks[kind + kinds * i], decoy) > HIT and _share(masks[kind + kinds * i], truth) < MISSED
            for i, (truth, decoy) in enumerate(zip(scene.truths, scene.decoys, strict=True))
        ]
        if all(swapped):
            return "the masks lie where the prompts would be with their axes reversed"
    return None


@check(
    "empty prompts",
    "an empty mask for a prompt that gives nothing, [] for no prompts, or a ModelFailure in words",
)
def empty_prompts(subject: Subject, scenes: list[Scene]) -> str | None:
    """No prompts at all, a prompt with no points, and one with nothing: answered, or refused in words."""
    if not isinstance(subject, Promptable):
        return None
    scene = scenes[0].copy()
    shape = scene.image.grid.shape
    if len(subject.ask(scene, [])):
        return "answers came for no prompts"
    nothing = np.zeros((0, len(shape)), dtype=np.int64)
    for prompt in (Prompt("ball", points=nothing, labels=np.zeros(0, dtype=np.int64)), Prompt("ball")):
        try:
            for answer in subject.ask(scene, [prompt]):
                checked_segmentation(answer, shape)
        except ModelFailure:
            continue
    return None


CONTRACT = (answers, odd_sizes, device, input_untouched, axis_order, empty_prompts)


def _wrong(subject: Subject, scene: Scene) -> str | None:
    """What is wrong with the answer for a scene, None when nothing is."""
    shape = scene.image.grid.shape
    seen = scene.copy()
    if isinstance(subject, Automatic):
        return _wrong_labels(subject.masks(seen), shape, scene.name)
    asked = seen.prompts(subject.takes)
    answer = subject.raw(seen)
    if isinstance(answer, str) or not hasattr(answer, "__len__") or len(answer) != len(asked):
        came = f"{len(answer)} answers" if hasattr(answer, "__len__") else f"a {type(answer).__name__}"
        return f"{scene.name}: {came} for {len(asked)} prompts"
    for one in answer:
        try:
            checked_segmentation(one, shape)
        except ModelFailure as error:
            return f"{scene.name}: {error}"
    return None


def _wrong_labels(arrays: list[Mask], shape: tuple[int, ...], name: str) -> str | None:
    for array in arrays:
        if array.shape != shape:
            return f"{name}: an array of shape {array.shape}, the image's spatial shape is {shape}"
        if array.dtype.kind not in "iub" or array.min(initial=0) < 0:
            return f"{name}: an array of {array.dtype}; label values >= 0 or bool masks are expected"
    return None


def _device(value: Any) -> str | None:
    place = getattr(value, "device", None)
    return None if place is None else str(getattr(place, "type", place)).partition(":")[0]


def _bytes(prompt: Prompt) -> list[bytes | None]:
    given = (prompt.box, prompt.points, prompt.labels, prompt.mask)
    return [None if value is None else value.tobytes() for value in given]


def _share(mask: Mask, ball: Any) -> float:
    return float(np.count_nonzero(mask[ball])) / float(np.count_nonzero(ball))
