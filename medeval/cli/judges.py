"""``medeval agreement`` and ``medeval annotate``: how far judges can be trusted. Thin: each command calls the library."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from medeval.cli.output import echo

app = typer.Typer(
    name="judges",
    help="Judges against people.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Rubric = Annotated[str, typer.Option(help="A packaged rubric's name or a YAML file; default: the run's.")]


@app.command()
def agreement(
    sheets: Annotated[
        list[Path] | None,
        typer.Argument(help="Sheets: CSV (dialogue, item, rater, score) or annotate's JSON lines."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="A run of dialogues: its judges are raters too.")] = None,
    judge: Annotated[
        list[str] | None, typer.Option(help="A rater of the sheets that is a judge; repeatable.")
    ] = None,
    rubric: Rubric = "",
    scale: Annotated[
        str, typer.Option(help="Values of the items where there is no rubric: 1-9 or 0,1,2.")
    ] = "",
    weights: Annotated[
        str, typer.Option(help="Of kappa and AC: quadratic, linear, ordinal or identity.")
    ] = "quadratic",
    resamples: Annotated[int, typer.Option(min=100, help="For intervals.")] = 2000,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Also write all figures: .json or .csv; of --template: the sheet."),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="Write an empty sheet for the dialogues of this run, and stop.")
    ] = None,
    rater: Annotated[str, typer.Option(help="The rater's name in the empty sheet.")] = "rater 1",
) -> None:
    """How judges agree with people, people with people, and judge and patient with themselves."""
    from medeval.engine import judged
    from medeval.metrics.agreement import WEIGHTINGS
    from medeval.types.errors import UserError, nearest

    if template is not None:
        _write(out, judged.template(template, rater, rubric))
        return
    if weights not in WEIGHTINGS:
        raise UserError(f"--weights {weights!r}: {nearest(weights, WEIGHTINGS)}")
    if out is not None and out.suffix not in (".json", ".csv"):
        raise UserError(f"--out {out}: write .json or .csv")
    options = judged.Options(tuple(judge or ()), rubric, _scale(scale), weights, resamples)
    report = judged.agreement(sheets or [], run, options)
    echo(report.tables())
    if out is not None:
        _write(out, report.to_json() if out.suffix == ".json" else report.to_csv())


@app.command()
def annotate(
    source: Annotated[Path, typer.Argument(help="A run folder, or JSON lines of dialogues from any system.")],
    rater: Annotated[str, typer.Option(help="Your name; another order of dialogues and a file for each.")],
    rubric: Rubric = "",
    cases: Annotated[
        Path | None, typer.Option(help="Patient cases: their diagnosis is shown with the items that need it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the answers; default: annotations in the run."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes any free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
) -> None:
    """Rate dialogues on a local page, blinded to models. Every click is saved; the same command goes on later."""
    from medeval.engine import judged

    page = judged.annotation(source, rater, rubric=rubric, out=out, cases=cases, port=port)
    typer.echo(
        f"{len(page.work.dialogues)} dialogues, {len(page.work.parts)} items each; answers: {page.book.path}"
    )
    typer.echo(f"open {page.url}\n(Ctrl-C ends; the same command goes on from there)")
    if open_:
        typer.launch(page.url)
    try:
        page.serve()
    except KeyboardInterrupt:
        run = f" --run {source}" if source.is_dir() else ""
        typer.echo(
            f"\nsaved in {page.book.path}; compare: medeval agreement '{page.book.path}'{run}", err=True
        )
    finally:
        page.book.close()


def _scale(text: str) -> tuple[float, ...]:
    """``1-9`` or ``0,1,2`` as values."""
    from medeval.types.errors import UserError

    first, dash, last = text.partition("-")
    try:
        if dash and first:
            values = tuple(float(n) for n in range(int(first), int(last) + 1))
        else:
            values = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)) or (text and len(values) < 2):
        raise UserError(f"--scale {text!r}: write 1-9 or 0,1,2")
    return values


def _write(out: Path | None, text: str) -> None:
    from medeval.types.errors import UserError

    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    typer.echo(f"{out} written", err=True)
