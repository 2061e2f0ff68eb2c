"""One case of prompted segmentation: what cannot be asked is told, the image is encoded, and every session is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.interaction import PromptSetting, tight_box
from medeval.interaction.openings import Scene
from medeval.tasks.context import MISSING, Context
from medeval.tasks.masks import grid_of
from medeval.tasks.prompted_segmentation.asking import Asked
from medeval.tasks.prompted_segmentation.frames import unframed
from medeval.tasks.prompted_segmentation.prompting import Asker, Session, capabilities
from medeval.tasks.prompted_segmentation.users import (
    BeforehandUser,
    Dialogue,
    RecordedUser,
    SimulatedUser,
    User,
    outside_cube,
)
from medeval.types import Case, CaseFailure, DataError, Failure, Image, InfrastructureFailure, Output, Status

if TYPE_CHECKING:
    from medeval.tasks.prompted_segmentation.task import PromptedSegmentation

MOST_BYTES = 2**31
"""Masks of one session that are held at once."""


class CaseSessions:
    """All sessions of one model on one case, and the next case's encoding beside them where the model allows that."""

    def __init__(self, task: PromptedSegmentation, model: Any, case: Case, context: Context) -> None:
        self._task, self._model, self._case, self._context = task, model, case, context
        self._ahead = bool(getattr(model, "encodes_ahead", False))
        begun: Any = context.begun(case, "encode") if self._ahead else MISSING
        self._seen: Case = task.seen(case, context.arm) if begun is MISSING else begun[0]
        self._encoded: Any = MISSING if begun is MISSING else begun[1]
        self._reference = self._seen.reference["structures"]
        self._takes = capabilities(model)
        grid = grid_of(self._seen)
        self._grid = grid
        self._scene = Scene(
            np.zeros(0, dtype=bool), grid.spacing, task.slice_axis, task.box_rule, task.point_rule
        )

    def run(self) -> Iterator[Output | Failure]:
        """Every owed key's output or failure, as soon as it is there."""
        task, case = self._task, self._case
        yield from task.undefined(case, self._context)
        owed = task.wanted(case.reference["structures"].present())
        present, absent = task.asked(case, self._seen, self._context)
        for key in task.keys(case.id, (name for name in owed if name not in present)):
            yield Failure(case.id, key, Status.UNDEFINED, f"lost in the frame of {task.frame} pixels")
        yield from self._not_covered(present, absent)
        if not present and not absent:
            self._begin_next()
            return
        shape = grid_of(case).shape
        for event in self._ask_all(present, absent):
            if isinstance(event, Output) and task.frame:
                yield replace(event, value=unframed(event.value, shape))
            else:
                yield event

    def _encode(self) -> Any:
        """The image's encoding, by now or before now; then the next image's may begin."""
        try:
            if self._encoded is MISSING:
                image = self._seen.inputs["image"]
                self._encoded = self._context.call(self._case.id, "encode", self._model.encode, image)
        finally:
            self._begin_next()
        return self._encoded

    def _begin_next(self) -> None:
        if self._ahead:
            self._context.begin_next(partial(self._task.encoded_ahead, self._model, self._context))

    # -- what is not asked --------------------------------------------------------------------------------------

    def _not_covered(self, present: Sequence[str], absent: Sequence[str]) -> Iterator[Failure]:
        for setting in self._task.settings:
            names = [*present, *(absent if not setting.needs_structure else ())]
            if reason := self._uncovered(setting):
                for key in self._task.keys(self._case.id, names, [setting]):
                    yield Failure(self._case.id, key, Status.NOT_COVERED, reason)
            elif setting.recorded:
                yield from self._not_recorded(setting, names)

    def _uncovered(self, setting: PromptSetting) -> str:
        if not setting.kinds <= self._takes.prompts:
            return f"the model takes {', '.join(sorted(self._takes.prompts))}"
        if self._grid.ndim not in setting.dimensions:
            return f"`{setting.label}` is drawn on the slices of a volume; this is a picture"
        return ""

    def _not_recorded(self, setting: PromptSetting, names: Iterable[str]) -> Iterator[Failure]:
        for name in names:
            people = dict(self._task.recording.of(self._case.id, name))
            for key in self._task.keys(self._case.id, [name], [setting]):
                if key.sample not in people:
                    text = f"{self._task.recorded} holds nothing of this structure"
                    yield Failure(self._case.id, key, Status.NOT_COVERED, text)
                elif lacking := self._lacking(people[key.sample]):
                    text = f"the recorded prompts hold {lacking}; the model takes {', '.join(sorted(self._takes.prompts))}"
                    yield Failure(self._case.id, key, Status.NOT_COVERED, text)

    def _lacking(self, rounds: Sequence[Any]) -> str:
        kinds = frozenset().union(*(given.kinds for given in rounds))
        return ", ".join(sorted(kinds - self._takes.prompts))

    # -- what is asked ------------------------------------------------------------------------------------------

    def _ask_all(self, present: Sequence[str], absent: Sequence[str]) -> Iterator[Output | Failure]:
        sessions = [s for s in self._task.sessions(self._takes) if not self._uncovered(s.longest)]
        try:
            encoded = self._encode()
        except InfrastructureFailure:
            raise
        except CaseFailure as error:
            yield from self._all_failed(sessions, present, absent, error)
            return
        size = None if self._task.joint else self._task.batch_size
        asked = Asked(self._model, encoded, self._case.id, self._grid.shape, self._context, size)
        box_of = _target_box if self._task.crop and "box" in self._takes.prompts else None
        for session in sessions:
            keeps = self._task.journal and (session.longest.recorded or session.longest.rounds > 1)
            asker = Asker(asked, "mask" in self._takes.prompts, self._task.joint, keeps, self._grid.unit)
            for sample in range(self._samples(session.longest)):
                for part in self._parts(self._rounds(session.longest, sample, present, absent)):
                    dialogues = [self._dialogue(name, rounds) for name, rounds in part]
                    user = self._user(session.longest, sample, dialogues)
                    yield from asker.run(session, dialogues, user, sample, box_of)

    def _samples(self, setting: PromptSetting) -> int:
        if setting.recorded:
            return len(self._task.recording.annotators)
        return self._task.samples(setting)

    def _rounds(
        self, setting: PromptSetting, sample: int, present: Sequence[str], absent: Sequence[str]
    ) -> list[tuple[str, int]]:
        """(structure, number of its rounds) of all that a session asks for."""
        if setting.recorded:
            return [(name, len(rounds)) for name, rounds in self._recorded(present, sample)]
        names = [*present, *(absent if not setting.needs_structure else ())]
        return [(name, setting.rounds) for name in names]

    def _recorded(self, present: Sequence[str], sample: int) -> Iterator[tuple[str, Sequence[Any]]]:
        for name in present:
            rounds = dict(self._task.recording.of(self._case.id, name)).get(sample)
            if rounds is not None and not self._lacking(rounds):
                yield name, rounds

    def _parts(self, asked: Sequence[tuple[str, int]]) -> Iterator[Sequence[tuple[str, int]]]:
        """So many structures at once as their masks (truth, answer, where no click may fall) fit into memory."""
        size = len(asked)
        if not self._task.joint:
            voxels = int(np.prod(self._grid.shape))
            size = max(1, min(self._task.batch_size, MOST_BYTES // (3 * voxels)))
        for start in range(0, len(asked), max(1, size)):
            yield asked[start : start + size]

    def _dialogue(self, name: str, rounds: int) -> Dialogue:
        held = name in self._reference.names
        truth = self._reference.mask(name) if held else np.zeros(self._grid.shape, dtype=bool)
        return Dialogue(name, truth, rounds, self._barred(truth))

    def _barred(self, truth: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        ignored: NDArray[np.bool_] | None = self._reference.ignored()
        if self._task.crop is None:
            return ignored
        outside = outside_cube(truth, self._grid.spacing, self._task.crop)
        return outside if ignored is None else outside | ignored

    def _user(self, setting: PromptSetting, sample: int, dialogues: Sequence[Dialogue]) -> User:
        if setting.recorded:
            rounds = dict(self._recorded([d.structure for d in dialogues], sample))
            return RecordedUser(rounds, self._scene)
        if setting.pairs:
            strict = self._task.click_rule != "autopet"
            return BeforehandUser(setting.pairs, self._uptake(), self._task.slice_axis, strict)
        newest = self._task.history == "newest"
        return SimulatedUser(setting, self._scene, self._task.click_rule, newest)

    def _uptake(self) -> NDArray:
        image: Image = self._seen.inputs["image"]
        channel = self._task.uptake_channel
        if not -len(image.array) <= channel < len(image.array):
            raise DataError(f"uptake_channel is {channel}; the image has {len(image.array)} channels")
        return np.asarray(image.array[channel])

    def _all_failed(
        self, sessions: Sequence[Session], present: Sequence[str], absent: Sequence[str], error: CaseFailure
    ) -> Iterator[Failure]:
        for session in sessions:
            for sample in range(self._samples(session.longest)):
                names = [name for name, _ in self._rounds(session.longest, sample, present, absent)]
                for key in self._task.keys(self._case.id, names, session.settings):
                    if key.sample == sample:
                        yield Failure(self._case.id, key, error.status, str(error))


def _target_box(dialogue: Dialogue) -> NDArray[np.int64] | None:
    return tight_box(dialogue.truth) if dialogue.truth.any() else None
