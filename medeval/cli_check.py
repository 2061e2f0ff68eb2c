"""``medeval check`` and ``medeval new``: for those who write a model, a dataset or a task of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    reference: Annotated[
        str, typer.Argument(help="A model: my_models.py:MyModel, package.module:Class or a registered name.")
    ],
    task: Annotated[
        str | None, typer.Option(help="Whose protocol; default: the first that the model has the methods of.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the model: checkpoint=sam.pth; repeatable."),
    ] = None,
) -> None:
    """Check whether a model is fit to be evaluated: answers, determinism, batches, hidden state, odd sizes, memory."""
    from medeval.conformance import check_model, findings_table
    from medeval.report import plain_table

    found = check_model(reference, _options(set_ or ()), task=task)
    typer.echo(plain_table(findings_table(reference, found)))
    failed = sum(finding.verdict == "fail" for finding in found)
    if failed:
        typer.echo(f"{failed} of {len(found)} checks failed", err=True)
        raise typer.Exit(1)


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="adapter, dataset or task.")],
    name: Annotated[str, typer.Argument(help="Its name, such as my-model.")],
    folder: Annotated[Path, typer.Option("--folder", "-f", help="Where to write.")] = Path(),
) -> None:
    """Write a working adapter, dataset or task of your own, with a test."""
    from medeval.scaffolds import scaffold

    written = scaffold(kind, name, folder)
    typer.echo(f"{' and '.join(map(str, written))} written. Next: pytest {written[-1]}")


def _options(given: list[str] | tuple[()]) -> dict[str, object]:
    """``key=value`` with YAML values."""
    import yaml

    options = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r}: write KEY=VALUE", param_hint="--set")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise typer.BadParameter(f"{text!r}: the value is no YAML", param_hint="--set") from None
    return options
