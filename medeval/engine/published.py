"""Published figures as data, to be shown beside a run: ``medeval show RUN --published sam-med2d``.

They come through the entry-point group ``medeval.published`` (``package:file.yaml``); each table names its source, and
nothing is compared by machine: other data, other splits.
"""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from medeval.plugins import names
from medeval.suite.find import packaged_file
from medeval.types import PluginError, nearest
from medeval.types.views import Column, Table

GROUP = "medeval.published"


class PublishedTable(BaseModel):
    """One table of a paper. rows: cells in the order of columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    source: str
    note: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Published(BaseModel):
    """A paper's tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    citation: str
    tables: tuple[PublishedTable, ...]


def published_tables(name: str) -> list[Table | str]:
    """The tables of a paper and its citation. Raises ``PluginError`` with the known names."""
    known = names(GROUP)
    if name not in known:
        raise PluginError(f"no published figures {name!r}; {nearest(name, known)}")
    data = Published.model_validate(yaml.safe_load(packaged_file(known[name]).read_text(encoding="utf-8")))
    tables: list[Table | str] = [_table(data, table) for table in data.tables]
    return [*tables, f"{data.citation}. Figures as published: other data and other cases than this run's."]


def _table(data: Published, table: PublishedTable) -> Table:
    columns = [Column(name) for name in table.columns]
    rows = [dict(zip(table.columns, map(_as_printed, row), strict=True)) for row in table.rows]
    note = "; ".join(filter(None, [f"source: {table.source}", table.note]))
    return Table(f"Published: {data.title}. {table.title}", columns, rows, note)


def _as_printed(cell: Any) -> str:
    """Two decimals, as papers of the field print percentages."""
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
