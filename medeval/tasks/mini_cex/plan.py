"""What a Mini-CEX costs at chat models, at most, for ``--dry-run``: dialogues to their turn limit, tokens by guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medeval.dialogue.rubric import Item, ItemRubric, SignedCriterion
from medeval.llm.prices import estimate_dialogue
from medeval.tasks.base import ChatPlan

if TYPE_CHECKING:
    from medeval.tasks.mini_cex.task import MiniCex

TURN = 80  # tokens of one turn, by guess: two or three sentences
_PROMPT = 500  # tokens of a patient's or judge's own instructions
_VERDICT = 60  # tokens of one item's verdict with its quote
_CHARACTERS = 4  # of a token, in English


def plans(task: MiniCex) -> Iterator[ChatPlan]:
    """The doctor's calls, then those of patient, measurement agent and judges that are chat models."""
    yield _talk("doctor", None, task, task.max_turns, len(task.system) // _CHARACTERS)
    if isinstance(task.patient, Mapping):
        yield _talk("patient", task.patient, task, task.max_turns - 1, _PROMPT)
    if isinstance(task.measurement, Mapping):
        yield _talk("measurement", task.measurement, task, task.max_turns - 1, _PROMPT)
    for block in task.judges:
        if isinstance(block, Mapping):
            yield _judge(block, task)
    if task.diagnosis_judge is not None:
        yield ChatPlan(
            "judge", task.diagnosis_judge, task.samples, task.samples * _PROMPT, task.samples * _VERDICT
        )


def _talk(role: str, block: Mapping[str, Any] | None, task: MiniCex, turns: int, prompt: int) -> ChatPlan:
    usage = estimate_dialogue(turns, prompt, TURN)
    return ChatPlan(
        role, block, task.samples * turns, task.samples * usage.input, task.samples * usage.output
    )


def _judge(block: Mapping[str, Any], task: MiniCex) -> ChatPlan:
    """Each group of items is one call that is shown the whole dialogue."""
    groups: dict[Any, int] = {}
    written = 0
    rubric = task.loaded
    parts: Sequence[Item | SignedCriterion] = (
        rubric.items if isinstance(rubric, ItemRubric) else rubric.criteria
    )
    for part in parts:
        if isinstance(part, Item) and part.not_applicable:
            continue
        key = {"item": part.id, "dimension": getattr(part, "dimension", ""), "all": ""}[task.judge_group]
        group = (key, getattr(part, "needs_reference", True))
        groups[group] = groups.get(group, 0) + 1
        written += len(part.model_dump_json()) // _CHARACTERS
    ratings = task.samples * task.judge_samples
    read = len(groups) * (2 * task.max_turns * TURN + _PROMPT) + written
    said = _VERDICT * sum(groups.values())
    return ChatPlan("judge", block, ratings * len(groups), ratings * read, ratings * said)
