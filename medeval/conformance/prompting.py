"""What only promptable models are asked: where prompts lie, which may be empty or stick out, further rounds, and batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from medeval.conformance.findings import Found, check
from medeval.conformance.images import ROUNDING
from medeval.conformance.scenes import Ball, Scene, cornered, spaced
from medeval.conformance.segmenting import TRANSPOSE, Promptable, wrong_mask
from medeval.conformance.subjects import Mask, differing, same
from medeval.tasks.masks import to_numpy
from medeval.types import CaseFailure, Prompt

HIT, MISSED = 0.5, 0.1  # share of a ball that a mask must cover to be on it, and may cover to be off it
DONE = ("answers", "axis order")


@check(
    "axis order", TRANSPOSE.partition(":")[0] + ": so are boxes and points", of=Promptable, needs=("answers",)
)
def axis_order(subject: Promptable, scenes: list[Scene]) -> Found:
    """No prompt kind lands on the equal ball where a swap of axes would look."""
    wrong = _misplaced(subject, scenes[0])
    return f"the masks lie where the prompts would be if {wrong}" if wrong else None


@check(
    "spacing", "boxes and points are in voxels, spacing is in array order: convert neither, or both", of=Promptable, needs=DONE
)  # fmt: skip
def spacing(subject: Promptable, scenes: list[Scene]) -> Found:
    """With unequal spacing neither: no prompt is taken for millimetres."""
    wrong = _misplaced(subject, spaced(scenes[0].image.ndim))
    return f"the masks lie where the prompts would be if {wrong}" if wrong else None


@check(
    "empty prompts",
    "an empty mask for a prompt that gives nothing, [] for no prompts, or a ModelFailure in words",
    of=Promptable,
    needs=("answers",),
)
def empty_prompts(subject: Promptable, scenes: list[Scene]) -> Found:
    """No prompts at all, a prompt with no points, and one with nothing: answered, or refused in words."""
    shape = scenes[0].image.grid.shape
    if len(subject.of(scenes[0], [])):
        return "answers came for no prompts"
    nothing = np.zeros((0, len(shape)), dtype=np.int64)
    for prompt in (Prompt("ball", points=nothing, labels=np.zeros(0, dtype=np.int64)), Prompt("ball")):
        if found := _wrong(subject, scenes[0], prompt):
            return found
    return None


@check(
    "boxes at the border", "clip boxes to the image: a negative start means the other end in Python", of=Promptable, needs=DONE
)  # fmt: skip
def boxes_at_the_border(subject: Promptable, scenes: list[Scene]) -> Found:
    """A box that sticks out of the image gets a mask, and not an empty one where the box within gets the ball."""
    if "box" not in subject.takes.prompts:
        return None
    scene = cornered(scenes[0].image.ndim)
    shape = scene.image.grid.shape
    for truth in scene.truths:
        at = np.argwhere(truth)
        box = np.stack([at.min(axis=0), at.max(axis=0) + 1])
        out = box + np.where(box == 0, -3, np.where(box == shape, 3, 0))
        if found := _wrong(subject, scene, Prompt("ball", box=out)):
            return f"box {out.tolist()} in an image of {shape}: {found[0]}", found[1]
        masks = [to_numpy(subject.of(scene, [Prompt("ball", box=b)])[0].mask) for b in (box, out)]
        if _share(masks[0], truth) > HIT and _share(masks[1], truth) < MISSED:
            return f"box {out.tolist()} in an image of {shape} misses what box {box.tolist()} finds"
    return None


@check(
    "second round",
    "take what the model returned: `logits` and `mask` come back as they were",
    of=Promptable,
    needs=("answers",),
)
def second_round(subject: Promptable, scenes: list[Scene]) -> Found:
    """A correcting click, with the mask and the logits of the first round, is answered."""
    if "points" not in subject.takes.prompts:
        return None
    scene = scenes[0].copy()
    encoded = subject.model.encode(scene.image)
    prompts = replace(scene, truths=scene.truths[:1]).prompts(subject.takes)
    first = subject.model.segment(encoded, list(prompts))
    again = [_corrected(prompt, answer) for prompt, answer in zip(prompts, first, strict=True)]
    for answer in subject.model.segment(encoded, again):
        if found := wrong_mask(answer, scene.image.grid.shape, segmentation=True):
            return f"after a correcting click: {found[0]}", found[1]
    return None


@check(
    "batch invariance", "answer each prompt of a batch by itself: no statistics and no state over the batch", of=Promptable,
    needs=("answers", "determinism", "no hidden state"),
)  # fmt: skip
def batch_invariance(subject: Promptable, scenes: list[Scene]) -> Found:
    """One by one and in reverse, prompts get the masks that they get together."""
    scene = scenes[0]
    prompts = scene.prompts(subject.takes)
    together = _masks(subject, scene, prompts)
    backwards = _masks(subject, scene, prompts[::-1])[::-1]
    encoded = subject.model.encode(scene.copy().image)
    singly = [to_numpy(subject.model.segment(encoded, [p])[0].mask) for p in prompts]
    for name, other in (("in reverse order", backwards), ("one by one", singly)):
        if not same(together, other, ROUNDING):
            return f"asked {name}, the masks are others ({differing(together, other)} voxels)"
    return None


@check(
    "kept encodings", "keep nothing from one image to the next: what segment needs goes through what encode returns",
    of=Promptable, needs=("answers", "determinism", "no hidden state"),
)  # fmt: skip
def kept_encodings(subject: Promptable, scenes: list[Scene]) -> Found:
    """What encode returned is good after another image was encoded."""
    scene = subject.brief(scenes[0])
    prompts = scene.prompts(subject.takes)
    kept = subject.model.encode(scene.copy().image)
    now = [to_numpy(a.mask).copy() for a in subject.model.segment(kept, list(prompts))]
    subject.masks(subject.another(scene, 9))
    later = [to_numpy(a.mask) for a in subject.model.segment(kept, list(prompts))]
    return (
        None if same(now, later) else "what encode returned gives other masks once another image was encoded"
    )


def _misplaced(subject: Promptable, scene: Scene) -> str | None:
    """What the masks of all structures by one kind of prompt are on instead of the structures."""
    kinds = len(scene.prompts(subject.takes)) // len(scene.truths)
    masks = _masks(subject, scene, scene.prompts(subject.takes))
    for wrong in scene.decoys[0]:
        for kind in range(kinds):
            triples = zip(masks[kind::kinds], scene.truths, scene.decoys, strict=True)
            if all(_on(mask, decoys[wrong], truth) for mask, truth, decoys in triples):
                return wrong
    return None


def _on(mask: Mask, decoy: Ball, truth: Ball) -> bool:
    return _share(mask, decoy) > HIT and _share(mask, truth) < MISSED


def _wrong(subject: Promptable, scene: Scene, prompt: Prompt) -> tuple[str, str] | None:
    """What is wrong with the answer to one prompt; None where it is refused in words."""
    try:
        [answer] = subject.of(scene, [prompt])
    except CaseFailure:
        return None
    return wrong_mask(answer, scene.image.grid.shape, segmentation=True)


def _masks(subject: Promptable, scene: Scene, prompts: list[Prompt]) -> list[Mask]:
    return [to_numpy(answer.mask) for answer in subject.of(scene, prompts)]


def _corrected(prompt: Prompt, answer: Any) -> Prompt:
    """The next round's prompt: a click on the background beside what there is, the last mask, and the last logits."""
    mask = to_numpy(answer.mask)
    ndim = mask.ndim
    points = np.zeros((0, ndim), dtype=np.int64) if prompt.points is None else prompt.points
    labels = np.zeros(0, dtype=np.int64) if prompt.labels is None else prompt.labels
    click = np.full((1, ndim), 2, dtype=np.int64)
    points, labels = np.concatenate([points, click]), np.append(labels, 0)
    return replace(prompt, points=points, labels=labels, mask=mask, logits=getattr(answer, "logits", None))


def _share(mask: Mask, ball: Ball) -> float:
    return float(np.count_nonzero(mask[ball])) / float(np.count_nonzero(ball))
