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
from medeval.engine.evaluate import evaluation_suite
from medeval.engine.finish import failures, tables
from medeval.engine.manifest import package_version
from medeval.engine.plan import Plan, Shard
from medeval.engine.progress import Progress
from medeval.engine.published import published_tables
from medeval.engine.run import RunOptions
from medeval.engine.starters import starter
from medeval.engine.tools import convert_weights
from medeval.engine.training import train
from medeval.runs import Run
from medeval.suite import Suite

__all__ = [
    "Plan", "Run", "RunOptions", "Shard", "Suite", "convert_weights", "describe", "endpoint_missed", "evaluate", "evaluation_folder", "failures", "listing", "load_suite", "merge",
    "package_version", "published_tables", "run", "score", "starter", "tables",
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

    out: the run folder; default ``runs/<suite name>``. overrides: as ``--set``, for example ``["seed=1"]``.
    Raises ``SuiteError``, ``DatasetError``, ``PluginError`` or ``RunError``; a case's failure is a record, no exception.
    """
    loaded = load_suite(suite, overrides)
    return _run.run(loaded, Path(out) if out is not None else Path("runs") / loaded.name, options, progress)


def score(run: Run | Path | str, metrics: Sequence[str] = (), *, progress: Progress | None = None) -> Run:
    """Score a run's kept predictions again, with further metrics and no model. Raises ``RunError``, ``MetricError``."""
    return _run.score(run if isinstance(run, Run) else Run.open(run), tuple(metrics), progress)


def merge(out: Path | str, shards: Sequence[Path | str]) -> Run:
    """One run from the shards of it. Raises ``RunError`` when they are not shards of the same run."""
    return _merge.merge(Path(out), [Path(shard) for shard in shards])


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
