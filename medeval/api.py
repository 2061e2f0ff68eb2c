"""The library's verbs, as ``medeval.run`` and its companions; the command line calls these and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medeval.decisions.conclude import endpoint_missed
from medeval.engine import merge as _merge
from medeval.engine import run as _run
from medeval.engine.catalogue import listing
from medeval.engine.describe import describe
from medeval.engine.devices import parse_devices
from medeval.engine.evaluate import evaluation_suite
from medeval.engine.finish import failures, report_again, tables
from medeval.engine.manifest import package_version
from medeval.engine.plan import Plan, Shard
from medeval.engine.progress import Progress
from medeval.engine.published import published_tables
from medeval.engine.run import RunOptions
from medeval.engine.sharing import ShareOptions, share
from medeval.engine.starters import starter
from medeval.engine.tools import convert_weights
from medeval.engine.training import train
from medeval.runs import Run
from medeval.suite import Suite

__all__ = [
    "Plan",
    "Run",
    "RunOptions",
    "Shard",
    "ShareOptions",
    "Suite",
    "convert_weights",
    "describe",
    "endpoint_missed",
    "evaluate",
    "evaluation_folder",
    "failures",
    "listing",
    "load_suite",
    "merge",
    "package_version",
    "parse_devices",
    "published_tables",
    "report",
    "run",
    "score",
    "starter",
    "tables",
    "train",
]  # fmt: skip


def load_suite(suite: Suite | Mapping[str, Any] | Path | str, overrides: Sequence[str] = ()) -> Suite:
    """A suite from itself, plain data, a YAML file or a registered name. Raises ``SuiteError``."""
    if isinstance(suite, Suite):
        return suite
    return (
        Suite.from_dict(suite, overrides=overrides)
        if isinstance(suite, Mapping)
        else Suite.load(suite, overrides)
    )


def run(
    suite: Suite | Mapping[str, Any] | Path | str,
    out: Path | str | None = None,
    *,
    overrides: Sequence[str] = (),
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Run:
    """Execute a suite, or continue or grow the run that is in ``out``.

    out: the run folder, or a URL that fsspec reaches (``s3://bucket/run``); default ``runs/<suite name>``. overrides: as ``--set``, for example ``["seed=1"]``.
    Raises ``SuiteError``, ``DatasetError``, ``PluginError`` or ``RunError``; a case's failure is a record, no exception.
    """
    loaded = load_suite(suite, overrides)
    return _run.run(loaded, out if out is not None else Path("runs") / loaded.name, options, progress)


def score(run: Run | Path | str, metrics: Sequence[str] = (), *, progress: Progress | None = None) -> Run:
    """Score a run's kept predictions again, with further metrics and no model. Raises ``RunError``, ``MetricError``."""
    return _run.score(run if isinstance(run, Run) else Run.open(run), tuple(metrics), progress)


def report(
    run: Run | Path | str, out: Path | str | None = None, share_with: ShareOptions | None = None
) -> tuple[Path, Mapping[str, int]]:
    """Write a finished run's report again, or with ``share_with`` one that may be sent outside.

    out: default ``report.html`` in the run folder, ``shared.html`` or ``shared.json`` for a shared one. Returns the file,
    and what was withheld from it: rule -> how often. Raises ``RunError``, ``DatasetError``.
    """
    opened = (run if isinstance(run, Run) else Run.open(run)).fetch()
    if share_with is None:
        target = Path(out) if out is not None else opened.beside("report.html")
        report_again(opened, target)
        return target, {}
    target = Path(out) if out is not None else opened.beside(f"shared.{share_with.format}")
    return target, share(opened, target, share_with)


def merge(out: Path | str, shards: Sequence[Path | str]) -> Run:
    """One run from the shards of it. Raises ``RunError`` when they are not shards of the same run."""
    return _merge.merge(out, shards)


def evaluate(
    predictions: Path | str,
    references: Path | str,
    out: Path | str | None = None,
    *,
    metrics: Sequence[str] = ("dice", "iou"),
    labels: Mapping[str, Any] | None = None,
    by: Sequence[str] = (),
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Run:
    """Score a folder of predictions against a folder of references; no suite, no model.

    references: an nnU-Net dataset folder (or its labelsTs), or any folder of label maps (NIfTI or PNG).
    predictions: files of the same names. labels: name -> value(s) where the references do not tell.
    """
    suite = evaluation_suite(Path(predictions), Path(references), tuple(metrics), labels, tuple(by))
    return run(suite, out or evaluation_folder(predictions), options=options, progress=progress)


def evaluation_folder(predictions: Path | str) -> Path:
    """Where ``evaluate`` leaves its run unless it is told otherwise."""
    return Path("runs") / f"evaluate-{Path(predictions).resolve().name}"
