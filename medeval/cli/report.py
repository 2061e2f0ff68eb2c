"""``medeval report``: a finished run's report again, or one that may be sent outside. Thin: it calls the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medeval.cli.output import fail, run_place


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", parser=run_place, help="A run folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file; default report.html, shared.html or shared.json in the run."
        ),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Without ids, texts, paths and small cells: to be sent outside.")
    ] = False,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="With --share: with pictures. They can identify people.")
    ] = False,
    min_cell: Annotated[
        int, typer.Option("--min-cell", min=2, help="With --share: people that every figure rests on.")
    ] = 10,
    anonymise: Annotated[
        bool, typer.Option("--anonymise-names", help="With --share: number models and datasets.")
    ] = False,
    format_: Annotated[str, typer.Option("--format", "-f", help="html; with --share also json.")] = "html",
) -> None:
    """Write a finished run's report again; --share leaves out what identifies people and places."""
    from medeval import api

    if format_ not in ("html", "json"):
        fail(f"--format {format_!r}; known: html, json")
    if not share and (pixels or anonymise or min_cell != 10 or format_ != "html"):
        fail("--pixels, --min-cell, --anonymise-names and --format json go with --share")
    options = api.ShareOptions(min_cell, pixels, anonymise, format_) if share else None  # type: ignore[arg-type]
    target, withheld = api.report(folder, out, options)
    typer.echo(f"report: {target}")
    for rule, count in sorted(withheld.items()):
        typer.echo(f"withheld: {rule}: {count}")
