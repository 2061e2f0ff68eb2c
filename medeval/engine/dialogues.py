"""Asynchronous tasks (dialogues, models behind an API): many units in flight on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from medeval.engine.reading import Job
from medeval.tasks.context import STOPS, Context
from medeval.types import Case, CaseFailure, Failure, Output, Status

if TYPE_CHECKING:
    from medeval.engine.worker import OnResult, Worker


class _Timeout(CaseFailure):
    status = Status.TIMEOUT


def run_open(worker: Worker, subject: Any, jobs: Iterable[Job], on_result: OnResult) -> None:
    """All jobs, ``open_units`` of them at a time; synchronous work (reading, scoring, writing) never runs on the loop.

    Raises the first error that ends the run.
    """
    try:
        worker.chats.run(_run(worker, subject, jobs, on_result))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


async def _run(worker: Worker, subject: Any, jobs: Iterable[Job], on_result: OnResult) -> None:
    waiting = iter(jobs)

    async def lane() -> None:
        for job in waiting:
            if worker.stopped is not None:
                return
            await _run_one(worker, subject, job, on_result)

    async with asyncio.TaskGroup() as group:
        for _ in range(worker.settings.open_units):
            group.create_task(lane())


async def _run_one(worker: Worker, subject: Any, job: Job, on_result: OnResult) -> None:
    loop = asyncio.get_running_loop()
    journal = worker.journal(job)
    context = worker.context(journal)
    recorder = worker.recorder(job, context)
    cases = []
    for case_id in job.unit.case_ids:
        future = worker.readers.submit(worker.read, case_id)
        await asyncio.gather(asyncio.wrap_future(future), return_exceptions=True)
        case = worker.admit(recorder, case_id, future.result)
        cases += [case] if case is not None else []
    try:
        async for event in _events(worker, subject, job, context, cases):
            await loop.run_in_executor(None, recorder.take, event)
    except STOPS:
        raise
    except Exception as error:
        worker.tell(recorder, job, error)
    await recorder.scored()
    await loop.run_in_executor(worker.writer, worker.close, recorder, journal, on_result)


def _events(
    worker: Worker, subject: Any, job: Job, context: Context, cases: list[Case]
) -> AsyncIterator[Output | Failure]:
    if job.work == "score":
        return _as_async(worker.kept(job, cases))
    if worker.is_source:
        return _as_async(iter(worker.task.replay(subject, iter(cases), context)))
    limit = worker.plan.suite.model_specs[worker.planned.cell.model].timeout
    events: Any = worker.task.predict(subject, iter(cases), context)
    return events if limit is None else _within(limit * len(job.unit.case_ids), events)


async def _as_async(events: Iterator[Output | Failure]) -> AsyncIterator[Output | Failure]:
    for event in events:
        yield event


async def _within(limit: float, events: Any) -> AsyncIterator[Output | Failure]:
    """The events, or a timeout of the model when waiting for all of them takes longer than ``limit`` seconds.

    The limit holds around each ``anext`` and not around the loop: a timeout that is open while the generator is
    suspended would cancel its consumer.
    """
    loop = asyncio.get_running_loop()
    left = limit
    while True:
        begin = loop.time()
        try:
            async with asyncio.timeout(left) as clock:
                event = await anext(events)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if not clock.expired():  # the model's own, from its client
                raise
            raise _Timeout(f"no answer within {limit:g} s") from error
        left -= loop.time() - begin
        yield event
