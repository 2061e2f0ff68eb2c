"""Units of work and what they yield."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from medeval.types.status import Status


class Key(NamedTuple):
    """Which of a case's owed records this is. Tasks use the fields that they need and leave the others as they are.

    structure: name of the structure, item or question.
    prompt: the prompt setting's label, for example ``5 clicks``.
    round: 0 for what needs no rounds, else 1-based.
    sample: number of the repetition, from 0.
    """

    structure: str = ""
    prompt: str = ""
    round: int = 0
    sample: int = 0


@dataclass(frozen=True)
class Unit:
    """The grain of resume, batching, retry and sharding: ordered case ids that are always run as a whole."""

    case_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Output:
    """What a model yielded for one owed key (or, with ``structure == "*"``, for all structures of the case at once).

    value: a ``Segmentation``, ``Structures``, text, a number, an array: what the task's codec can store.
    columns: extra record columns that only ``predict`` knows, such as click coordinates.
    """

    case_id: str
    key: Key
    value: Any
    status: Status = Status.OK
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Failure:
    """In the place of an ``Output``: this key (or, with key None, all keys of the case not yielded) failed."""

    case_id: str
    key: Key | None
    status: Status
    error: str


@dataclass(frozen=True)
class Spec:
    """All that crosses a process boundary in the place of a plug-in: the worker builds its own.

    reference: entry-point name, ``package.module:Class`` or ``path/file.py:Class``.
    options: plain data, as in the suite.
    """

    reference: str
    options: Mapping[str, Any]
