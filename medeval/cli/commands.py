"""The command line: thin. Every command is one call into the library, imported when the command runs.

Exit codes: 0 fine; 1 it ran, but some cases failed or a declared endpoint is not met; 2 the user's input is wrong (a message,
never a traceback); 3 stopped because a budget is spent or a chat model can be asked no more (the same command goes on);
130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from medeval.cli import cache, check, dataset, decisions, judges, report
from medeval.cli.output import echo, fail, run_place

app = typer.Typer(
    name="medeval",
    help="Evaluate medical foundation models: one YAML suite in; records, scores with intervals and a report out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(dataset.app, name="dataset")
app.add_typer(cache.app, name="cache")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", parser=run_place, help="The run folder or URL (s3://...); default runs/NAME."
    ),
]


@app.command()
def run(
    suite: Annotated[
        str, typer.Argument(help="A suite: YAML file or registered name (`medeval list suites`).")
    ],
    out: Out = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override: models.walker.beta=10; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that predict; default 1, one a device, or a whole cluster."),
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: workers on a Ray cluster.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="The Ray cluster: auto, HOST:PORT or ray://HOST:PORT; default one of this machine."
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0, help="GPUs of a Ray worker; 0.5: two share one, 0: CPU; default 1 if there are any."
        ),
    ] = None,
    devices: Annotated[
        str,
        typer.Option(
            help="Without Ray: cuda:0,cuda:1 ... for the workers in turn, where a model says device: auto."
        ),
    ] = "",
    shard: Annotated[str, typer.Option(help="Only every N-th unit: K/N; see `medeval merge`.")] = "1/1",
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Do units again that failed for no fault of the model.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed case.")] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep-predictions/--no-keep-predictions", help="Keep packed predictions to score again."
        ),
    ] = True,
    save_predictions: Annotated[
        bool, typer.Option("--save-predictions", help="Also write masks as NIfTI or PNG under artifacts/.")
    ] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    score_now: Annotated[
        bool, typer.Option("--score/--no-score", help="Ask the models alone; `medeval score` measures later.")
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Run a suite, or continue or grow the run that is in the folder."""
    from medeval import api

    loaded = api.load_suite(suite, set_ or ())
    parsed = api.Shard.parse(shard)
    if dry_run:
        echo(api.describe(loaded, parsed))
        return
    options = api.RunOptions(
        workers, parsed, retry_errors, fail_fast, keep, save_predictions, report, score_now,
        engine, address, gpus_per_worker, api.parse_devices(devices),  # type: ignore[arg-type]  # RunOptions checks it
    )  # fmt: skip
    folder = out or Path("runs") / loaded.name
    with _stoppable(folder):
        done = api.run(loaded, folder, options=options, progress=_progress(quiet))
    _finished(done, quiet)


@app.command()
def score(
    folder: Annotated[Path, typer.Argument(parser=run_place, help="A run folder with kept predictions.")],
    metrics: Annotated[
        list[str] | None, typer.Option("--metrics", "-m", help="Further metrics; repeatable.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score a run's kept predictions again, with further metrics and no model."""
    from medeval import api

    with _stoppable(folder):
        done = api.score(folder, metrics or (), progress=_progress(quiet))
    _finished(done, quiet)


@app.command(context_settings={"allow_interspersed_args": True})
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted label maps (NIfTI or PNG).")],
    references: Annotated[
        Path, typer.Argument(help="Folder of reference label maps, or an nnU-Net dataset.")
    ],
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metrics", "-m", help="Metrics; repeatable, or several after one flag."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--label", help="NAME=VALUE of a structure; repeatable.")
    ] = None,
    out: Out = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Score a folder of predictions against references; no suite, no model. Continues where it was stopped."""
    from medeval import api

    predictions, references, named = _after_metrics(predictions, references, more or ())
    names = tuple(metrics or ()) + tuple(named) or ("dice", "iou", "hd95", "nsd@2mm")
    folder = out or api.evaluation_folder(predictions)
    with _stoppable(folder):
        done = api.evaluate(
            predictions,
            references,
            folder,
            metrics=names,
            labels=_labels(labels or ()),
            options=api.RunOptions(workers=workers),
            progress=_progress(quiet),
        )
    _finished(done, quiet)


def _after_metrics(first: Path, second: Path, more: Sequence[str]) -> tuple[Path, Path, Sequence[str]]:
    """The two folders and further metrics of ``--metrics dice hd95 PREDICTIONS REFERENCES``: the flag may stand first."""
    words = [str(first), str(second), *more]
    folders = [Path(word) for word in words[-2:]]
    if first.exists() or len(words) == 2 or not all(folder.exists() for folder in folders):
        return first, second, more
    return folders[0], folders[1], words[:-2]


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(parser=run_place, help="Folder of the merged run.")],
    shards: Annotated[list[Path], typer.Argument(parser=run_place, help="Run folders of the shards.")],
    quiet: Quiet = False,
) -> None:
    """Put the shards of a run together."""
    from medeval import api

    with _stoppable(out):
        done = api.merge(out, shards)
    _finished(done, quiet)


@app.command()
def init(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="nnunet, sa-med2d, image-mask-folder ...")],
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the dataset.")],
    file: Annotated[Path, typer.Option("--file", "-f", help="The suite to write.")] = Path("suite.yaml"),
    predictions: Annotated[
        Path | None, typer.Option(help="Folder of somebody's outputs to compare with.")
    ] = None,
) -> None:
    """Write a suite that runs, for a dataset folder."""
    from medeval import api

    text = api.starter(format_, root, predictions, str(file))
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        fail(f"{file} exists already; choose another name with --file")
    except OSError as error:
        fail(f"{file}: cannot be written ({error.strerror})")
    typer.echo(f"{file} written. Next: medeval run {file}")


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="adapters, datasets, tasks, clients, adaptations, metrics, click-rules, suites or all."
        ),
    ] = "all",
) -> None:
    """List what a suite can name."""
    from medeval import api

    echo(api.listing(what))


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(parser=run_place, help="A run folder.")],
    by: Annotated[str, typer.Option(help="A group of the suite's `by`, for example `structure`.")] = "",
    published: Annotated[
        str, typer.Option(help="Published figures to print below, for example `sam-med2d`.")
    ] = "",
) -> None:
    """Print the score tables of a run."""
    from medeval import api

    echo(api.tables(api.Run.open(folder), by))
    if published:
        echo(api.published_tables(published))


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (`medeval list recipes`).")],
    config: Annotated[Path, typer.Option("--config", "-c", help="YAML file of its options.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; default runs/train-RECIPE.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train by a paper's recipe; the same command goes on after any stop."""
    from medeval import api

    weights = api.train(recipe, config, out or Path("runs") / f"train-{recipe}", tell=_tell(quiet))
    typer.echo(f"weights: {weights}")


@app.command()
def weights(
    action: Annotated[
        str, typer.Argument(metavar="convert", help="convert: rewrite a checkpoint as safetensors.")
    ],
    source: Annotated[Path, typer.Argument(metavar="IN", help="A checkpoint; nothing that it holds is run.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    key: Annotated[
        str | None, typer.Option("--key", help="Where in the file the weights are; default: the usual names.")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="A class in the file to read as an empty stand-in; repeat for more."),
    ] = None,
) -> None:
    """Convert a checkpoint without running what it holds: weights convert IN OUT.safetensors."""
    from medeval import api

    if action != "convert":
        fail(f"weights {action!r}: there is only `medeval weights convert IN OUT.safetensors`")
    typer.echo(api.convert_weights(source, target, key=key, ignore=tuple(ignore or ())))


@app.command()
def schema() -> None:
    """Print the JSON schema of a suite; editors complete from it."""
    import json

    from medeval import api

    typer.echo(json.dumps(api.Suite.json_schema(), indent=1))


@app.command()
def version() -> None:
    """Print the version."""
    from medeval import api

    typer.echo(api.package_version())


for _command in (
    decisions.compare, decisions.table, decisions.subgroups, decisions.plan, decisions.verify,
    decisions.export, judges.agreement, judges.annotate, check.check, check.new,
    report.report,
):  # fmt: skip
    app.command()(_command)


def main() -> None:
    """Entry point: errors that the user can mend are one message and exit code 2."""
    try:
        app()
    except KeyboardInterrupt:
        _say("stopped")
        sys.exit(130)
    except BrokenPipeError:  # `medeval list | head`
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        from medeval.types.errors import UserError  # here, for it brings numpy, and most commands end well

        if not isinstance(error, UserError):
            raise
        _say(f"error: {error}")
        sys.exit(getattr(error, "exit_code", 2))


@contextmanager
def _stoppable(folder: Path) -> Iterator[None]:
    """Ctrl-C says how to go on. (Click would turn it into its own ``Abort`` and exit code 1.)"""
    try:
        yield
    except KeyboardInterrupt:
        _say(f"\nstopped; what was finished is kept in {folder}. The same command goes on from there.")
        raise typer.Exit(130) from None


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _progress(quiet: bool) -> Any:
    from medeval.engine.progress import progress_for

    return progress_for(quiet)


def _tell(quiet: bool) -> Any:
    """Says a line on stderr; a line that is like the last one replaces it on a terminal."""
    end = "\r" if sys.stderr.isatty() else "\n"
    return (
        (lambda text: None)
        if quiet
        else (lambda text: print(f"{text:<78}", end=end, file=sys.stderr, flush=True))
    )


def _finished(done: Any, quiet: bool) -> None:
    """The tables, where the report is, and the exit code."""
    from medeval import api

    if not quiet:
        echo(api.tables(done))
        report = done.path / "report.html"
        typer.echo(f"\nrun: {done.where}" + (f"\nreport: {report}" if report.exists() else ""))
    failed, missed = api.failures(done), api.endpoint_missed(done)
    if failed:
        _say(f"{failed} records failed; their causes stand in the report and in {done.path / 'log.jsonl'}")
    if missed:
        _say(
            "the declared endpoint is not met; see `endpoint` in summary.json and the first section of the report"
        )
    if failed or missed:
        raise typer.Exit(1)


def _labels(given: Any) -> dict[str, Any] | None:
    labels: dict[str, Any] = {}
    for text in given:
        name, _, value = text.rpartition("=")
        if not name or not value.isdecimal():
            fail(f"--label {text!r}: write NAME=VALUE, for example --label liver=1")
        labels[name] = int(value)
    return labels or None
