"""Sessions with a promptable model: who is asked what in which round, and whose failure it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medeval.interaction import PromptSetting
from medeval.tasks.prompted_segmentation.answers import UNKEPT, Answer, pack, unpack
from medeval.tasks.prompted_segmentation.asking import Asked
from medeval.tasks.prompted_segmentation.users import Dialogue, User
from medeval.types import Capabilities, CaseFailure, Failure, Key, Output, Status

PROMPT_COLUMNS: Mapping[str, str] = {
    "points": "string",
    "box": "string",
    "boxes": "string",
    "strokes": "string",
    "human_seconds": "double",
}


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
        if setting.box:
            return f"box jitter {setting.jitter}"
        if setting.opening or setting.recorded:
            return setting.opening or setting.label
        return "pairs" if setting.pairs else "clicks"


def capabilities(model: Any) -> Capabilities:
    """What a model says that it takes; one that says nothing takes everything."""
    return getattr(model, "takes", None) or Capabilities()


def gathered(settings: Sequence[PromptSetting], takes: Capabilities) -> tuple[Session, ...]:
    """The settings that a model takes, gathered into sessions that are each run once."""
    families: dict[tuple, list[PromptSetting]] = {}
    for setting in settings:
        if setting.kinds <= takes.prompts:
            shared = setting.opens or setting.clicks
            family = (setting.opening, setting.jitter) if shared else (setting.label,)
            families.setdefault(family, []).append(setting)
    return tuple(Session(max(group, key=lambda s: s.rounds), tuple(group)) for group in families.values())


@dataclass(frozen=True, eq=False)
class Asker:
    """Runs sessions on one encoded image.

    joint: structures that need no correction are asked again with the others, as one label map asks. feeds_mask: the
    model takes masks. keeps: each round is a step of the journal. unit: of lengths; "px" has no millimetres.
    """

    asked: Asked
    feeds_mask: bool
    joint: bool = False
    keeps: bool = True
    unit: str = "mm"

    def run(
        self,
        session: Session,
        dialogues: list[Dialogue],
        user: User,
        sample: int = 0,
        box_of: Callable[[Dialogue], Any] | None = None,
    ) -> Iterator[Output | Failure]:
        """All rounds of a session; a structure whose model call failed fails its later rounds too.

        sample: number of the repetition. box_of: a box that goes with every round's prompt.
        """
        for number in range(1, max((d.rounds for d in dialogues), default=0) + 1):
            dialogues = [dialogue for dialogue in dialogues if number <= dialogue.rounds]
            failures = self._act(session, dialogues, user, number, sample)
            acting = [d for d in dialogues if d.structure not in failures]
            prompts = [(d, self._prompt(d, box_of)) for d in acting if self.joint or not d.carried]
            answers = self._answers(session, number, sample, [(d.structure, p) for d, p in prompts])
            for dialogue in list(dialogues):
                answer = failures.get(dialogue.structure) or answers.get(dialogue.structure)
                if isinstance(answer, CaseFailure):
                    dialogues.remove(dialogue)
                    yield from self._failures(dialogue, session, number, sample, answer)
                    continue
                dialogue.answer = dialogue.answer if answer is None else answer
                yield from self._outputs(dialogue, session, number, sample)

    def _act(
        self, session: Session, dialogues: Sequence[Dialogue], user: User, number: int, sample: int
    ) -> dict[str, CaseFailure]:
        """Let the user act on each structure; what it cannot give fails that structure alone."""
        failures: dict[str, CaseFailure] = {}
        repeated = (f"sample {sample}",) if sample else ()
        for dialogue in dialogues:
            parts = (self.asked.case_id, dialogue.structure, session.seed_label, number, *repeated)
            try:
                user.act(dialogue, number, self.asked.context.rng(*parts))
            except CaseFailure as error:
                failures[dialogue.structure] = error
        return failures

    def _prompt(self, dialogue: Dialogue, box_of: Callable[[Dialogue], Any] | None) -> Any:
        dialogue.feed_back(self.feeds_mask)
        prompt = dialogue.prompt
        assert prompt is not None  # every user gives something in round 1
        return prompt if box_of is None or prompt.box is not None else replace(prompt, box=box_of(dialogue))

    def _answers(
        self, session: Session, number: int, sample: int, prompts: Sequence[tuple[str, Any]]
    ) -> dict[str, Answer]:
        """The round's answers, or what an earlier try of this unit kept of them."""
        context = self.asked.context
        if not self.keeps or not context.journalled or not prompts:
            return self.asked.ask(prompts)
        fresh: dict[str, Answer] = {}

        def ask() -> Any:
            fresh.update(self.asked.ask(prompts))
            return pack(fresh)

        first = prompts[0][0]  # tells the parts of a case apart that are asked one after another
        name = f"{self.asked.case_id}/{session.longest.label}/{sample}/{first}/{number}"
        kept = context.step(name, ask)
        if not fresh:
            fresh = unpack(kept) if len(kept) != len(UNKEPT) else self.asked.ask(prompts)
        return fresh

    def _outputs(self, dialogue: Dialogue, session: Session, number: int, sample: int) -> Iterator[Output]:
        columns = self._columns(dialogue)
        carried = dialogue.carried and not self.joint
        for setting in session.settings:
            if setting.recorded or number <= setting.rounds:
                key = Key(dialogue.structure, setting.label, number, sample)
                status = Status.CARRIED if carried else Status.OK
                yield Output(self.asked.case_id, key, dialogue.answer, status, columns)

    def _failures(
        self, dialogue: Dialogue, session: Session, number: int, sample: int, error: CaseFailure
    ) -> Iterator[Failure]:
        for setting in session.settings:
            last = dialogue.rounds if setting.recorded else setting.rounds
            for later in range(number, last + 1):
                key = Key(dialogue.structure, setting.label, later, sample)
                yield Failure(self.asked.case_id, key, error.status, str(error))

    def _columns(self, dialogue: Dialogue) -> dict[str, Any]:
        """The prompt as JSON (``[[voxel..., label], ...]``, ``[[start...], [stop...]]``) and what it has cost so far."""
        given, columns = dialogue.given, dict(dialogue.effort.columns())
        if self.unit != "mm":
            columns["drawn_mm"] = None
        if dialogue.seconds is not None:
            columns["human_seconds"] = dialogue.seconds
        if given is None:
            return columns
        if given.points is not None and given.labels is not None:
            columns["points"] = json.dumps(np.column_stack([given.points, given.labels]).tolist())
        for name, boxes in (("box", given.box), ("boxes", given.boxes)):
            if boxes is not None:
                columns[name] = json.dumps(boxes.tolist())
        if given.strokes:
            columns["strokes"] = json.dumps(
                [{"kind": s.kind, "label": s.label, "path": s.path.tolist()} for s in given.strokes]
            )
        return columns
