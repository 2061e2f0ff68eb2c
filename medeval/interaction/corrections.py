"""What a user gives after a round: one corrective click by a click rule, or all that a published protocol gives at once.

A click rule sees only the box of the error. A correction rule sees both masks whole, because its protocol needs more: it
may ask again when nothing is wrong, or give many points and a stroke in one round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medeval.interaction.clicks import click_rules, next_click
from medeval.interaction.effort import Effort
from medeval.interaction.settings import PromptError
from medeval.types import EvaluatorFailure, nearest


@dataclass(frozen=True, eq=False)
class Given:
    """Points of one round. points: (n, ndim) int voxels; labels: (n,) 1 = on the structure, 0 = on the background.

    effort: what it cost the user, which is less than the points where a machine made them from a stroke or from slices.
    """

    points: NDArray[np.int64]
    labels: NDArray[np.int64]
    effort: Effort

    @classmethod
    def clicked(cls, points: ArrayLike, labels: ArrayLike, slice_axis: int) -> Given:
        """Points that were each clicked by hand."""
        placed = np.asarray(points, dtype=np.int64)
        told = np.asarray(labels, dtype=np.int64)
        return cls(placed, told, Effort.of_clicks(placed, slice_axis))


@dataclass(frozen=True, eq=False)
class Round:
    """What a correction rule sees. prediction, truth: bool, same shape; clicked: (n, ndim) voxels clicked so far.

    spacing: voxel edge lengths in array order. slice_axis: the axis along which slices lie.
    ignored: bool, voxels that are scored for no structure and never clicked; None when there are none.
    """

    prediction: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    clicked: NDArray[np.int64]
    spacing: tuple[float, ...]
    slice_axis: int = -1
    ignored: NDArray[np.bool_] | None = None

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Missed or extra, and scored."""
        wrong = self.prediction ^ self.truth
        return wrong if self.ignored is None else wrong & ~self.ignored


CorrectionRule = Callable[[Round, np.random.Generator], Given | None]

_RULES: dict[str, CorrectionRule] = {}


def correction_rule(name: str) -> Callable[[CorrectionRule], CorrectionRule]:
    """Register ``rule(round, rng) -> Given | None`` under a name for ``click_rule:``; None: nothing is to be corrected."""

    def register(rule: CorrectionRule) -> CorrectionRule:
        _RULES[name] = rule
        return rule

    return register


def correction_rules() -> Mapping[str, str]:
    """Name -> first line of what each rule says of itself, click rules included."""
    own = {name: (rule.__doc__ or "").strip().splitlines()[0] for name, rule in _RULES.items()}
    return dict(sorted({**click_rules(), **own}.items()))


def next_correction(state: Round, rule: str, rng: np.random.Generator) -> Given | None:
    """What the rule gives in the next round; None when it has nothing to correct.

    Raises ``PromptError`` on an unknown rule.
    """
    if rule in _RULES:
        return _RULES[rule](state, rng)
    if rule not in click_rules():
        raise PromptError(f"click rule {rule!r} is not known; {nearest(rule, correction_rules())}")
    click = next_click(state.prediction, state.truth, state.clicked, rule, rng, state.spacing, state.ignored)
    return None if click is None else Given.clicked([click.point], [click.label], state.slice_axis)


@correction_rule("sam-med3d")
def sam_med3d(state: Round, rng: np.random.Generator) -> Given | None:
    """Uniform over all wrong voxels; where nothing is wrong, a voxel of the structure, asked again (SAM-Med3D).

    uni-medical/SAM-Med3D, utils/click_method.py, "random". Nothing is asked when nothing is wrong and nothing is there.
    """
    candidates = state.wrong
    if not candidates.any():
        candidates = state.truth if state.ignored is None else state.truth & ~state.ignored
    flat = np.flatnonzero(candidates)
    if not flat.size:
        return None
    point = np.unravel_index(flat[rng.integers(flat.size)], candidates.shape)
    return Given.clicked([point], [int(state.truth[point])], state.slice_axis)


def on_background(
    truth: NDArray[np.bool_], ignored: NDArray[np.bool_] | None, rng: np.random.Generator, slice_axis: int
) -> Given:
    """One background click, uniform over what is not the structure: "it is not here", for a structure that is absent.

    Raises ``EvaluatorFailure`` where every voxel is the structure's or ignored.
    """
    outside = ~truth if ignored is None else ~truth & ~ignored
    flat = np.flatnonzero(outside)
    if not flat.size:
        raise EvaluatorFailure("no background click: every voxel is the structure's, or ignored")
    point = np.unravel_index(flat[rng.integers(flat.size)], truth.shape)
    return Given.clicked([point], [0], slice_axis)


def stacked(parts: Sequence[NDArray[np.int64] | None], ndim: int) -> NDArray[np.int64]:
    """(n, ndim) all points in order; (0, ndim) where there are none."""
    held = [part for part in parts if part is not None and len(part)]
    return np.vstack(held).astype(np.int64) if held else np.empty((0, ndim), dtype=np.int64)
