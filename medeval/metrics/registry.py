"""Metric names -> metrics. A metric registers itself by one decorator line where it is defined.

A name is ``base[@argument][:variant]`` or ``base<number>`` (``hd95``). Modules that define metrics are found through
the entry-point group ``medeval.metrics``; the core has no list of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from medeval.metrics.base import Metric
from medeval.plugins import load_group
from medeval.types.errors import MetricError, nearest

GROUP = "medeval.metrics"

_parsers: dict[str, tuple[type[Metric], Callable[[str], Metric | None]]] = {}
M = TypeVar("M", bound=type[Metric])


def register(pattern: str, *, parse: Callable[[str], Metric | None] | None = None) -> Callable[[M], M]:
    """Class decorator: ``@register("dice")`` or ``@register("nsd@<T>mm[:voxel]", parse=...)``.

    pattern: the name as it is listed for users.
    parse: full name -> metric with its parameters bound, or None when the name is not this metric's; raises
        ``MetricError`` when it is, but an argument is wrong. Without it the metric has no parameters.
    """

    def decorate(cls: M) -> M:
        if parse is None:
            cls.name = cls.name or pattern

            def exact(name: str) -> Metric | None:
                return cls() if name == pattern else None

            _parsers[pattern] = (cls, exact)
        else:
            _parsers[pattern] = (cls, parse)
        return cls

    return decorate


def get_metric(name: str) -> Metric:
    """The metric of this name, parameters bound.

    Raises ``MetricError`` with the nearest known names when there is none.
    """
    load_group(GROUP)
    for _, parse in _parsers.values():
        metric = parse(name)
        if metric is not None:
            return metric
    hint = nearest(_base(name), {_base(pattern) for pattern in _parsers})
    raise MetricError(f"unknown metric {name!r}; {hint} (`medeval list metrics` shows their parameters)")


def _base(name: str) -> str:
    """A name or pattern without its parameters."""
    return re.split(r"[\[<@:]", name, maxsplit=1)[0]


def registered() -> dict[str, type[Metric]]:
    """Every registered pattern and its class, in order of name."""
    load_group(GROUP)
    return {pattern: cls for pattern, (cls, _) in sorted(_parsers.items())}
