"""pydantic's errors in the words of the person who wrote the suite: what was given, what would be right."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from medeval.types.errors import nearest

KeyPath = tuple[str | int, ...]

_EXPECTED = {
    "string": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list",
    "tuple": "a list", "set": "a list", "frozen_set": "a list", "dict": "a mapping", "mapping": "a mapping",
    "model": "a mapping", "model_attributes": "a mapping", "dataclass": "a mapping", "path": "a path",
    "decimal": "a number", "iterable": "a list", "date": "a date", "datetime": "a date and time",
}  # fmt: skip


class Complaint(NamedTuple):
    """One mistake: the keys that lead to it in the data as given, and what is wrong there."""

    path: KeyPath
    text: str


def complaints(error: ValidationError, data: Any, model: type[BaseModel]) -> list[Complaint]:
    """The mistakes of ``data``, one a place, in order.

    Members of unions leave their names in pydantic's locations; only what leads through ``data`` is kept, the members'
    expectations are joined with "or", and a member that got further into the value speaks for the union.
    """
    found: dict[KeyPath, list[str]] = {}
    guesses: set[KeyPath] = set()
    for detail in error.errors(include_url=False):
        path, rest = _split(detail["loc"], data)
        if detail["type"] == "missing":
            found.setdefault((*path, "", *rest[-1:]), []).append(_missing(model, path, str(rest[-1])))
            continue
        if rest:
            guesses.add(path)
        found.setdefault(path, []).append(_words(detail, path, model))
    deeper = {path[:size] for path in found for size in range(len(path))}
    return [
        Complaint(path[: path.index("")] if "" in path else path, _join(texts))
        for path, texts in found.items()
        if not (path in guesses and path in deeper)
    ]


def option_names(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys as a suite writes them: the alias where a field has one."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def shown(value: Any) -> str:
    """A value as YAML would write it on one line, shortened for a message."""
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else repr(value)
    text = "nothing (null)" if text == "null" else text
    return text if len(text) <= 60 else f"{text[:57]}..."


def _split(loc: Iterable[str | int], data: Any) -> tuple[KeyPath, KeyPath]:
    """The part of a location that leads through ``data``, and what pydantic added to it."""
    path: list[str | int] = []
    rest: list[str | int] = []
    for part in loc:
        mapped = isinstance(data, Mapping) and part in data
        if mapped or (isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)):
            data = data[part]
            path.append(part)
        else:
            rest.append(part)
    return tuple(path), tuple(rest)


def _words(detail: Any, path: KeyPath, model: type[BaseModel]) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = {name for owner in _models_at(model, path[:-1]) for name in option_names(owner)}
        return f"unknown option {str(path[-1])!r}; {nearest(str(path[-1]), known)}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or detail["msg"])
    if kind in ("literal_error", "enum"):
        return f"expected one of {context['expected']}, got {shown(given)}"
    stem = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    if stem in _EXPECTED:
        return f"expected {_EXPECTED[stem]}, got {shown(given)}{_quote_hint(stem, given)}"
    if kind == "none_required":
        return f"expected nothing, got {shown(given)}"
    message = detail["msg"].replace("Input should", "should", 1)
    return f"{message[:1].lower()}{message[1:]}, got {shown(given)}"


def _quote_hint(expected: str, given: Any) -> str:
    """YAML reads 5 and true as no text, and "5" as no number: the commonest surprise, so it is said."""
    if expected == "string" and isinstance(given, bool | int | float):
        return "; put it in quotes"
    if expected in ("int", "float", "bool") and isinstance(given, str) and _reads_as_plain(given):
        return "; leave out the quotes"
    return ""


def _reads_as_plain(text: str) -> bool:
    try:
        return isinstance(json.loads(text), bool | int | float)
    except ValueError:
        return False


def _missing(model: type[BaseModel], path: KeyPath, name: str) -> str:
    for owner in _models_at(model, path):
        field = option_names(owner).get(name)
        if field and field.description:
            return f"missing option {name!r}: {field.description}"
    return f"missing option {name!r}"


def _join(texts: Sequence[str]) -> str:
    """``expected a, got x`` and ``expected b, got x`` become ``expected a or b, got x``."""
    unique = list(dict.fromkeys(texts))
    split = [
        text.removeprefix("expected ").partition(", got ") for text in unique if text.startswith("expected ")
    ]
    if (
        len(unique) > 1
        and len(split) == len(unique)
        and not any(one.startswith("nothing") for one, _, _ in split)
    ):
        return f"expected {' or '.join(dict.fromkeys(one for one, _, _ in split))}, got {split[0][2]}"
    return "; or: ".join(unique)


def _models_at(model: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    """The pydantic models that may stand at a path; keys of mappings and numbers of lists lead to no other model."""
    models = [model]
    for part in path:
        inner = [
            found
            for owner in models
            for found in _models_in([option_names(owner).get(str(part))])
            if not isinstance(part, int)
        ]
        named = any(str(part) in option_names(owner) for owner in models) and not isinstance(part, int)
        models = inner if named else models
    return models


def _models_in(annotations: Iterable[Any]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for annotation in annotations:
        annotation = annotation.annotation if isinstance(annotation, FieldInfo) else annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        else:
            found.extend(_models_in(typing.get_args(annotation)))
    return found
