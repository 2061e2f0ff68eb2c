"""One round: the model asked in batches, its answers checked, and a batch's failure brought home to its culprit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medeval.tasks.context import Context
from medeval.tasks.masks import checked_segmentation
from medeval.tasks.prompted_segmentation.answers import Answer
from medeval.types import CaseFailure, InfrastructureFailure, ModelFailure, Prompt, Segmentation

Prompts = Sequence[tuple[str, Prompt]]
"""(structure as records name it, its prompt), in the order of the batch."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A model with an encoded image. batch_size: most prompts in one call; None: all of a round in one call."""

    model: Any
    encoded: Any
    case_id: str
    shape: tuple[int, ...]
    context: Context
    batch_size: int | None

    def ask(self, prompts: Prompts) -> dict[str, Answer]:
        """Structure -> answer or failure; a batch that fails is asked one by one, so that only the culprit fails.

        Raises ``InfrastructureFailure``.
        """
        size = self.batch_size or max(1, len(prompts))
        found: dict[str, Answer] = {}
        for start in range(0, len(prompts), size):
            found |= self._batch(prompts[start : start + size])
        return found

    def _batch(self, batch: Prompts) -> Mapping[str, Answer]:
        try:
            return self._call(batch)
        except InfrastructureFailure:
            raise
        except CaseFailure as error:
            if len(batch) == 1:
                return {batch[0][0]: error}
            singly: dict[str, Answer] = {}
            for one in batch:
                singly |= self._batch([one])
            return singly

    def _call(self, batch: Prompts) -> dict[str, Answer]:
        given = [_own(prompt) for _, prompt in batch]
        answers = self.context.call(self.case_id, "segment", self.model.segment, self.encoded, given)
        if isinstance(answers, str) or not isinstance(answers, Sequence) or len(answers) != len(batch):
            got = (
                f"{len(answers)} answers" if isinstance(answers, Sequence) else f"a {type(answers).__name__}"
            )
            raise ModelFailure(
                f"segment returned {got} for {len(batch)} prompts; one Segmentation each is expected"
            )
        checked: list[Segmentation] = [checked_segmentation(answer, self.shape) for answer in answers]
        return {name: answer for (name, _), answer in zip(batch, checked, strict=True)}


def _own(prompt: Prompt) -> Prompt:
    """The prompt as the model gets it: its own arrays, for a model may normalise them in place."""
    arrays = {
        name: value.copy()
        for name in ("box", "points", "labels", "mask", "boxes")
        if (value := getattr(prompt, name)) is not None
    }
    strokes = tuple(replace(stroke, path=stroke.path.copy()) for stroke in prompt.strokes)
    return replace(prompt, **arrays, strokes=strokes)
