"""``run``: a suite in, a run folder out. Every stop on the way loses nothing that was finished."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medeval.engine.artifacts import prepared
from medeval.engine.describe import warnings
from medeval.engine.finish import finish
from medeval.engine.manifest import make_manifest
from medeval.engine.plan import Plan, PlannedCell, Shard
from medeval.engine.processes import ProcessPool, in_child
from medeval.engine.progress import Progress, Silent
from medeval.engine.recorder import UnitResult
from medeval.engine.resume import pending
from medeval.engine.worker import Job, Settings, Worker
from medeval.metrics.registry import get_metric
from medeval.runs.files import locked, sweep
from medeval.runs.folder import RunFolder
from medeval.runs.run import Run
from medeval.suite import Suite
from medeval.types import MetricError, RunError, UserError


@dataclass(frozen=True)
class RunOptions:
    """How a run is executed; none of it changes its numbers.

    workers: processes that predict; 1 = this process. shard: which part of the units. retry_errors: do units again whose
    failure was nobody's model's. fail_fast: stop at the first failure. report: write report.html at the end.
    """

    workers: int = 1
    shard: Shard = field(default_factory=Shard)
    retry_errors: bool = False
    fail_fast: bool = False
    keep_predictions: bool = True
    save_predictions: bool = False
    report: bool = True


class FailFast(UserError):
    """``--fail-fast``: a case failed."""


def run(
    suite: Suite, out: Path | str, options: RunOptions | None = None, progress: Progress | None = None
) -> Run:
    """Execute a suite into the folder ``out``, or continue or grow the run that is there.

    Raises ``SuiteError``, ``DatasetError`` or ``RunError`` before any work for what can be known then; ``RunError`` after
    all other cells for a model that cannot be built, or at once for a full disk; ``KeyboardInterrupt`` when stopped.
    """
    options = options or RunOptions()
    folder = RunFolder(Path(out))
    folder.create()
    with locked(folder.path):
        sweep(folder.path)
        plan = Plan(suite, options.shard)
        _Runner(plan, folder, options, progress or Silent()).run()
        finish(plan, folder, options.report)
    return Run.open(folder.path)


def score(run_: Run, metrics: tuple[str, ...] = (), progress: Progress | None = None) -> Run:
    """Score a run's kept predictions again, with further metrics and no model.

    metrics: added to every task whose outputs they can measure. Raises ``RunError`` when predictions are not there.
    """
    suite = _with_metrics(run_.suite(), metrics)
    folder = RunFolder(run_.path)
    with locked(folder.path):
        sweep(folder.path)
        plan = Plan(suite, Shard.parse(run_.shard()))
        _Runner(plan, folder, RunOptions(), progress or Silent(), score_only=True).run()
        finish(plan, folder, report=True)
    return Run.open(folder.path)


def _with_metrics(suite: Suite, metrics: tuple[str, ...]) -> Suite:
    """The suite with metrics added to each task whose outputs they measure. Raises ``MetricError``."""
    data = suite.resolved()
    for metric in map(get_metric, metrics):
        fits = [
            entry
            for entry, task in zip(data["tasks"], suite.tasks, strict=True)
            if issubclass(task.pair, metric.pair)
        ]
        if not fits:
            raise MetricError(f"metric {metric.name!r} measures {metric.pair.__name__}: no task of this run yields that")
        for entry in fits:
            entry["metrics"] = list(dict.fromkeys([*entry["metrics"], metric.name]))
    return Suite.from_dict(data, base=suite.base)


class _Runner:
    """The cells of one plan, one after another, grouped by model so that each is built once."""

    def __init__(
        self, plan: Plan, folder: RunFolder, options: RunOptions, progress: Progress, score_only: bool = False
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._options = options
        self._progress = progress
        self._score_only = score_only
        self._settings = Settings(keep_predictions=options.keep_predictions)
        self._broken: dict[str, str] = {}
        self._model: tuple[str, Any] = ("", None)

    def run(self) -> None:
        """All that is pending."""
        work = [
            (number, planned, pending(self._plan, planned, self._folder, self._options.retry_errors))
            for number, planned in enumerate(self._plan.cells)
        ]
        for dataset, data in self._plan.datasets.items():
            self._folder.write_cases(dataset, list(data.index), self._plan.fingerprints[dataset])
        self._folder.write_manifest(make_manifest(self._plan, self._folder.manifest()))
        for line in warnings(self._plan):
            self._progress.note(line)
        order = list(self._plan.classes)
        for number, planned, jobs in sorted(work, key=lambda item: (order.index(item[1].cell.model), item[0])):
            self._run_cell(number, planned, jobs)
        if self._broken:
            raise RunError("; ".join(f"model {name!r} could not be built: {why}" for name, why in self._broken.items()))

    def _run_cell(self, number: int, planned: PlannedCell, jobs: list[Job]) -> None:
        with self._progress.cell(planned.label, len(planned.units), len(planned.units) - len(jobs)) as advance:

            def on_result(result: UnitResult) -> None:
                self._record(result)
                advance(result)

            rescored = [job for job in jobs if job.work == "score"]
            fresh = [job for job in jobs if job.work == "predict"]
            if self._score_only and fresh:
                raise RunError(
                    f"{self._folder.path}: {len(fresh)} units of {planned.label} have no kept predictions; "
                    "continue the run first with `medeval run`"
                )
            if rescored:
                Worker(self._plan, planned, self._folder, self._settings).run(rescored, on_result)
            if fresh:
                self._predict(number, planned, fresh, on_result)

    def _predict(
        self, number: int, planned: PlannedCell, jobs: list[Job], on_result: Callable[[UnitResult], None]
    ) -> None:
        timeout = self._plan.suite.model_specs[planned.cell.model].timeout
        open_task = inspect.isasyncgenfunction(planned.cell.task.predict)
        apart = in_child(self._options.workers, timeout) and not open_task
        needs_model = not apart or bool(planned.cell.task.prepares_from())
        model = self._built(planned.cell.model) if needs_model else None
        if planned.cell.model in self._broken:
            return
        artifact = prepared(self._plan, planned, self._folder, model)
        if apart:
            pool = ProcessPool(
                self._plan, number, self._folder, self._settings, artifact, self._options.workers, timeout
            )
            pool.run(jobs, on_result)
        else:
            worker = Worker(self._plan, planned, self._folder, self._settings, model, artifact)
            worker.run(jobs, on_result)

    def _built(self, name: str) -> Any:
        """The model, built once for all its cells in a row; the one before it is dropped first."""
        if self._model[0] != name:
            self._model = ("", None)
            try:
                self._model = (name, self._plan.build_model(name))
            except Exception as error:
                self._broken[name] = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                self._folder.log("error", model=name, error=self._broken[name])
                return None
        return self._model[1]

    def _record(self, result: UnitResult) -> None:
        unit = result.unit
        self._folder.log(
            "unit", work=result.work, task=unit.task, dataset=unit.dataset, model=unit.model, arm=unit.arm,
            seed=unit.seed, cases=list(unit.case_ids), records=result.records, failed=dict(result.failed),
            errors=list(result.errors), seconds=round(result.seconds, 4),
        )  # fmt: skip
        if result.failed and self._options.fail_fast:
            raise FailFast(f"stopped at the first failure, as --fail-fast asks: {result.errors[0]}")
