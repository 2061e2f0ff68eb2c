"""Clicks of a simulated user, and the registry of rules by which they are placed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medeval.interaction.drawing import bounds, slices
from medeval.interaction.settings import PromptError
from medeval.types import EvaluatorFailure, nearest


class Click(NamedTuple):
    """point: voxel indices in array order. label: 1 = on the structure, 0 = on the background."""

    point: tuple[int, ...]
    label: int


@dataclass(frozen=True, eq=False)
class ErrorRegion:
    """What is wrong with a mask, cut to the smallest box that holds it; at least one voxel is wrong.

    missed: bool, of the structure but not in the mask. extra: bool, in the mask but not of the structure.
    clicked: (n, ndim) int, the earlier clicks that fall into this box, in its coordinates.
    spacing: voxel edge lengths in array order.
    """

    missed: NDArray[np.bool_]
    extra: NDArray[np.bool_]
    clicked: NDArray[np.int64]
    spacing: tuple[float, ...]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Missed or extra."""
        return self.missed | self.extra

    def click(self, voxel: Sequence[int] | NDArray[np.int64]) -> Click:
        """A click on a wrong voxel of this box: on the structure where it was missed, on the background elsewhere."""
        point = tuple(int(index) for index in voxel)
        return Click(point, int(self.missed[point]))


ClickRule = Callable[[ErrorRegion, np.random.Generator], Click]

_RULES: dict[str, ClickRule] = {}


def click_rule(name: str) -> Callable[[ClickRule], ClickRule]:
    """Register ``rule(error, rng) -> Click`` (in the error's own coordinates) under a name for ``click_rule:``."""

    def register(rule: ClickRule) -> ClickRule:
        _RULES[name] = rule
        return rule

    return register


def click_rules() -> dict[str, str]:
    """Name -> first line of what each rule says of itself."""
    return {name: (rule.__doc__ or "").strip().splitlines()[0] for name, rule in sorted(_RULES.items())}


def first_click(
    mask: NDArray[np.bool_], rule: str, rng: np.random.Generator, spacing: Sequence[float]
) -> tuple[int, ...]:
    """The voxel of the structure that the rule clicks before there is any mask: everything is missed.

    mask: bool, the structure. Raises ``EvaluatorFailure`` on an empty mask and ``PromptError`` on an unknown rule.
    """
    mask = np.asarray(mask, dtype=bool)
    click = next_click(np.zeros(mask.shape, dtype=bool), mask, (), rule, rng, spacing)
    if click is None:
        raise EvaluatorFailure(
            "a click on an empty structure: prompts are drawn only for structures that are present"
        )
    return click.point


def next_click(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    clicked: ArrayLike,
    rule: str,
    rng: np.random.Generator,
    spacing: Sequence[float],
    ignored: NDArray[np.bool_] | None = None,
) -> Click | None:
    """Where the rule clicks next, given the last mask; None when nothing is wrong.

    prediction, reference: bool, same shape. clicked: (n, ndim) voxels clicked so far, () at first.
    spacing: voxel edge lengths in array order. ignored: bool, voxels that are scored for no structure.
    Of a correction rule (``medeval.interaction.corrections``) that gives several points the first. Raises ``PromptError``
    on an unknown rule.
    """
    reference = np.asarray(reference, dtype=bool)
    if rule not in _RULES:
        return _first_of_correction(
            np.asarray(prediction, dtype=bool), reference, clicked, rule, rng, spacing, ignored
        )
    wrong = np.asarray(prediction, dtype=bool) ^ reference
    if ignored is not None:
        wrong &= ~ignored
    box = bounds(wrong)
    if box is None:
        return None
    click = _RULES[rule](_region(wrong, reference, box, clicked, spacing), rng)
    return Click(tuple(int(i) for i in np.asarray(click.point) + box[0]), click.label)


def _first_of_correction(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    clicked: ArrayLike,
    rule: str,
    rng: np.random.Generator,
    spacing: Sequence[float],
    ignored: NDArray[np.bool_] | None,
) -> Click | None:
    from medeval.interaction.corrections import Round, correction_rules, next_correction

    if rule not in correction_rules():
        raise PromptError(f"click rule {rule!r} is not known; {nearest(rule, correction_rules())}")
    earlier = np.asarray(clicked, dtype=np.int64).reshape(-1, reference.ndim)
    state = Round(prediction, reference, earlier, tuple(float(edge) for edge in spacing), ignored=ignored)
    given = next_correction(state, rule, rng)
    return None if given is None else Click(tuple(given.points[0].tolist()), int(given.labels[0]))


def _region(
    wrong: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    box: NDArray[np.int64],
    clicked: ArrayLike,
    spacing: Sequence[float],
) -> ErrorRegion:
    where = slices(box)
    missed = wrong[where] & reference[where]
    earlier = np.asarray(clicked, dtype=np.int64).reshape(-1, wrong.ndim) - box[0]
    inside = ((earlier >= 0) & (earlier < np.array(missed.shape))).all(axis=1)
    return ErrorRegion(
        missed, wrong[where] & ~missed, earlier[inside], tuple(float(edge) for edge in spacing)
    )
