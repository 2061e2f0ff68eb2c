"""Prompts as SAM's prompt encoder takes them: checked, mapped into the square, and gathered into batches.

One call of the encoder needs as many points, a box or none, and a mask or none, for every prompt alike: padding with
"no point" would change the answer, for those tokens are attended to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import EvaluatorFailure, Prompt
from medeval_adapters.sam_frames import Frame

if TYPE_CHECKING:
    from torch import Tensor

Feedback = Literal["logits", "probabilities"]
_SURE = 1e-3  # a mask given as a prompt is as sure as SAM's logits get: +-6.9


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts of one kind. at: their positions among all; points, boxes and masks as the prompt encoder takes them."""

    at: tuple[int, ...]
    points: tuple[Tensor, Tensor] | None
    boxes: Tensor | None
    masks: Tensor | None

    @property
    def ambiguous(self) -> bool:
        """True for what SAM calls so: a single point and nothing else."""
        return (
            self.points is not None
            and self.points[0].shape[1] == 1
            and self.boxes is None
            and self.masks is None
        )


def batches(
    prompts: Sequence[Prompt],
    frame: Frame,
    mask_size: tuple[int, int],
    feedback: Feedback,
    device: Any,
    batch_size: int,
) -> Iterator[Batch]:
    """All prompts in batches of one kind, at most ``batch_size`` each.

    mask_size: of the prompt encoder's mask input. feedback: whether that input is logits (SAM) or their sigmoid
    (SAM-Med2D). Raises ``EvaluatorFailure`` for the first prompt that asks nothing or lies outside the image.
    """
    for prompt in prompts:
        check(prompt, frame.original)
    kinds: dict[tuple[int, bool, bool], list[int]] = {}
    for position, prompt in enumerate(prompts):
        kinds.setdefault((_count(prompt), prompt.box is not None, _has_mask(prompt)), []).append(position)
    for kind, positions in kinds.items():
        for start in range(0, len(positions), batch_size):
            at = tuple(positions[start : start + batch_size])
            yield _gather(at, [prompts[i] for i in at], kind, frame, mask_size, feedback, device)


def check(prompt: Prompt, shape: tuple[int, ...]) -> None:
    """Raise ``EvaluatorFailure`` for a prompt that no user means: nothing at all, a box without area or wholly outside, a point outside.

    A box that only sticks out passes: the papers' jitter moves boxes so.
    """
    size = np.asarray(shape)
    if not _count(prompt) and prompt.box is None and not _has_mask(prompt):
        raise EvaluatorFailure(f"{prompt.structure}: a prompt without a point, a box or a mask")
    if prompt.box is not None:
        _check_box(np.asarray(prompt.box), size, prompt.structure)
    for point, label in zip(*points_of(prompt), strict=True):
        if label >= 0 and not ((point >= 0) & (point < size)).all():
            raise EvaluatorFailure(
                f"{prompt.structure}: point {point.tolist()} (row, column) lies outside the image of {shape}"
            )
    if prompt.mask is not None and np.shape(prompt.mask) != tuple(shape):
        raise EvaluatorFailure(
            f"{prompt.structure}: mask prompt of shape {np.shape(prompt.mask)}, the image is {shape}"
        )


def points_of(prompt: Prompt) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, 2) row, column and (n,) labels; foreground where none are given."""
    points = np.asarray(() if prompt.points is None else prompt.points, dtype=np.float64).reshape(-1, 2)
    if prompt.labels is None:
        return points, np.ones(len(points), dtype=np.int64)
    labels = np.asarray(prompt.labels, dtype=np.int64).reshape(-1)
    if len(labels) != len(points):
        raise EvaluatorFailure(f"{prompt.structure}: {len(points)} points with {len(labels)} labels")
    return points, labels


def _check_box(box: NDArray, size: NDArray, name: str) -> None:
    shown = f"{name}: box {box.tolist()}"
    if box.shape != (2, 2):
        raise EvaluatorFailure(
            f"{shown} of shape {box.shape}; [[row, column] start, [row, column] stop] is expected"
        )
    if (box[0] > box[1]).any():
        raise EvaluatorFailure(f"{shown} is inverted: start lies beyond stop")
    if (box[0] == box[1]).any():
        raise EvaluatorFailure(
            f"{shown} has no area; stop is exclusive, so one pixel is [[r, c], [r + 1, c + 1]]"
        )
    if (box[1] <= 0).any() or (box[0] >= size).any():
        raise EvaluatorFailure(f"{shown} lies outside the image of {tuple(size.tolist())}")


def _gather(
    at: tuple[int, ...],
    prompts: Sequence[Prompt],
    kind: tuple[int, bool, bool],
    frame: Frame,
    mask_size: tuple[int, int],
    feedback: Feedback,
    device: Any,
) -> Batch:
    import torch

    count, has_box, has_mask = kind
    points = boxes = masks = None
    if count:
        drawn = [points_of(prompt) for prompt in prompts]
        coords = torch.from_numpy(np.stack([frame.points(where) for where, _ in drawn])).to(device)
        points = (coords, torch.from_numpy(np.stack([labels for _, labels in drawn])).to(device))
    if has_box:
        corners = np.stack([frame.points(np.asarray(prompt.box)).reshape(4) for prompt in prompts])
        boxes = torch.from_numpy(corners).to(device)
    if has_mask:
        masks = torch.stack([_mask_input(prompt, frame, mask_size, feedback) for prompt in prompts])[
            :, None
        ].to(device)
    return Batch(at, points, boxes, masks)


def _mask_input(prompt: Prompt, frame: Frame, size: tuple[int, int], feedback: Feedback) -> Tensor:
    """What goes into the mask input: the last round's logits where there are some, else the mask itself."""
    import torch

    if prompt.logits is not None:
        logits = torch.as_tensor(np.asarray(prompt.logits, dtype=np.float32))
        if tuple(logits.shape) != size:
            raise EvaluatorFailure(
                f"{prompt.structure}: logits of shape {tuple(logits.shape)}; {size} came from this model"
            )
        return logits.sigmoid() if feedback == "probabilities" else logits
    covered = frame.mask_prompt(torch.as_tensor(np.asarray(prompt.mask, dtype=bool)), size)
    return covered if feedback == "probabilities" else covered.clamp(_SURE, 1 - _SURE).logit()


def _count(prompt: Prompt) -> int:
    return 0 if prompt.points is None else len(prompt.points)


def _has_mask(prompt: Prompt) -> bool:
    return prompt.logits is not None or prompt.mask is not None
