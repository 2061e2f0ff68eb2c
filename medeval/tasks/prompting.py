"""Sessions of a simulated user with a promptable model: who is asked what in which round, and whose failure it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medeval.interaction import (
    BoxRule,
    PointRule,
    PromptSetting,
    draw_points,
    first_click,
    jittered_box,
    largest_component,
    mixed_points,
    next_click,
    tight_box,
)
from medeval.tasks.context import Context
from medeval.tasks.masks import checked_segmentation, grid_of
from medeval.types import (
    Capabilities,
    Case,
    CaseFailure,
    Failure,
    InfrastructureFailure,
    Key,
    ModelFailure,
    Output,
    Prompt,
    Segmentation,
    Status,
)


@dataclass(frozen=True)
class Session:
    """The settings that one session of clicks answers: they share every round that they both have.

    longest: the setting with the most rounds, which is run. settings: all that are read off it.
    """

    longest: PromptSetting
    settings: tuple[PromptSetting, ...]

    @property
    def seed_label(self) -> str:
        """What enters the seed in the place of the setting, so that ``1 click`` is round 1 of ``5 clicks``."""
        setting = self.longest
        if not setting.clicks and not setting.box:
            return setting.label
        return f"box jitter {setting.jitter}" if setting.box else "clicks"


def capabilities(model: Any) -> Capabilities:
    """What a model says that it takes; one that says nothing takes everything."""
    return getattr(model, "takes", None) or Capabilities()


class AskingTask(Protocol):
    """The fields of a task that say how a session is run."""

    @property
    def click_rule(self) -> str:
        """Where the simulated user clicks."""

    @property
    def box_rule(self) -> BoxRule:
        """What a box goes around."""

    @property
    def point_rule(self) -> PointRule:
        """Where points drawn at once fall."""

    @property
    def batch_size(self) -> int:
        """Most prompts that go to the model in one call."""


class Dialogue:
    """One structure's session: what was given so far and what the model last answered."""

    def __init__(self, structure: str, truth: NDArray[np.bool_]) -> None:
        self.structure = structure
        self.truth = truth
        self.prompt: Prompt | None = None
        self.answer: Segmentation | None = None
        self.carried = False


class Asker:
    """Runs sessions on one encoded image."""

    def __init__(self, task: AskingTask, model: Any, encoded: Any, case: Case, context: Context) -> None:
        self._task = task
        self._model = model
        self._encoded = encoded
        self._case = case
        self._context = context
        self._grid = grid_of(case)
        self._ignored = case.reference["structures"].ignored()
        self._feeds_mask = "mask" in capabilities(model).prompts

    def run(self, session: Session, dialogues: list[Dialogue]) -> Iterator[Output | Failure]:
        """All rounds of a session; a structure whose model call failed fails its later rounds too."""
        setting = session.longest
        for number in range(1, setting.rounds + 1):
            for dialogue in dialogues:
                self._extend(dialogue, session, number)
            asked = [d for d in dialogues if not d.carried]
            failures = self._ask(asked)
            for dialogue in list(dialogues):
                error = failures.get(dialogue.structure)
                if error is None:
                    yield from self._outputs(dialogue, session, number)
                else:
                    dialogues.remove(dialogue)
                    yield from self._failures(dialogue, session, number, error)

    def _extend(self, dialogue: Dialogue, session: Session, number: int) -> None:
        """The prompt of this round; ``carried`` when the last mask needs no correction."""
        setting = session.longest
        rng = self._context.rng(self._case.id, dialogue.structure, session.seed_label, number)
        if number == 1:
            dialogue.prompt = self._opening(dialogue, setting, rng)
            return
        prompt, answer = dialogue.prompt, dialogue.answer
        assert prompt is not None and answer is not None
        clicked = (
            prompt.points if prompt.points is not None else np.empty((0, dialogue.truth.ndim), dtype=np.int64)
        )
        click = next_click(
            answer.mask,
            dialogue.truth,
            clicked,
            self._task.click_rule,
            rng,
            self._grid.spacing,
            self._ignored,
        )
        dialogue.carried = click is None
        if click is None:
            return
        labels = prompt.labels if prompt.labels is not None else np.empty(0, dtype=np.int64)
        dialogue.prompt = Prompt(
            prompt.structure,
            prompt.box,
            np.vstack([clicked, np.asarray(click.point)[None]]).astype(np.int64),
            np.append(labels, click.label).astype(np.int64),
            answer.mask if self._feeds_mask else None,
            answer.logits,
        )

    def _opening(self, dialogue: Dialogue, setting: PromptSetting, rng: np.random.Generator) -> Prompt:
        name, truth = dialogue.structure.partition("#")[0], dialogue.truth
        if setting.mask:
            return Prompt(name, mask=truth)
        if setting.box:
            boxed = largest_component(truth) if self._task.box_rule == "largest-component" else truth
            return Prompt(
                name, box=jittered_box(boxed, rng, setting.jitter) if setting.jitter else tight_box(boxed)
            )
        if setting.points and self._task.point_rule == "sam-med2d":
            points, labels = mixed_points(truth, setting.points, rng)
            return Prompt(name, points=points, labels=labels)
        if setting.points:
            points = draw_points(truth, setting.points, rng)
        else:
            points = np.asarray(
                [first_click(truth, self._task.click_rule, rng, self._grid.spacing)], dtype=np.int64
            )
        return Prompt(name, points=points, labels=np.ones(len(points), dtype=np.int64))

    def _ask(self, dialogues: Sequence[Dialogue]) -> dict[str, CaseFailure]:
        """Ask in batches; a batch that fails is asked one by one, so that only the culprit fails."""
        failures: dict[str, CaseFailure] = {}
        size = self._task.batch_size
        for start in range(0, len(dialogues), size):
            batch = dialogues[start : start + size]
            try:
                self._ask_batch(batch)
            except InfrastructureFailure:
                raise
            except CaseFailure as error:
                if len(batch) == 1:
                    failures[batch[0].structure] = error
                else:
                    failures |= self._ask_singly(batch)
        return failures

    def _ask_singly(self, batch: Sequence[Dialogue]) -> dict[str, CaseFailure]:
        failures: dict[str, CaseFailure] = {}
        for dialogue in batch:
            try:
                self._ask_batch([dialogue])
            except InfrastructureFailure:
                raise
            except CaseFailure as error:
                failures[dialogue.structure] = error
        return failures

    def _ask_batch(self, batch: Sequence[Dialogue]) -> None:
        prompts = [_given(d.prompt) for d in batch]
        answers = self._context.call(self._case.id, "segment", self._model.segment, self._encoded, prompts)
        if isinstance(answers, str) or not isinstance(answers, Sequence) or len(answers) != len(batch):
            got = (
                f"{len(answers)} answers" if isinstance(answers, Sequence) else f"a {type(answers).__name__}"
            )
            raise ModelFailure(
                f"segment returned {got} for {len(batch)} prompts; one Segmentation each is expected"
            )
        checked = [checked_segmentation(answer, self._grid.shape) for answer in answers]
        for dialogue, answer in zip(batch, checked, strict=True):
            dialogue.answer = answer

    def _outputs(self, dialogue: Dialogue, session: Session, number: int) -> Iterator[Output]:
        columns = _prompt_columns(dialogue.prompt)
        status = Status.CARRIED if dialogue.carried else Status.OK
        for setting in session.settings:
            if number <= setting.rounds:
                key = Key(dialogue.structure, setting.label, number)
                yield Output(self._case.id, key, dialogue.answer, status, columns)

    def _failures(
        self, dialogue: Dialogue, session: Session, number: int, error: CaseFailure
    ) -> Iterator[Failure]:
        for setting in session.settings:
            for later in range(number, setting.rounds + 1):
                key = Key(dialogue.structure, setting.label, later)
                yield Failure(self._case.id, key, error.status, str(error))


def _given(prompt: Prompt | None) -> Prompt:
    """The prompt as the model gets it: its own arrays, for a model may normalise them in place."""
    assert prompt is not None
    return replace(
        prompt,
        **{
            name: value.copy()
            for name in ("box", "points", "labels", "mask")
            if (value := getattr(prompt, name)) is not None
        },
    )


def _prompt_columns(prompt: Prompt | None) -> dict[str, Any]:
    """The prompt as record columns: JSON of ``[[row, column, label], ...]`` and ``[[start...], [stop...]]``."""
    columns: dict[str, Any] = {}
    if prompt is not None and prompt.points is not None and prompt.labels is not None:
        columns["points"] = json.dumps(np.column_stack([prompt.points, prompt.labels]).tolist())
    if prompt is not None and prompt.box is not None:
        columns["box"] = json.dumps(prompt.box.tolist())
    return columns
