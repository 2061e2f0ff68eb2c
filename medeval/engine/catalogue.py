"""``medeval list``: everything that a suite can name, broken plug-ins with their reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medeval.interaction import click_rules
from medeval.metrics.registry import registered
from medeval.plugins import broken, load_group, names
from medeval.types import UserError, nearest
from medeval.types.views import Column, Table

_GROUPS = ("adapters", "datasets", "tasks", "clients", "adaptations", "recipes")


def listing(what: str = "all") -> list[Table | str]:
    """Tables of one kind of plug-in, or of all. Raises ``UserError`` for a kind that there is not."""
    kinds: dict[str, Callable[[], list[Table | str]]] = {
        **{group: lambda group=group: _plugins(group) for group in _GROUPS},  # type: ignore[misc]
        "metrics": _metrics,
        "click-rules": _click_rules,
        "suites": _suites,
    }
    if what != "all" and what not in kinds:
        raise UserError(f"no list of {what!r}; {nearest(what, [*kinds, 'all'])}")
    return [item for kind, make in kinds.items() if what in (kind, "all") for item in make()]


def _plugins(group: str) -> list[Table | str]:
    full = f"medeval.{group}"
    columns = [Column("name"), Column("what"), Column("class")]
    rows = [
        {
            "name": name,
            "what": _what(plugin),
            "class": names(full)[name],
            "_baseline": getattr(plugin, "baseline", False),
        }
        for name, plugin in load_group(full).items()
    ]
    return [
        Table(group, columns, rows),
        *(f"broken: {name}: {reason}" for name, reason in broken(full).items()),
    ]


def _what(plugin: Any) -> str:
    described = getattr(plugin, "description", None)
    if isinstance(described, str):
        return described
    lines = (plugin.__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""


def _metrics() -> list[Table | str]:
    columns = [
        Column("name"), Column("direction", "better"), Column("range"), Column("unit"), Column("definition"),
        Column("empties", "empty masks"), Column("source"),
    ]  # fmt: skip
    rows = [
        {
            "name": pattern,
            "direction": cls.direction,
            "range": f"{cls.range[0]:g}..{cls.range[1]:g}",
            "unit": cls.unit,
            "definition": cls.definition,
            "empties": cls.empties,
            "source": cls.source,
        }
        for pattern, cls in registered().items()
    ]
    return [
        Table("metrics", columns, rows),
        *(f"broken: {n}: {why}" for n, why in broken("medeval.metrics").items()),
    ]


def _click_rules() -> list[Table | str]:
    rows = [{"name": name, "what": what} for name, what in click_rules().items()]
    return [Table("click rules", [Column("name"), Column("what")], rows)]


def _suites() -> list[Table | str]:
    rows = [{"name": name, "file": value} for name, value in names("medeval.suites").items()]
    return [Table("suites", [Column("name"), Column("file")], rows)]
