"""Who sits before a promptable model: a simulated user who sees the truth, clicks drawn beforehand, or recorded people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medeval.interaction.autopet import click_pairs
from medeval.interaction.corrections import Given, Round, next_correction, on_background, stacked
from medeval.interaction.drawing import tight_box
from medeval.interaction.effort import Effort
from medeval.interaction.openings import Scene, opening
from medeval.interaction.recorded import RecordedRound
from medeval.interaction.settings import PromptSetting
from medeval.types import DataError, EvaluatorFailure, Prompt, Segmentation


@dataclass(eq=False)
class Dialogue:
    """One structure's session: what was given so far and what the model last answered.

    structure: as records name it. truth: bool. barred: bool, where no click may fall; None: anywhere.
    given: all that the user has given. prompt: what the model is asked with now; it may hold less.
    seconds: what recorded people took, None where nobody measured. rounds: how many this one has.
    carried: nothing was corrected in this round.
    """

    structure: str
    truth: NDArray[np.bool_]
    rounds: int
    barred: NDArray[np.bool_] | None = None
    given: Prompt | None = None
    prompt: Prompt | None = None
    answer: Segmentation | None = None
    effort: Effort = field(default_factory=Effort)
    seconds: float | None = None
    carried: bool = False

    @property
    def name(self) -> str:
        """The structure's own name, as a model is told it: ``rib#2`` is a rib."""
        return self.structure.partition("#")[0]

    @property
    def clicked(self) -> NDArray[np.int64]:
        """(n, ndim) voxels given so far."""
        return stacked([None if self.given is None else self.given.points], self.truth.ndim)

    def gives(self, more: Prompt, effort: Effort, *, newest_only: bool = False) -> None:
        """Add what the user gives in this round."""
        self.carried = False
        self.effort += effort
        self.given = more if self.given is None else _joined(self.given, more)
        self.prompt = more if newest_only else self.given

    def feed_back(self, mask: bool) -> None:
        """Hand the last answer back to the model: its mask, if it takes masks, and its logits."""
        if self.answer is not None and self.prompt is not None:
            fed = self.answer.mask if mask else None
            self.prompt = replace(self.prompt, mask=fed, logits=self.answer.logits)


class User(Protocol):
    """What happens between two rounds. number: of the round, from 1; rng: of this structure and round."""

    def act(self, dialogue: Dialogue, number: int, rng: np.random.Generator) -> None:
        """Give something (``dialogue.gives``), or say that nothing is to be corrected (``dialogue.carried``)."""


@dataclass(frozen=True, eq=False)
class SimulatedUser:
    """Opens as the setting says, then corrects by the rule."""

    setting: PromptSetting
    scene: Scene
    rule: str
    newest_only: bool = False

    def act(self, dialogue: Dialogue, number: int, rng: np.random.Generator) -> None:
        """The opening, or one correction of the last mask. Raises ``EvaluatorFailure`` where no click may fall to begin with."""
        if number == 1 and (self.setting.needs_structure):
            scene = replace(self.scene, truth=dialogue.truth)
            dialogue.gives(*opening(self.setting, scene, dialogue.name, rng))
            return
        given = self._correction(dialogue, number, rng)
        if given is None:
            if dialogue.given is None:
                raise EvaluatorFailure(
                    f"{dialogue.structure}: all of it lies outside of the crop, or is ignored: no first click may fall on it"
                )
            dialogue.carried = True
            return
        more = Prompt(dialogue.name, points=given.points, labels=given.labels)
        dialogue.gives(more, given.effort, newest_only=self.newest_only)

    def _correction(self, dialogue: Dialogue, number: int, rng: np.random.Generator) -> Given | None:
        axis = self.scene.slice_axis
        if number == 1 and not dialogue.truth.any():
            return on_background(dialogue.truth, dialogue.barred, rng, axis)
        seen = np.zeros_like(dialogue.truth) if dialogue.answer is None else dialogue.answer.mask
        state = Round(seen, dialogue.truth, dialogue.clicked, self.scene.spacing, axis, dialogue.barred)
        return next_correction(state, self.rule, rng)


@dataclass(eq=False)
class BeforehandUser:
    """Pairs of clicks that were drawn before the session, whatever the model answers (autoPET/CT IV).

    uptake: the image that draws background clicks; None: there are none. strict: seeded by the case, clicks in their pieces.
    """

    pairs: int
    uptake: NDArray | None
    slice_axis: int
    strict: bool = False
    _drawn: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)

    def act(self, dialogue: Dialogue, number: int, rng: np.random.Generator) -> None:
        """Nothing in round 1, then one pair a round; with no click left the mask is carried on."""
        if number == 1:
            drawn = click_pairs(
                dialogue.truth, self.uptake, self.pairs, rng if self.strict else None, strict=self.strict
            )
            self._drawn[dialogue.structure] = drawn
            nothing = np.empty((0, dialogue.truth.ndim), dtype=np.int64)
            dialogue.gives(Prompt(dialogue.name, points=nothing, labels=nothing[:, 0]), Effort())
            return
        pair = [part[number - 2 : number - 1] for part in self._drawn[dialogue.structure]]
        points = stacked(pair, dialogue.truth.ndim)
        if not len(points):
            dialogue.carried = True
            return
        labels = np.repeat([1, 0], [len(part) for part in pair]).astype(np.int64)
        effort = Effort.of_clicks(points, self.slice_axis)
        dialogue.gives(Prompt(dialogue.name, points=points, labels=labels), effort)


@dataclass(frozen=True, eq=False)
class RecordedUser:
    """People who worked on this case before. rounds: structure -> what was given."""

    rounds: dict[str, Sequence[RecordedRound]]
    scene: Scene

    def act(self, dialogue: Dialogue, number: int, rng: np.random.Generator) -> None:
        """The recorded round. Raises ``DataError`` where it does not fit the image."""
        given = self.rounds[dialogue.structure][number - 1]
        if reason := given.outside(dialogue.truth.shape):
            raise DataError(f"recorded prompts of {dialogue.structure!r}, round {number}: {reason}")
        dialogue.gives(given.prompt(dialogue.name), given.effort(self.scene.spacing, self.scene.slice_axis))
        if given.seconds is not None:
            dialogue.seconds = (dialogue.seconds or 0.0) + given.seconds


def outside_cube(truth: NDArray[np.bool_], spacing: Sequence[float], edge: float) -> NDArray[np.bool_]:
    """Bool: all but the cube of ``edge`` mm centred on the structure's box; an absent structure's is the image's middle."""
    shape = np.asarray(truth.shape)
    box = tight_box(truth) if truth.any() else np.stack([np.zeros_like(shape), shape])
    half = edge / np.asarray(spacing) / 2
    middle = box.sum(axis=0) / 2
    start = np.clip(np.floor(middle - half + 0.5), 0, shape).astype(int)
    stop = np.clip(np.floor(middle + half + 0.5), start + 1, shape).astype(int)
    outside = np.ones(truth.shape, dtype=bool)
    outside[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = False
    return outside


def _joined(before: Prompt, more: Prompt) -> Prompt:
    """Both; the newer box stands."""
    ndim = next((p.points.shape[1] for p in (before, more) if p.points is not None), 0)
    points = stacked([before.points, more.points], ndim) if ndim else None
    labels = [p.labels for p in (before, more) if p.labels is not None]
    boxes = [p.boxes for p in (before, more) if p.boxes is not None]
    return Prompt(
        before.structure,
        before.box if more.box is None else more.box,
        points,
        np.concatenate(labels).astype(np.int64) if labels else None,
        boxes=np.concatenate(boxes) if boxes else None,
        strokes=(*before.strokes, *more.strokes),
    )
