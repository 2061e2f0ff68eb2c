"""What every command prints in the same way."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import typer


def echo(items: Iterable[Any]) -> None:
    """Texts as they are, tables as rich tables on a terminal and as aligned text elsewhere."""
    from medeval.report import plain_table, render_table

    for item in items:
        if isinstance(item, str):
            typer.echo(item)
        elif sys.stdout.isatty():
            from rich.console import Console

            Console().print(render_table(item))
        else:
            typer.echo(plain_table(item) + "\n")


def run_place(text: str) -> Path | str:
    """A RUN argument: a folder of this machine, or a URL as it is (a ``Path`` would lose one of its slashes)."""
    from medeval.runs.place import place_of

    return place_of(text)


def fail(text: str) -> NoReturn:
    """The user's input is wrong: a message and exit code 2."""
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(2)
