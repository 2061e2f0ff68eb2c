"""Taking metric names apart: ``base[@argument][:option[:option]]``."""

from __future__ import annotations

import re
from typing import NamedTuple

from medeval.types.errors import MetricError, nearest

_NUMBER = re.compile(r"\d+(\.\d+)?")


class Parts(NamedTuple):
    """A name's parts: ``nsd@2mm:voxel`` is ("nsd", "2mm", ("voxel",)); argument is "" when there is none."""

    base: str
    argument: str
    options: tuple[str, ...]


def split(name: str) -> Parts:
    """The parts of a metric's name."""
    head, *options = name.split(":")
    base, _, argument = head.partition("@")
    return Parts(base, argument, tuple(options))


def options(name: str, given: tuple[str, ...], known: dict[str, tuple[str, object]]) -> dict[str, object]:
    """Values that the options of a name set.

    known: option -> (the setting that it sets, its value). Raises ``MetricError`` for an option that is not known, or
    for two that set the same.
    """
    settings: dict[str, object] = {}
    for option in given:
        if option not in known:
            raise MetricError(f"metric {name!r}: unknown option {option!r}; {nearest(option, known)}")
        setting, value = known[option]
        if setting in settings:
            raise MetricError(f"metric {name!r}: {option!r} contradicts an earlier option")
        settings[setting] = value
    return settings


def number(name: str, text: str, unit: str = "") -> float:
    """A number >= 0 with its unit, such as ``2.5mm``; ``MetricError`` when the text is none."""
    digits = text.removesuffix(unit) if unit else text
    if (unit and not text.endswith(unit)) or not _NUMBER.fullmatch(digits):
        raise MetricError(f"metric {name!r}: {text!r} is no number{f' followed by {unit!r}' if unit else ''}")
    return float(digits)


def plain(value: float) -> str:
    """A number as short as it can be written in a name."""
    return f"{value:g}"
