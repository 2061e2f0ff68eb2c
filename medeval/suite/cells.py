"""What a suite comes down to: cells, and what is needed to build a model in any process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from medeval.tasks.base import Task
from medeval.types import Spec


@dataclass(frozen=True)
class Cell:
    """One (task, dataset, model, arm, seed). Whether the three fit each other is for the planner to find out."""

    task: Task
    dataset: str
    model: str
    arm: str
    seed: int


@dataclass(frozen=True)
class ModelSpec(Spec):
    """An adapter with its options, and what medeval itself must know of the model.

    options: as the adapter takes them, paths absolute; may hold secrets, so it is never printed.
    timeout: seconds that a unit may take, None for no limit.
    baseline: True for floors, ceilings and classical methods, which every table tags.
    trained_on: data sets that the model has seen in training.
    chat: the options are a client block (paths as the suite has them), and the model is what ``medeval.llm`` opens.
    """

    options: Mapping[str, Any] = field(repr=False)
    timeout: float | None = None
    baseline: bool = False
    trained_on: tuple[str, ...] = ()
    chat: bool = False


def expand(
    tasks: Iterable[Task], datasets: Iterable[str], models: Iterable[str], seeds: Iterable[int]
) -> Iterator[Cell]:
    """tasks x datasets x models x arms x seeds, each in the order of the suite; a task's own lists leave out the rest."""
    datasets, models, seeds = tuple(datasets), tuple(models), tuple(seeds)
    for task in tasks:
        arms = tuple(task.arms())
        for dataset in _named(task.datasets, datasets):
            for model in _named(task.models, models):
                for arm in arms:
                    for seed in seeds:
                        yield Cell(task, dataset, model, arm, seed)


def _named(wanted: tuple[str, ...] | None, there: tuple[str, ...]) -> tuple[str, ...]:
    return there if wanted is None else tuple(name for name in there if name in wanted)
