"""``medeval cache``: what a chat cache holds, and what may go. Thin: each command calls the library."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="cache",
    help="Look into a cache of chat replies, and prune it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Place = Annotated[Path, typer.Argument(help="A cache file, or the folder of a run.")]


@app.command()
def stats(place: Place) -> None:
    """What a cache holds, by model: replies, size, tokens, cost, age."""
    from medeval.llm.upkeep import cache_of, held
    from medeval.report import plain_table
    from medeval.types.views import Column, Table

    path = cache_of(place)
    rows = [
        {
            "model": one.model, "client": one.provider, "endpoint": one.endpoint, "replies": one.replies,
            "size": f"{one.size / 1e6:.1f} MB", "tokens": one.tokens, "cost": one.cost,
            "oldest": _day(one.oldest), "newest": _day(one.newest), "broken": one.broken,
        }
        for one in held(path)
    ]  # fmt: skip
    kinds = {"replies": "integer", "tokens": "integer", "broken": "integer", "cost": "number"}
    names = ("model", "client", "endpoint", "replies", "size", "tokens", "cost", "oldest", "newest", "broken")
    columns = [Column(name, kind=kinds.get(name, "text")) for name in names]  # type: ignore[arg-type]
    typer.echo(plain_table(Table(str(path), columns, rows, "" if rows else "The cache is empty.")))


@app.command()
def prune(
    place: Place,
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, help="Days since it was kept.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="Name of the model; may hold * and ?.")] = "",
    broken: Annotated[bool, typer.Option("--broken", help="Replies that cannot be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them, and remove nothing.")] = False,
) -> None:
    """Remove replies; where several conditions are given, those that meet them all."""
    from medeval.llm.upkeep import cache_of
    from medeval.llm.upkeep import prune as pruned

    path = cache_of(place)
    count = pruned(path, older_than=older_than, model=model, broken=broken, dry_run=dry_run)
    typer.echo(f"{count} replies {'would be removed' if dry_run else 'removed'}: {path}")


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
