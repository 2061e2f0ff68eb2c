"""A laid-out table as LaTeX (booktabs), CSV, Markdown, HTML or Word."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from medeval.decisions.layout import Laid, Shown
from medeval.report.numbers import decimals, interval_text, number_text
from medeval.types import RunError

CellStyle = Literal["mean±sd", "mean [ci]", "mean"]
CELLS: tuple[CellStyle, ...] = ("mean±sd", "mean [ci]", "mean")
ARROWS = {"higher": "↑", "lower": "↓", "": ""}
_TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "†": r"$\dagger$", "–": "--", "∞": r"$\infty$",
        "∩": r"$\cap$", "∪": r"$\cup$", "|": r"\textbar{}"}  # fmt: skip


def cell_text(cell: Shown | None, style: CellStyle, places: int) -> str:
    """A cell's text without its marks of rank: ``0.812 [0.790, 0.833]*``."""
    if cell is None:
        return ""
    text = number_text(cell.value, places)
    if style == "mean±sd" and cell.value is not None:
        text += f" ± {number_text(cell.sd, places)}"
    elif style == "mean [ci]" and (shown := interval_text(cell.low, cell.high, places)):
        text += f" {shown}"
    return text + ("*" if cell.significant else "") + ("†" if cell.incomplete else "")


def head_text(column: tuple[str, str, str]) -> str:
    """``dice ↑``, ``hd95 [mm] ↓``."""
    label, direction, unit = column
    return " ".join(part for part in (label, f"[{unit}]" if unit else "", ARROWS[direction]) if part)


def tex(text: str) -> str:
    """Text as LaTeX prints it, nothing in it a command."""
    return "".join(_TEX.get(character, character) for character in text)


def latex(tables: Sequence[Laid], style: CellStyle) -> str:
    r"""One ``table`` environment a table; the preamble needs ``\usepackage{booktabs}``."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_latex(table, style) for table in tables)


def _latex(table: Laid, style: CellStyle) -> str:
    heads = [*(tex(name) for name in table.row_names), *(tex(head_text(column)) for column in table.columns)]
    lines = ["\\begin{table}[t]", "\\centering", f"\\caption{{{tex(table.title)}. {tex(table.note)}.}}",
             f"\\begin{{tabular}}{{{'l' * len(table.row_names)}{'c' * len(table.columns)}}}", "\\toprule",
             " & ".join(heads) + r" \\", "\\midrule"]  # fmt: skip
    for labels, texts in _texts(table, style, tex, r"\textbf{%s}", r"\underline{%s}"):
        lines.append(" & ".join([*(tex(label) for label in labels), *texts]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def markdown(tables: Sequence[Laid], style: CellStyle) -> str:
    """GitHub's tables."""
    parts = []
    for table in tables:
        heads = [*table.row_names, *(head_text(column) for column in table.columns)]
        rule = ["---"] * len(table.row_names) + ["---:"] * len(table.columns)
        lines = [_md(heads), "|" + "|".join(rule) + "|"]
        lines += [
            _md([*labels, *texts]) for labels, texts in _texts(table, style, _pipes, "**%s**", "<u>%s</u>")
        ]
        parts.append(f"### {table.title}\n\n" + "\n".join(lines) + f"\n\n{table.note}\n")
    return "\n".join(parts)


def _pipes(text: str) -> str:
    return text.replace("|", "\\|")


def _md(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("\n", " ") for value in values) + " |"


def html_page(tables: Sequence[Laid], style: CellStyle) -> str:
    """Plain tables, every text escaped."""
    parts = []
    for table in tables:
        heads = [*table.row_names, *(head_text(column) for column in table.columns)]
        body = "".join(
            "<tr>" + "".join(f"<th scope=row>{html.escape(label)}</th>" for label in labels)
            + "".join(f"<td>{text}</td>" for text in texts) + "</tr>\n"
            for labels, texts in _texts(table, style, html.escape, "<b>%s</b>", "<u>%s</u>")
        )  # fmt: skip
        head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
        parts.append(f"<table>\n<caption>{html.escape(table.title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
                     f"<tbody>\n{body}</tbody>\n</table>\n<p>{html.escape(table.note)}</p>")  # fmt: skip
    return '<!doctype html>\n<meta charset="utf-8">\n' + "\n".join(parts) + "\n"


def comma_separated(tables: Sequence[Laid], style: CellStyle) -> str:
    """One line a cell at full precision: what the rows and columns are, value, low, high, sd, n, mark, significant."""
    names = list(dict.fromkeys(name for table in tables for name in table.row_names))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["table", *names, "column", "value", "low", "high", "sd", "n", "mark", "significantly_worse"]
    )
    for table in tables:
        for labels, cells in table.rows:
            for (column, _, _), cell in zip(table.columns, cells, strict=True):
                if cell is not None:
                    numbers = [cell.value, cell.low, cell.high, cell.sd]
                    writer.writerow([table.title, *labels, column, *("" if x is None else repr(float(x)) for x in numbers),
                                     cell.n, cell.mark, int(cell.significant)])  # fmt: skip
    return out.getvalue()


def docx(tables: Sequence[Laid], style: CellStyle, path: Path) -> None:
    """A Word document. Raises ``RunError`` where python-docx is not installed."""
    try:
        from docx import Document
    except ImportError as error:
        raise RunError(
            "--format docx needs python-docx: pip install python-docx (or take --format html)"
        ) from error
    document = Document()
    for table in tables:
        document.add_heading(table.title, level=2)
        heads = [*table.row_names, *(head_text(column) for column in table.columns)]
        grid = document.add_table(rows=1, cols=len(heads))
        for cell, text in zip(grid.rows[0].cells, heads, strict=True):
            cell.text = text
        for labels, shown in table.rows:
            places = _places(table)
            line = grid.add_row().cells
            for at, label in enumerate(labels):
                line[at].text = label
            for at, value in enumerate(shown):
                run = line[len(labels) + at].paragraphs[0].add_run(cell_text(value, style, places[at]))
                run.bold, run.underline = (value is not None and value.mark == m for m in ("best", "second"))
        document.add_paragraph(table.note)
    document.save(str(path))


def _texts(
    table: Laid, style: CellStyle, escape: Callable[[str], str], best: str, second: str
) -> list[tuple[tuple[str, ...], list[str]]]:
    places = _places(table)
    wrap = {"best": best, "second": second, "": "%s"}
    return [
        (labels, ["" if cell is None else wrap[cell.mark] % escape(cell_text(cell, style, places[at]))
                  for at, cell in enumerate(cells)])
        for labels, cells in table.rows
    ]  # fmt: skip


def _places(table: Laid) -> list[int]:
    """Decimals of each column."""
    return [decimals(cell.value for _, cells in table.rows if (cell := cells[at]) is not None)
            for at in range(len(table.columns))]  # fmt: skip


TEXTS: dict[str, Callable[[Sequence[Laid], CellStyle], str]] = {
    "latex": latex, "csv": comma_separated, "md": markdown, "html": html_page,
}  # fmt: skip
FORMATS = (*TEXTS, "docx")
