"""One self-contained HTML file: no network, no script but ours, every text from data or models escaped.

Each kind of view has one template and one function that makes it ready; adding a kind is one line in ``_VIEWS``. The
page carries a content security policy that allows its own script by hash and nothing else, so that even a mistake in
escaping could not run a model's text.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from medeval.report import plots, points, tables
from medeval.report.dialogues import dialogues, notice
from medeval.report.gallery import Pictures, gallery
from medeval.report.matrix import matrix
from medeval.report.numbers import plain
from medeval.report.textdiff import textdiff
from medeval.types.views import (
    BlandAltman,
    Chat,
    Column,
    Curve,
    Dialogues,
    Distribution,
    Forest,
    Gallery,
    Matrix,
    Notice,
    Passage,
    Table,
    TextDiff,
    View,
)

MOST_CURVES = 3  # in a row, all open
_ASSETS = ("report", "dialogues", "records")  # script and style of the page


@dataclass(frozen=True)
class Section:
    """A part of the report: plain text (blank lines part paragraphs, lines that begin with "- " are a list), then views."""

    title: str
    views: Sequence[View] = ()
    text: str = ""


def render_report(
    title: str, sections: Sequence[Section], meta: Mapping[str, Any], pictures: Pictures
) -> str:
    """The report as HTML.

    meta: what was run. Plain values stand at the top; a mapping becomes a list, a list of mappings a table and a text of
        several lines is folded away, each under its key.
    pictures: draws a gallery item, None when there is no picture of it.
    """
    numbers = iter(range(1, 1_000_000))
    drawn = [
        {"id": f"section-{n}", "title": section.title, "blocks": _blocks(section.text),
         "views": [
             {**_prepared(view, f"view-{next(numbers)}", pictures), "folded": folded}
             for view, folded in zip(section.views, _folded(section.views), strict=True)
         ]}
        for n, section in enumerate(sections, start=1)
    ]  # fmt: skip
    environment = _environment()
    script = "\n".join(_asset(f"{name}.js") for name in _ASSETS)
    style = "\n".join(_asset(f"{name}.css") for name in _ASSETS)
    return environment.get_template("report.html").render(
        title=title, sections=drawn, facts=_facts(meta), details=_details(meta), style=style, script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )  # fmt: skip


def write_report(
    path: str | Path, title: str, sections: Sequence[Section], meta: Mapping[str, Any], pictures: Pictures
) -> Path:
    """Render to ``path``; written to a temporary file first and renamed, so that a reader never sees half a report."""
    target = Path(path)
    html = render_report(title, sections, meta, pictures)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(html, encoding="utf-8", errors="replace")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _folded(views: Sequence[View]) -> list[bool]:
    """Which views are folded away: of many curves in a row all but the first, so that a page can be looked through."""
    flags: list[bool] = []
    for kind, run in groupby(views, key=type):
        count = len(list(run))
        flags += [kind is Curve and count > MOST_CURVES and n > 0 for n in range(count)]
    return flags


def _prepared(view: View, identity: str, pictures: Pictures) -> dict[str, Any]:
    template, prepare = _VIEWS[type(view)]
    return {
        "template": template,
        "id": identity,
        "title": view.title,
        "note": view.note,
        **prepare(view, pictures),
    }


def _table(view: Table, _: Pictures) -> dict[str, Any]:
    table = tables.prepare(view)
    return {"table": table, "note": table.note}


def _curve(view: Curve, _: Pictures) -> dict[str, Any]:
    found = plots.curve(view)
    return {
        **found,
        "x_title": view.x_title,
        "y_title": view.y_title,
        "table": tables.prepare(found["table"]),
        "data": points.curve_data(view),
    }


def _forest(view: Forest, _: Pictures) -> dict[str, Any]:
    return {**plots.forest(view), "x_title": view.x_title}


def _records(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "table": tables.prepare(found["table"])}


def _chat(view: Chat, _: Pictures) -> dict[str, Any]:
    speakers = list(dict.fromkeys(turn.speaker for turn in view.turns))
    return {
        "turns": [
            {"speaker": t.speaker, "text": t.text, "side": speakers.index(t.speaker)} for t in view.turns
        ]
    }


_VIEWS: dict[type, tuple[str, Callable[[Any, Pictures], dict[str, Any]]]] = {
    Table: ("table.html", _table),
    Curve: ("curve.html", _curve),
    Forest: ("forest.html", _forest),
    Matrix: ("matrix.html", lambda view, _: matrix(view)),
    Distribution: ("distribution.html", lambda view, _: _records(points.distribution(view))),
    BlandAltman: ("bland_altman.html", lambda view, _: _records(points.bland_altman(view))),
    Gallery: ("gallery.html", gallery),
    Chat: ("chat.html", _chat),
    TextDiff: ("textdiff.html", lambda view, _: textdiff(view)),
    Passage: ("passage.html", lambda view, _: {"text": view.text}),
    Notice: ("notice.html", lambda view, _: notice(view)),
    Dialogues: ("dialogues.html", lambda view, _: dialogues(view)),
}


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(row, Mapping) for row in value)
    )


def _is_fact(value: Any) -> bool:
    return not isinstance(value, Mapping) and not _is_table(value) and "\n" not in str(value)


def _facts(meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(plain(name), plain(value)) for name, value in meta.items() if _is_fact(value)]


def _details(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of meta that need room, each with the kind of block that shows it."""
    found: list[dict[str, Any]] = []
    for name, value in meta.items():
        if _is_table(value):
            columns = list(dict.fromkeys(key for row in value for key in row))
            rows = [{key: plain(cell) for key, cell in row.items()} for row in value]
            view = Table(str(name), [Column(str(key)) for key in columns], rows)
            found.append({"kind": "table", "name": plain(name), "table": tables.prepare(view)})
        elif isinstance(value, Mapping):
            found.append(
                {
                    "kind": "list",
                    "name": plain(name),
                    "facts": [(plain(k), plain(v)) for k, v in value.items()],
                }
            )
        elif not _is_fact(value):
            found.append({"kind": "text", "name": plain(name), "text": str(value)})
    return found


def _blocks(text: str) -> list[tuple[str, Any]]:
    """("p", text) and ("ul", items)."""
    blocks: list[tuple[str, Any]] = []
    for part in text.split("\n\n"):
        lines = [line.strip() for line in part.splitlines() if line.strip()]
        for listed, run in groupby(lines, key=lambda line: line.startswith("- ")):
            kept = list(run)
            blocks.append(("ul", [line[2:] for line in kept]) if listed else ("p", " ".join(kept)))
    return blocks


def _asset(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
