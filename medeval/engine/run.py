"""``run``: a suite in, a run folder out. Every stop on the way loses nothing that was finished."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path
from typing import Any

from medeval.decisions.verify import declare
from medeval.engine.artifacts import prepared
from medeval.engine.chats import FOLDER as CHATS
from medeval.engine.chats import Chats, RunStopped
from medeval.engine.describe import warnings
from medeval.engine.devices import assigned, check_devices, disagreements
from medeval.engine.export import export_predictions
from medeval.engine.finish import finish
from medeval.engine.manifest import make_manifest
from medeval.engine.options import RunOptions
from medeval.engine.plan import Misfit, Plan, PlannedCell, Shard
from medeval.engine.processes import ProcessPool
from medeval.engine.progress import Progress, Silent
from medeval.engine.reading import Job
from medeval.engine.recorder import UnitResult, blame_task
from medeval.engine.resume import drop_superseded, pending
from medeval.engine.serving import ModelNotBuilt, built
from medeval.engine.shifts import Pool
from medeval.engine.worker import OnResult, Settings, Worker
from medeval.metrics.registry import get_metric
from medeval.runs.folder import RunFolder
from medeval.runs.place import opened
from medeval.runs.run import Run
from medeval.suite import Suite
from medeval.tasks.context import STOPS
from medeval.types import MetricError, RunError, UserError


class FailFast(UserError):
    """``--fail-fast``: a case failed."""

    exit_code = 1  # the input was right


class _NotPrepared(Exception):
    """The cell's records say why."""


def run(
    suite: Suite, out: Path | str, options: RunOptions | None = None, progress: Progress | None = None
) -> Run:
    """Execute a suite into the folder or URL ``out``, or continue or grow the run that is there.

    Raises ``SuiteError``, ``DatasetError`` or ``RunError`` before any work for what can be known then; ``RunError`` after
    all other cells for a model that cannot be built, or at once for a full disk; ``KeyboardInterrupt`` when stopped.
    """
    options = options or RunOptions()
    progress = progress or Silent()
    _check(options)
    with (
        assigned(next(iter(options.devices), None)),
        opened(out, (options.shard.number, options.shard.count), progress.note) as folder,
    ):
        plan = Plan(suite, options.shard)
        runner = _Runner(plan, folder, options, progress)
        runner.run()
        _finish(plan, folder, options)
        runner.tell_broken()
        runner.tell_stopped()
    return Run(folder)


def _check(options: RunOptions) -> None:
    """Raises ``UserError`` for what this machine has not."""
    check_devices(options.devices)
    if options.engine == "ray":
        from medeval.engine.cluster import check_ray

        check_ray()


def score(run_: Run, metrics: tuple[str, ...] = (), progress: Progress | None = None) -> Run:
    """Score a run's kept predictions again, with further metrics and no model.

    metrics: added to every task whose outputs they can measure. Raises ``RunError`` when predictions are not there.
    """
    suite = _with_metrics(run_.suite(), metrics)
    shard, progress = Shard.parse(run_.shard()), progress or Silent()
    with opened(run_.where, (shard.number, shard.count), progress.note) as folder:
        plan = Plan(suite, shard)
        plan.trust(run_.manifest["cells"])
        runner = _Runner(plan, folder, RunOptions(), progress, score_only=True)
        runner.run()
        _finish(plan, folder, RunOptions())
        runner.tell_stopped()
    return Run(folder)


def _finish(plan: Plan, folder: RunFolder, options: RunOptions) -> None:
    drop_superseded(plan, folder)
    finish(plan, folder, options.report)
    if options.save_predictions or plan.suite.save_predictions:
        export_predictions(plan, folder)


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
            raise MetricError(
                f"metric {metric.name!r} measures {metric.pair.__name__}: no task of this run yields that"
            )
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
        self._settings = Settings(keep_predictions=options.keep_predictions, score=options.score)
        self._chats = Chats(plan.suite, folder.path / CHATS)
        progress.status = self._chats.line
        self._stopped: RunStopped | None = None
        self._broken: dict[str, ModelNotBuilt] = {}
        self._model: tuple[str, Any] = ("", None)
        self._pool: Pool | None = None

    def run(self) -> None:
        """All that is pending."""
        work = [
            (number, planned, pending(self._plan, planned, self._folder, self._options.retry_errors))
            for number, planned in enumerate(self._plan.cells)
        ]
        if self._score_only:
            self._check_kept(work)
        if not self._options.score:
            work = [(n, planned, [job for job in jobs if job.work == "predict"]) for n, planned, jobs in work]
        self._chats.check(
            ((planned, any(job.work == "predict" for job in jobs)) for _, planned, jobs in work if jobs),
            scores=self._options.score,
        )
        for dataset, data in self._plan.datasets.items():
            self._folder.write_cases(dataset, list(data.index), self._plan.fingerprints[dataset])
        self._folder.write_manifest(make_manifest(self._plan, self._folder.manifest()))
        declare(self._folder.path)
        if not self._score_only:
            told = disagreements(self._plan.suite, self._options.devices)
            for line in [*self._plan.answers.lines(), *warnings(self._plan), *told]:
                self._progress.note(line)
        order = list(self._plan.classes)
        try:
            if any(
                self._apart(planned) and any(job.work == "predict" for job in jobs)
                for _, planned, jobs in work
            ):
                self._others()  # a cluster that cannot be reached is told before work starts
            for number, planned, jobs in sorted(
                work, key=lambda item: (order.index(item[1].cell.model), item[0])
            ):
                self._run_cell(number, planned, jobs)
        except RunStopped as stopped:
            self._stopped = stopped
            self._folder.log("stopped", reason=str(stopped))
        finally:
            if self._pool is not None:
                self._pool.leave()
            self._chats.close()

    def _check_kept(self, work: list[tuple[int, PlannedCell, list[Job]]]) -> None:
        for _, planned, jobs in work:
            if fresh := sum(job.work == "predict" for job in jobs):
                raise RunError(
                    f"{self._folder.path}: {fresh} units of {planned.label} have no kept predictions; "
                    "continue the run first with `medeval run`"
                )

    def tell_broken(self) -> None:
        """Raises ``RunError`` when models could not be built: all other cells are done, and summed up, by then."""
        if self._broken:
            raise RunError("; ".join(f"model {name!r}: {why}" for name, why in self._broken.items()))

    def tell_stopped(self) -> None:
        """Raises ``RunStopped`` where a budget or a server ended the run: what was finished is summed up by then."""
        if self._stopped is not None:
            units = [unit for planned in self._plan.cells for unit in planned.units]
            done = sum(self._folder.units.has("records", unit) for unit in units)
            raise RunStopped(
                f"stopped: {self._stopped}. {done} of {len(units)} units are done and kept in {self._folder.where}; the same "
                "command goes on from there, and pays for no reply twice"
            )

    def _run_cell(self, number: int, planned: PlannedCell, jobs: list[Job]) -> None:
        self._chats.catch_up()
        with self._progress.cell(
            planned.label, len(planned.units), len(planned.units) - len(jobs)
        ) as advance:

            def on_result(result: UnitResult) -> None:
                self._record(result)
                advance(result)

            rescored = [job for job in jobs if job.work == "score"]
            fresh = [job for job in jobs if job.work == "predict"]
            if rescored:
                self._worker(planned).run(rescored, on_result)
            if fresh:
                self._predict(number, planned, fresh, on_result)

    def _predict(self, number: int, planned: PlannedCell, jobs: list[Job], on_result: OnResult) -> None:
        """Ask the model, here or in child processes; a model that cannot be built leaves its cells undone."""
        name = planned.cell.model
        if name in self._broken:
            self._leave_out(planned)
            return
        apart = self._apart(planned)
        try:
            model = self._built(name) if not apart or planned.cell.task.prepares_from() else None
            worker = self._worker(planned, model)
            worker.artifact = self._prepared(worker, jobs, on_result)
            if apart:
                self._share_out(number, worker, jobs, on_result)
            else:
                worker.run(jobs, on_result)
        except _NotPrepared:
            return
        except ModelNotBuilt as error:
            self._broken[name] = error
            self._folder.log("error", model=name, error=str(error))
            self._leave_out(planned)

    def _leave_out(self, planned: PlannedCell) -> None:
        cell = planned.cell
        reason = str(self._broken[cell.model])
        self._plan.misfits.append(Misfit(cell.task.label, cell.dataset, cell.model, reason))

    def _apart(self, planned: PlannedCell) -> bool:
        """Whether other processes ask the model: several, or one that can be killed, or a cluster's.

        Not for dialogues: many are open at once on one event loop, they wait for servers and not for processors, and one
        limiter and one budget hold for all of them.
        """
        if inspect.isasyncgenfunction(planned.cell.task.predict):
            return False
        timeout = self._plan.suite.model_specs[planned.cell.model].timeout
        return self._options.engine == "ray" or self._options.processes > 1 or timeout is not None

    def _share_out(self, number: int, worker: Worker, jobs: list[Job], on_result: OnResult) -> None:
        """Have the jobs done by other processes.

        Judges that are chat models are asked from here when the cluster has answered: their cache, log and budget are here.
        """
        timeout = self._plan.suite.model_specs[worker.planned.cell.model].timeout
        judged = inspect.iscoroutinefunction(worker.task.score) and self._options.score
        if self._options.engine == "local" or not judged:
            self._others().run(number, worker.artifact, timeout, jobs, on_result)
            return
        answered: list[Job] = []
        self._others().run(
            number, worker.artifact, timeout, jobs,
            lambda result: answered.append(Job(result.unit, "score")), measured=False,
        )  # fmt: skip
        self._worker(worker.planned).run(answered, on_result)

    def _others(self) -> Pool:
        """The other processes, made at their first use."""
        if self._pool is None:
            self._pool = self._made_pool()
        return self._pool

    def _made_pool(self) -> Pool:
        options = self._options
        if options.engine == "ray":
            from medeval.engine.cluster import RayPool

            return RayPool(self._plan, self._folder, self._settings, options, self._progress.note)
        return ProcessPool(self._plan, self._folder, self._settings, options.processes, options.devices)

    def _worker(self, planned: PlannedCell, model: Any = None) -> Worker:
        return Worker(self._plan, planned, self._folder, self._settings, model, chats=self._chats)

    def _prepared(self, worker: Worker, jobs: list[Job], on_result: OnResult) -> Path | None:
        """The prepared artifact; when making it fails, so does all that was to be asked of it."""
        try:
            return prepared(self._plan, worker.planned, self._folder, worker.model)
        except STOPS:
            raise
        except Exception as error:
            self._folder.log(
                "error", cell=worker.planned.label, error=str(error), trace=traceback.format_exc()
            )
            worker.fail_all(jobs, blame_task(error), on_result)
            raise _NotPrepared from error

    def _built(self, name: str) -> Any:
        """The model, built once for all its cells in a row; what the one before it held is freed first."""
        if self._model[0] != name:
            if self._pool is not None:
                self._pool.close()
            self._model = ("", None)
            self._model = (name, built(self._plan, name, self._chats))
        return self._model[1]

    def _record(self, result: UnitResult) -> None:
        unit = result.unit
        self._folder.log(
            "unit", work=result.work, task=unit.task, dataset=unit.dataset, model=unit.model, arm=unit.arm,
            seed=unit.seed, cases=list(unit.case_ids), records=result.records, failed=dict(result.failed),
            errors=list(result.errors), seconds=round(result.seconds, 4),
        )  # fmt: skip
        self._folder.finished(unit)
        if result.failed and self._options.fail_fast:
            raise FailFast(f"stopped at the first failure, as --fail-fast asks: {result.errors[0]}")
