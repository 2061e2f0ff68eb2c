"""Data files of users and of the package: read plainly, told of with the file and the place in it."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from medeval.plugins import complaints
from medeval.types.errors import UserError, nearest

M = TypeVar("M", bound=BaseModel)


class DialogueFileError(UserError):
    """A rubric, case or lexicon file that does not hold; names the file and the key."""


def packaged(folder: str, suffix: str) -> dict[str, Traversable]:
    """name -> file of what is packaged in a folder of this room, in order of name."""
    root = files("medeval.dialogue").joinpath(folder)
    found = {item.name.removesuffix(suffix): item for item in root.iterdir() if item.name.endswith(suffix)}
    return dict(sorted(found.items()))


def find(
    name: str | Path, folder: str, suffix: str, what: str, base: Path | None = None
) -> Path | Traversable:
    """A packaged file by its name, or a user's by its path (relative to ``base``, then to the working directory).

    Raises ``DialogueFileError`` with the nearest names.
    """
    known = packaged(folder, suffix)
    if str(name) in known:
        return known[str(name)]
    for root in dict.fromkeys([base or Path(), Path()]):
        path = (root / Path(name).expanduser()).resolve()
        if path.is_file():
            return path
    raise DialogueFileError(f"no {what} {str(name)!r}; {nearest(str(name), known)}; or the path of a file")


def read_text(source: Path | Traversable) -> str:
    """The file's text. Raises ``DialogueFileError`` when it is not UTF-8 or cannot be read."""
    try:
        return source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DialogueFileError(f"{source}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DialogueFileError(f"{source}: {error.strerror or error}") from error


def read_yaml(source: Path | Traversable) -> dict[str, Any]:
    """A mapping from a YAML file. Raises ``DialogueFileError`` with the line where it breaks."""
    try:
        found = yaml.safe_load(read_text(source))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise DialogueFileError(f"{source}{where}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(found, dict):
        raise DialogueFileError(f"{source}: a mapping of keys is expected, got {type(found).__name__}")
    return found


def parsed_json(text: str, where: str) -> Any:
    """Parsed JSON. Raises ``DialogueFileError`` naming ``where`` and the line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DialogueFileError(f"{where}, line {error.lineno}: {error.msg}") from error


def checked(model: type[M], given: Any, where: str, context: dict[str, Any] | None = None) -> M:
    """``given`` as the model. Raises ``DialogueFileError`` with every mistake, its key and the nearest known one."""
    if not isinstance(given, dict):
        raise DialogueFileError(f"{where}: a mapping of keys is expected, got {type(given).__name__}")
    try:
        return model.model_validate(given, context=context)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, path))}: {text}" if path else text
                         for path, text in complaints(error, given, model))  # fmt: skip
        raise DialogueFileError(f"{where}: {told}") from None
