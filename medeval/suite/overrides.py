"""``--set models.walker.beta=10``: one value of a suite replaced before anything is checked."""

from __future__ import annotations

from typing import Any

from medeval.suite.entries import task_name
from medeval.suite.mistakes import KeyPath, Place
from medeval.suite.source import Reader, compose
from medeval.types.errors import SuiteError, nearest


def override(data: dict[str, Any], text: str, number: int, reader: Reader) -> None:
    """Apply one ``path=value`` to ``data`` in place.

    path: keys and list positions with dots; a task may be given by its name. The last key may be new (an option that the
    suite leaves at its default), and inside an entry's options so may those before it. value: YAML.
    A missing ``=``, or a path that leads nowhere (with the nearest that does), is added to the reader's mistakes.
    """
    place = Place(f"--set {text}", order=number)
    try:
        _apply(data, text, place, reader)
    except SuiteError as error:
        reader.mistakes.told(place, error)


def _apply(data: dict[str, Any], text: str, place: Place, reader: Reader) -> None:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted.strip("."):
        raise place.error("write key=value, for example models.walker.beta=10")
    path, owner = _walk(data, dotted.strip().split("."), place)
    reader.mistakes.forget(path)
    for secret in [key for key in reader.secrets if key[: len(path)] == path]:
        del reader.secrets[secret]
    node = compose(value, place)
    owner[path[-1]] = None if node is None else reader.read(node, path, place)
    reader.places.setdefault(path, place)


def _walk(data: dict[str, Any], parts: list[str], place: Place) -> tuple[KeyPath, Any]:
    """The whole path as keys and positions, and the mapping or list that holds its last part."""
    path: KeyPath = ()
    owner: Any = data
    while True:
        key, parts = _step(owner, parts, path, place)
        path = (*path, key)
        if not parts:
            return path, owner
        if isinstance(owner, dict) and key not in owner:
            if len(path) < 3:
                raise _lost(owner, str(key), path[:-1], place)
            owner[key] = {}  # an option that is a mapping and was left at its default, such as `select`
        owner = owner[key]


def _step(owner: Any, parts: list[str], path: KeyPath, place: Place) -> tuple[str | int, list[str]]:
    if isinstance(owner, dict):
        for size in range(len(parts), 0, -1):  # a name may hold dots: the longest that is there wins
            if ".".join(parts[:size]) in owner:
                return ".".join(parts[:size]), parts[size:]
        return parts[0], parts[1:]
    if isinstance(owner, list):
        return _position(owner, parts[0], path, place), parts[1:]
    here = ".".join(map(str, path))
    raise place.error(f"{here} is a single value, there is no {parts[0]!r} in it")


def _position(owner: list[Any], part: str, path: KeyPath, place: Place) -> int:
    named = {str(task_name(item)): at for at, item in enumerate(owner) if isinstance(item, dict)}
    if part in named:
        return named[part]
    if part.isdecimal() and int(part) < len(owner):
        return int(part)
    known = [str(position) for position in range(len(owner))] + list(named)
    raise place.error(f"no {part!r} in {'.'.join(map(str, path))}; {nearest(part, known)}")


def _lost(owner: dict[str, Any], key: str, path: KeyPath, place: Place) -> Exception:
    where = ".".join(map(str, path)) or "the suite"
    return place.error(f"no {key!r} in {where}; {nearest(key, owner)}")
