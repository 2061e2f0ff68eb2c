"""``medeval compare``, ``table``, ``subgroups``, ``plan``, ``verify`` and ``export``: thin, mounted by ``medeval.cli``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medeval.cli.output import echo, fail, run_place

Folder = Annotated[Path, typer.Argument(parser=run_place, help="A run folder.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", "-m", help="Only this metric; repeatable.")]


def compare(
    runs: Annotated[list[Path], typer.Argument(parser=run_place, help="Run folders: the old one first. One: the models inside it.")],
    baseline: Annotated[str, typer.Option(help="The model that all others are compared with.")] = "",
    models: Annotated[list[str] | None, typer.Option("--model", help="Only this model; repeatable.")] = None,
    metrics: Metrics = None,
    by: Annotated[str, typer.Option(help="A group of the suite's `by`, for example `structure`.")] = "",
    correction: Annotated[str, typer.Option(help="holm, bh or none.")] = "holm",
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare what is not the same work.")] = False,
    fail_if_worse: Annotated[
        float | None,
        typer.Option("--fail-if-worse", metavar="MARGIN", help="Exit 1 when a mean is worse by more than this (each task's first metric, or --metric)."),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw the differences: a .pdf or .svg file.")] = None,
) -> None:  # fmt: skip
    """Compare runs, or the models inside a run: differences with interval, corrected p, win/tie/loss."""
    from medeval.decisions.compare import compare as compare_runs
    from medeval.decisions.evidence import RunEvidence
    from medeval.decisions.views import changed_table, comparison_tables

    _known(correction, ("holm", "bh", "none"), "--correction")
    if fail_if_worse is not None and not fail_if_worse >= 0:
        fail(f"--fail-if-worse {fail_if_worse}: the margin is how much worse is still acceptable, 0 or more")
    opened = [RunEvidence.open(run) for run in runs]
    found = compare_runs(
        opened, baseline=baseline, models=models or (), metrics=metrics or (), by=by, anyway=anyway, correction=correction  # type: ignore[arg-type]
    )  # fmt: skip
    alone = [f"not compared: {text}" for text in (*found.lost, *found.added)]
    echo([*comparison_tables(found), changed_table(found.rows), *alone])
    if figure is not None:
        from medeval.decisions.figures import difference_plot

        typer.echo(f"figure: {difference_plot(found.rows, figure)}")
    if fail_if_worse is not None:
        _gate(found, opened[0], metrics or (), fail_if_worse)


def _gate(found: Any, first: Any, metrics: Any, margin: float) -> None:
    """Exit code 1 when something lost more than the margin, could not be compared at all, or is gone."""
    gated = [row for row in found.rows if row.metric in (metrics or next(iter(first.metrics(row.task)), ""))]
    lost = [row for row in gated if row.worse_by_more_than(margin) or row.difference.value is None]
    for row in lost:
        why = "cannot be compared" if row.difference.value is None else f"is worse by {-row.gain:.4g}"
        setting = " ".join(part for part in (row.dataset, row.prompt, row.metric) if part)
        typer.echo(f"{row.new} {why} than {row.old} ({setting}); the margin is {margin:g}", err=True)
    for text in found.lost:
        typer.echo(f"{text}: whether it is worse cannot be told (name what counts by --model)", err=True)
    if lost or found.lost:
        raise typer.Exit(1)


def table(
    folder: Folder,
    rows: Annotated[
        str, typer.Option(help="model, metric, prompt, dataset, task or a group of `by`.")
    ] = "model",
    columns: Annotated[str, typer.Option(help="The same; `structure x modality` for a product.")] = "metric",
    metrics: Metrics = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", help="FACET=VALUE: only these; repeatable.")
    ] = None,
    cell: Annotated[str, typer.Option(help="'mean±sd', 'mean [ci]' or 'mean'.")] = "mean [ci]",
    format_: Annotated[str, typer.Option("--format", "-f", help="latex, csv, md, html or docx.")] = "md",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file; default: print.")] = None,
    significance: Annotated[
        bool,
        typer.Option(
            "--significance/--no-significance", help="Mark what is significantly worse than the best."
        ),
    ] = True,
    leaderboard: Annotated[
        bool, typer.Option("--leaderboard", help="Ranks by three schemes with their stability.")
    ] = False,
    missing: Annotated[str, typer.Option(help="In a ranking, a value that is missing: worst or omit.")] = "",
    figure: Annotated[
        Path | None, typer.Option(help="With --leaderboard: the blob plot, .pdf or .svg.")
    ] = None,
) -> None:
    """Print or write a table of a run: best bold, second underlined, significance marked."""
    from medeval.decisions.evidence import RunEvidence
    from medeval.decisions.formats import CELLS, FORMATS, TEXTS, docx
    from medeval.decisions.layout import Layout, lay_out

    _known(format_, FORMATS, "--format")
    style = cell.replace("+-", "±").replace(" ± ", "±")
    _known(style, CELLS, "--cell")
    evidence, asked = RunEvidence.open(folder), dict(_pair(text) for text in where or ())
    if leaderboard:
        _leaderboards(evidence, asked, metrics or (), missing, figure)
        return
    laid = lay_out(evidence, Layout(rows, columns, asked, metrics or (), significance))
    if format_ == "docx":
        docx(laid, style, out or Path("table.docx"))  # type: ignore[arg-type]
    elif out is None:
        typer.echo(TEXTS[format_](laid, style), nl=False)  # type: ignore[arg-type]
    else:
        _write(out, TEXTS[format_](laid, style))  # type: ignore[arg-type]


def _leaderboards(
    evidence: Any, where: dict[str, str], metrics: Any, missing: str, figure: Path | None
) -> None:
    from medeval.decisions.figures import blob_plot
    from medeval.decisions.leaderboard import leaderboard as ranked

    if missing:
        _known(missing, ("worst", "omit"), "--missing")
    settings = dict.fromkeys(
        (cell.task, cell.dataset, prompt) for cell in evidence.cells for prompt, _ in evidence.settings(cell)
        if all({"task": cell.task, "dataset": cell.dataset, "prompt": prompt}.get(k, v) == v for k, v in where.items())
    )  # fmt: skip
    if not settings:
        fail(f"--where {where}: the run has no such scores")
    for number, (task, dataset, prompt) in enumerate(settings):
        for name in metrics or list(evidence.metrics(task))[:1]:
            board = ranked(evidence, task, dataset, name, prompt, missing=missing or None)  # type: ignore[arg-type]
            echo([board.table()])
            if figure is not None:
                target = figure if not number else figure.with_stem(f"{figure.stem}-{number}")
                typer.echo(f"figure: {blob_plot(board.stability(), target)}")


def subgroups(
    folder: Folder,
    column: Annotated[str, typer.Option("--by", help="A metadata column: site, sex, vendor ...")],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric.")],
    correction: Annotated[str, typer.Option(help="holm, bh or none.")] = "holm",
) -> None:
    """Subgroups of a metadata column: the worst group, the gap, corrected tests, n."""
    from medeval.decisions.evidence import RunEvidence
    from medeval.decisions.views import subgroup_tables

    _known(correction, ("holm", "bh", "none"), "--correction")
    echo(subgroup_tables(RunEvidence.open(folder), column, metric, correction))  # type: ignore[arg-type]


def plan(
    folder: Annotated[Path, typer.Argument(parser=run_place, help="A run folder: the pilot.")],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric.")],
    width: Annotated[float | None, typer.Option(help="An interval this wide in all.")] = None,
    difference: Annotated[
        float | None, typer.Option(help="The difference to find; default: the pilot's.")
    ] = None,
    power: Annotated[float, typer.Option(help="Power of the paired test.")] = 0.8,
) -> None:
    """How many patients: for an interval this wide (--width), or to separate the two best models."""
    from medeval.decisions.evidence import RunEvidence
    from medeval.decisions.planning import planning_table

    if width is not None and not width > 0:
        fail(f"--width {width}: must be above 0")
    echo([planning_table(RunEvidence.open(folder), metric, width, difference, power)])


def verify(
    folder: Folder,
    rerun: Annotated[bool, typer.Option("--rerun", help="Repeat the run and compare the numbers.")] = False,
) -> None:
    """Check the hashes of every part of a run and its declared endpoint; --rerun repeats it."""
    from medeval.decisions.verify import verify as check
    from medeval.runs import Run

    found = check(Run.open(folder), _again if rerun else None)
    for problem in found.problems:
        typer.echo(problem, err=True)
    told = f"; {found.rerun}" if found.rerun else ""
    typer.echo(f"{found.checked} files checked{told}; {'no' if found.good else len(found.problems)} problems")
    if not found.good:
        raise typer.Exit(1)


def _again(run: Any) -> Any:
    """The same suite into a folder of its own, which is removed when the process ends."""
    import atexit
    import shutil
    import tempfile

    from medeval import api

    folder = Path(tempfile.mkdtemp(prefix="medeval-verify-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return api.run(run.suite(), folder / "again", options=api.RunOptions(report=False))


def export(
    folder: Folder,
    to: Annotated[str, typer.Option("--to", help="model-card, mlflow or csv.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder, or file for csv.")] = None,
    model: Annotated[str, typer.Option(help="Only this model's card.")] = "",
) -> None:
    """Export a run's scores: model cards with model-index, MLflow, CSV."""
    from medeval.decisions.evidence import RunEvidence
    from medeval.decisions.export import export as write

    default = {"csv": "scores.csv", "mlflow": "mlruns"}.get(to, "model-cards")
    for path in write(RunEvidence.open(folder), to, out or Path(default), model):
        typer.echo(str(path))


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        fail(f"--where {text!r}: write FACET=VALUE, for example --where dataset=amos")
    return name.strip(), value.strip()


def _known(given: str, known: Any, option: str) -> None:
    if given not in known:
        fail(f"{option} {given!r}; known: {', '.join(known)}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: cannot be written ({error.strerror})")
    typer.echo(f"{path} written")


COMMANDS = {
    "compare": compare,
    "table": table,
    "subgroups": subgroups,
    "plan": plan,
    "verify": verify,
    "export": export,
}
