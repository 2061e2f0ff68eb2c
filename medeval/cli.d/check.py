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
    data: Annotated[
        str | None,
        typer.Option(
            help="A suite's entry of a dataset, whose first cases models of studies and output sources are asked "
            "about: '{format: table, file: studies.csv, inputs: {age: age}}'."
        ),
    ] = None,
) -> None:
    """Check whether a model is fit to be evaluated: answers, determinism, batches, hidden state, odd sizes, memory, and more."""
    from medeval.conformance import check_model, findings_table
    from medeval.report import plain_table

    found = check_model(reference, _options(set_ or ()), task=task, data=_entry(data))
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
    typer.echo(
        f"{' and '.join(map(str, written))} written. Next: pytest {written[-1]}{_next(kind, written[0])}"
    )


def _next(kind: str, file: Path) -> str:
    """What else there is to do with a file that was written."""
    if kind != "adapter":
        return ""
    cls = "".join(word[:1].upper() + word[1:] for word in file.stem.split("_"))
    return f"; medeval check {file}:{cls}"


def _entry(given: str | None) -> dict[str, object] | None:
    """A mapping in YAML that names its format."""
    import yaml

    if given is None:
        return None
    try:
        entry = yaml.safe_load(given)
    except yaml.YAMLError:
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("format"), str):
        raise typer.BadParameter(f"{given!r}: write {{format: ..., its options}}", param_hint="--data")
    return entry


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
