"""What was run, as a shared report tells it: versions, seeds, counts and settings, from a manifest by allowed fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Literal, get_args, get_origin

from medeval.engine.sharing.names import Names
from medeval.statistics import clusters
from medeval.tasks.base import Task

_SETTINGS = ("preset", "style", "scenario")  # names of published protocols and the like
_VERSION = 30  # characters of a version


def told_manifest(
    manifest: Mapping[str, Any], cases: Mapping[str, Sequence[Mapping[str, Any]]], tasks: Iterable[Task], prompts: Set[str],
    names: Names, least: int,
) -> dict[str, Any]:  # fmt: skip
    """The parts of a manifest that may be told, in its own form: all that the methods section is given.

    cases: dataset -> rows of its index. tasks: under the names that are told. prompts: those that scores are told of.
    """
    versions = manifest.get("versions", {}).items()
    return {
        "medeval": str(manifest.get("medeval", ""))[:_VERSION],
        "updated": str(manifest.get("updated", ""))[:10],  # the day; the hour tells the time zone
        "datasets": {names.told("dataset", name): _counts(rows, least) for name, rows in cases.items()},
        "suite": {
            "seeds": [int(seed) for seed in manifest.get("seeds", ())],
            "tasks": [_settings(task, prompts, names) for task in tasks],
        },
        "versions": {str(k): str(v)[:_VERSION] for k, v in versions if names.safe(str(v))},
    }


def _counts(rows: Sequence[Mapping[str, Any]], least: int) -> dict[str, Any]:
    """Cases and patients of a dataset, small numbers as such."""
    people = len(set(clusters([row["patient"] for row in rows], [row["case"] for row in rows]).tolist()))
    few = f"< {least}" if people < least else None
    return {
        "cases": few or len(rows),
        "patients": (few or people) if all(row["patient"] for row in rows) else "unknown",
    }


def _settings(task: Task, prompts: Set[str], names: Names) -> dict[str, Any]:
    """A task's name, and those of its settings that are numbers, one of a few words, or prompts."""
    told: dict[str, Any] = {"name": task.label}
    for name, info in type(task).model_fields.items():
        value = getattr(task, name)
        if isinstance(value, str):
            named = name in _SETTINGS and names.safe_label(value)
            if named or value in _words(info.annotation):
                told[name] = value
        elif _is_plain(value) or (isinstance(value, tuple) and value and set(map(str, value)) <= prompts):
            told[name] = value
    return told


def _is_plain(value: Any) -> bool:
    """True for a number and for several."""
    if isinstance(value, tuple | list):
        return bool(value) and all(isinstance(part, int | float) for part in value)
    return isinstance(value, int | float)


def _words(annotation: Any) -> set[str]:
    """The words that a field of this type may hold, if they are few."""
    if get_origin(annotation) is Literal:
        return {word for word in get_args(annotation) if isinstance(word, str)}
    return {word for part in get_args(annotation) for word in _words(part)}
