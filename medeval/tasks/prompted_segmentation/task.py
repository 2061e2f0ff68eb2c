"""Prompted segmentation in 2D and 3D: a simulated user draws boxes and clicks from the truth, the model answers.

One encode per image; every prompt of a round goes to the model in one batch. Settings that only differ in their number of
clicks are one session read off at several lengths: ``1 click`` is round 1 of ``5 clicks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from medeval.interaction import PromptSetting
from medeval.interaction.effort import EFFORT_COLUMNS
from medeval.metrics.base import Value
from medeval.metrics.masks import MaskPair
from medeval.tasks.base import Scored, ask_source
from medeval.tasks.context import MISSING, Context
from medeval.tasks.masks import MASK_COLUMNS, grid_of, mask_columns
from medeval.tasks.pictures import mask_picture
from medeval.tasks.prompted_segmentation.anatomy import ANATOMY_COLUMNS, anatomy, seen
from medeval.tasks.prompted_segmentation.frames import framed
from medeval.tasks.prompted_segmentation.options import PromptingOptions
from medeval.tasks.prompted_segmentation.prompting import PROMPT_COLUMNS, Session, capabilities, gathered
from medeval.tasks.prompted_segmentation.sessions_run import CaseSessions
from medeval.tasks.prompted_segmentation.views import InteractionViews
from medeval.types import Capabilities, Case, CaseInfo, Failure, Key, Output, Status
from medeval.types.views import Picture


class PromptedSegmentation(InteractionViews, PromptingOptions):
    """Dice (or any mask metric) of a promptable model, by prompt and by number of clicks.

    The model: ``encode(image: Image) -> encoded`` once an image, ``segment(encoded, prompts: Sequence[Prompt]) ->
    list[Segmentation]`` for a batch of prompts. One whose ``encodes_ahead`` is true allows ``encode`` of the next image in
    another thread while ``segment`` answers on this one (never two at once of either). Structures that the reference does not hold cannot be prompted: each is
    one record ``undefined``, counted beside the score, unless ``absent: scored``. A session whose mask is already right is
    carried on unchanged. What the words of ``prompts`` mean, and which paper means what by "5 clicks": docs/prompts.md;
    effort, seeds, recorded people and the protocols of challenges: docs/interaction.md.
    """

    pair: ClassVar[type] = MaskPair
    protocol: ClassVar[str] = "encode(image) -> encoded; segment(encoded, prompts) -> list[Segmentation]"
    methods: ClassVar[tuple[str, ...]] = ("encode", "segment")
    needs: ClassVar[tuple[str, ...]] = ("image", "structures")
    columns: ClassVar[Mapping[str, str]] = {
        **MASK_COLUMNS, **PROMPT_COLUMNS, **EFFORT_COLUMNS, **ANATOMY_COLUMNS,
    }  # fmt: skip
    score_version: ClassVar[int] = 2  # 2: the column voxel_ml
    derived: ClassVar[Mapping[str, Callable[[str], Any]]] = {"anatomy": anatomy, "seen": seen}
    ladder: ClassVar[str] = "clicks"
    transient_steps: ClassVar[bool] = True

    task: Literal["prompted-segmentation"] = "prompted-segmentation"

    @property
    def prompt_order(self) -> tuple[str, ...]:
        """As the suite writes them."""
        return self.prompts

    def sessions(self, takes: Capabilities) -> tuple[Session, ...]:
        """The settings that a model takes, gathered into sessions that are each run once."""
        return gathered(self.settings, takes)

    # -- what is to be done -------------------------------------------------------------------------------------

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """Every structure that is present x prompt x round x sample; of each that is absent what can be asked of it."""
        reference = case.reference["structures"]
        present = self.keys(case.id, self.wanted(reference.present()))
        absent = self.absent_of(case, context)
        if asked := self.asked_absent:
            return [*present, *self.keys(case.id, absent, asked)]
        return [*present, *(Key(name) for name in absent)]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same over the structures that the index knows; one unnamed structure when it knows none."""
        return self.keys(info.id, self.wanted(info.structures) or ("",))

    @cached_property
    def asked_absent(self) -> tuple[PromptSetting, ...]:
        """The settings that are asked for structures that are not there: those of clicks alone."""
        if self.absent != "scored":
            return ()
        return tuple(setting for setting in self.settings if not setting.needs_structure)

    def absent_of(self, case: Case, context: Context) -> list[str]:
        """Structures of the labelling that this case does not hold, whole or in instances (``rib#2``)."""
        reference = case.reference["structures"]
        held = {name.partition("#")[0] for name in reference.present()}
        known = dict.fromkeys(name.partition("#")[0] for name in context.structures or reference.names)
        return [name for name in self.wanted(known) if name not in held]

    def undefined(self, case: Case, context: Context) -> Iterator[Failure]:
        """One record for each absent structure that nothing is asked of."""
        for name in () if self.asked_absent else self.absent_of(case, context):
            text = "absent in the reference: no prompt can be drawn"
            yield Failure(case.id, Key(name), Status.UNDEFINED, text)

    def keys(
        self, case_id: str, structures: Iterable[str], settings: Sequence[PromptSetting] | None = None
    ) -> list[Key]:
        """All keys of these structures under these settings (default: the task's)."""
        chosen = self.settings if settings is None else settings
        return [
            key for name in structures for setting in chosen for key in self._keys(case_id, name, setting)
        ]

    def _keys(self, case_id: str, name: str, setting: PromptSetting) -> Iterator[Key]:
        if setting.recorded:
            found = False
            for sample, rounds in self.recording.of(case_id, name):
                found = True
                yield from (Key(name, setting.label, n + 1, sample) for n in range(len(rounds)))
            if not found:
                yield Key(name, setting.label, 1)
            return
        for sample in range(self.samples(setting)):
            yield from (Key(name, setting.label, number, sample) for number in range(1, setting.rounds + 1))

    def wanted(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the structures that the task is for."""
        return tuple(n for n in names if self.structures is None or n.partition("#")[0] in self.structures)

    def refusal(self, model: Any, image_ndim: int | None) -> str | None:
        """Also: a model that takes none of the prompts, or no images of this dimension."""
        reason = super().refusal(model, image_ndim)
        if reason:
            return reason
        takes = capabilities(model)
        if not takes.prompts:
            return f"it takes no prompts; {self.task} is for models that do"
        if not self.sessions(takes):
            return f"it takes {_listed(takes.prompts)}, and none of the prompts needs only that"
        if image_ndim is not None and image_ndim not in takes.dimensions:
            return f"it takes {_listed(f'{n}D' for n in takes.dimensions)} images; these are {image_ndim}D"
        return None

    def reservation(self, model: Any) -> str | None:
        """Prompts that this model does not take: their records are ``not_covered``."""
        if getattr(model, "source", False):
            return None
        lacking = [s.label for s in self.settings if not s.kinds <= capabilities(model).prompts]
        return (
            f"it takes {_listed(capabilities(model).prompts)}: not asked for {', '.join(lacking)}"
            if lacking
            else None
        )

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """One encode and, a session, sample and round, one call a batch of structures."""
        batches = -(-max(1, len(self.wanted(info.structures)) or structures) // self.batch_size)
        sessions = self.sessions(capabilities(model))
        return 1 + sum(s.longest.rounds * self.samples(s.longest) for s in sessions) * batches

    # -- execution ----------------------------------------------------------------------------------------------

    def seen(self, case: Case, arm: str) -> Case:
        """The case as the model is asked about it: stretched to ``frame``. A function of the case and the arm alone."""
        return framed(case, self.frame) if self.frame else case

    def asked(self, case: Case, seen: Case, context: Context) -> tuple[Sequence[str], Sequence[str]]:
        """Structures that are prompted: present also in ``seen``, and absent ones where these are asked for."""
        kept = seen.reference["structures"].present()
        present = [name for name in self.wanted(case.reference["structures"].present()) if name in kept]
        return present, self.absent_of(case, context) if self.asked_absent else []

    def encoded_ahead(self, model: Any, context: Context, case: Case) -> Any:
        """(the case as it is asked, its image encoded), in another thread; ``MISSING`` where nothing will be asked."""
        seen = self.seen(case, context.arm)
        return (seen, model.encode(seen.inputs["image"])) if any(self.asked(case, seen, context)) else MISSING

    def predict(self, model: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """Encode each image once, then run every session on all its structures together."""
        for case in cases:
            yield from CaseSessions(self, model, case, context).run()

    def replay(self, source: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """The source is asked for what a model would be asked for: structures that are present."""
        for case in cases:
            yield from self.undefined(case, context)
            absent = set(self.absent_of(case, context))
            for key in self.owed(case, context):
                if key.structure not in absent:
                    yield ask_source(source, case, key, context)
                elif self.asked_absent:
                    yield Failure(case.id, key, Status.UNDEFINED, "absent: a source is not asked")

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """The task's metrics on one mask; of an absent structure only what needs no reference, for it is no segmentation."""
        grid = grid_of(case)
        reference = case.reference["structures"]
        name = output.key.structure
        truth = reference.mask(name) if name in reference.names else np.zeros_like(output.value.mask)
        present = bool(truth.any())
        pair = MaskPair(
            output.value.mask,
            truth,
            grid.spacing,
            structure=name.partition("#")[0],
            grid=grid,
            probabilities=output.value.probabilities,
            ignore=reference.ignored(),
        )
        values = {
            metric.name: _rounded(metric.observe(pair), self.decimals)
            if present or metric.name in OF_ABSENT
            else Value(None, "structure absent")
            for metric in self.bound_metrics
        }
        columns = {**mask_columns(pair, output.value.score), "anatomy": anatomy(name), "seen": seen(name)}
        return [Scored(output.key, values, columns)]

    def worst_reference(self, case: Case, key: Key) -> Any:
        """The grid: a failed mask is as far off as the image is large."""
        return grid_of(case)

    def illustrate(self, case: Case, output: Output | None, key: Key) -> Picture | None:
        """Outlines of truth and prediction with the prompt."""
        return mask_picture(case, output, key)


OF_ABSENT = frozenset({"fpv_ml", "specificity", "volume_difference"})
"""Metrics that say something of a mask where there is no structure."""


def _rounded(value: Value, decimals: int | None) -> Value:
    if decimals is None or value.statistic is None:
        return value
    rounded = {k: round(v, decimals) if isinstance(v, float) else v for k, v in value.statistic.items()}
    return Value(rounded, value.rule)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
