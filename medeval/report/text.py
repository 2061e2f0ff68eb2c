"""A ``Table`` in a terminal: a rich table, or plain text where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from medeval.report.numbers import plain
from medeval.report.tables import Cell, Row, prepare
from medeval.types.views import Column, Table

if TYPE_CHECKING:
    import rich.table

_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def render_table(table: Table) -> rich.table.Table:
    """A rich table; names from data and models are plain text, whatever markup or escapes they hold."""
    from rich.table import Table as RichTable
    from rich.text import Text

    prepared = prepare(table)
    footer = "\n".join([*_footnotes(prepared.footnotes), *([plain(prepared.note)] if prepared.note else [])])
    drawn = RichTable(title=Text(plain(prepared.title)), caption=Text(footer) if footer else None, title_justify="left",
                      caption_justify="left")  # fmt: skip
    for column in prepared.columns:
        drawn.add_column(
            Text(_heading(column)), justify="left" if column.kind == "text" else "right", overflow="fold"
        )
    for name, rows in prepared.groups:
        if name:
            drawn.add_section()
            drawn.add_row(Text(name, style="bold"))
        for row in rows:
            drawn.add_row(*(Text(text) for text in _texts(row)), style="dim" if row.baseline else None)
    return drawn


def plain_table(table: Table) -> str:
    """The same as text with aligned columns, for files and pipes."""
    prepared = prepare(table)
    heading = [_heading(column) for column in prepared.columns]
    body = [(name, [_texts(row) for row in rows]) for name, rows in prepared.groups]
    lines = [heading, *(texts for _, rows in body for texts in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    left = [column.kind == "text" for column in prepared.columns]

    def joined(texts: Sequence[str]) -> str:
        cells = zip(texts, widths, left, strict=True)
        return "  ".join(text.ljust(w) if is_left else text.rjust(w) for text, w, is_left in cells).rstrip()

    out = [plain(prepared.title), joined(heading), "  ".join("-" * width for width in widths)]
    for name, rows in body:
        out += [f"{name}:"] if name else []
        out += [joined(texts) for texts in rows]
    return "\n".join(
        [*out, *_footnotes(prepared.footnotes), *([plain(prepared.note)] if prepared.note else [])]
    )


def _heading(column: Column) -> str:
    return plain(column.title or column.name) + _ARROWS[column.direction]


def _texts(row: Row) -> list[str]:
    texts = [_text(cell) for cell in row.cells]
    if row.tags and texts:
        texts[row.tagged] += f" ({', '.join(row.tags)})"
    return texts


def _text(cell: Cell) -> str:
    mark = f" ({cell.mark})" if cell.mark else ""
    extra = ", ".join(part for part in (cell.counts, cell.alarm) if part)
    return " ".join(part for part in (cell.text, cell.interval, f"({extra})" if extra else "") if part) + mark


def _footnotes(notes: Sequence[str]) -> Iterator[str]:
    return (f"({number}) {note}" for number, note in enumerate(notes, start=1))
