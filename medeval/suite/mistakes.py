"""All mistakes of a suite, each with its place, told at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from medeval.plugins import Complaint
from medeval.types.errors import SuiteError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where something was written. source: the file as the user named it, or the override. line: 1-based, 0 for none."""

    source: str
    line: int = 0
    order: int = 0  # the file's own mistakes come before those of overrides

    def at(self, line: int) -> Place:
        """The same source at another line; an override has no lines."""
        return replace(self, line=0 if self.order else line)

    def error(self, text: str) -> SuiteError:
        """An error about this place that ends reading at once."""
        return SuiteError(f"{self}: {text}")

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Mistakes:
    """Collects what is wrong, and knows where every key stands."""

    def __init__(self, root: Place) -> None:
        self.places: dict[KeyPath, Place] = {(): root}
        self.hidden: dict[str, str] = {}  # values of secret variables -> what messages show in their place
        self._found: list[tuple[Place, KeyPath, str]] = []
        self._broken: set[KeyPath] = set()

    def add(self, path: KeyPath, text: str) -> None:
        """Something is wrong at ``path``; not told when its value could not even be read, for that was told."""
        if not self.is_broken(path):
            self._found.append((self.place(path), path, text))

    def add_all(self, prefix: KeyPath, found: Iterable[Complaint]) -> None:
        """Complaints about the entry at ``prefix``."""
        for path, text in found:
            self.add((*prefix, *path), text)

    def broken(self, path: KeyPath, text: str, place: Place) -> None:
        """The value at ``path`` cannot be read: told once, and nothing more is told of it."""
        self._found.append((place, path, text))
        self._broken.add(path)

    def told(self, place: Place, error: SuiteError) -> None:
        """An error that already says where it is."""
        self._found.append((place, (), str(error).removeprefix(f"{place}: ")))

    def is_broken(self, path: KeyPath) -> bool:
        """True when the value at ``path``, or one above it, could not be read."""
        return any(path[:size] in self._broken for size in range(len(path) + 1))

    def place(self, path: KeyPath) -> Place:
        """Where ``path`` stands, or the nearest key above it that was written."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def forget(self, path: KeyPath) -> None:
        """An override replaces what stands at ``path``: its places and mistakes count no more."""
        under = [key for key in self.places if key[: len(path)] == path and key]
        for key in under:
            del self.places[key]
        self._broken = {key for key in self._broken if key[: len(path)] != path}
        self._found = [mistake for mistake in self._found if mistake[1][: len(path)] != path]

    def tell(self) -> None:
        """Raise one ``SuiteError`` with all that was found, in the order of the file; nothing when all is well."""
        ordered = sorted(dict.fromkeys(self._found), key=lambda found: (found[0].order, found[0].line))
        if ordered:
            message = "\n".join(_line(*found) for found in ordered)
            for value, variable in self.hidden.items():
                message = message.replace(value, variable) if len(value) > 3 else message
            raise SuiteError(message)


def _line(place: Place, path: KeyPath, text: str) -> str:
    return f"{place}: {'.'.join(map(str, path))}: {text}" if path else f"{place}: {text}"
