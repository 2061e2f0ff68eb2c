"""Cases read ahead of their use, and datasets as a task may see them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from medeval.runs.folder import UnitName
from medeval.types import Case, Key

ReadCase = Callable[[str], tuple[Case, Sequence[Key]]]


@dataclass(frozen=True)
class Job:
    """One unit to do: predict and score it, or score its kept predictions again.

    alone: a worker died at it, so nothing is begun beside it that the worker could die of instead.
    """

    unit: UnitName
    work: Literal["predict", "score"] = "predict"
    alone: bool = False


class Ahead:
    """Jobs with their cases' reads, submitted some cases before they are consumed, across the borders of jobs.

    more: False while the next job is not there yet; then nobody waits for it who has work in hand.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        readers: ThreadPoolExecutor,
        read: ReadCase,
        window: int,
        more: Callable[[], bool] = lambda: True,
    ) -> None:
        self._jobs = iter(jobs)
        self._readers = readers
        self._read = read
        self._window = window
        self._more = more
        self._unread: deque[tuple[Job, str]] = deque()
        self._queue: deque[tuple[Job, str, Future]] = deque()

    def __iter__(self) -> Iterator[tuple[Job, Iterator[tuple[str, Future]]]]:
        while self._fill():
            job = self._queue[0][0]
            cases = self._of(job)
            yield job, cases
            for _ in cases:  # whatever the task did, the next job begins at its own cases
                pass

    def upcoming(self) -> Future | None:
        """The reading of the case that the model will be asked about next; None where there is none (yet)."""
        if not self._queue and (self._unread or self._more()):
            self._fill()
        if not self._queue:
            return None
        job, _, read = self._queue[0]
        return read if job.work == "predict" and not job.alone else None

    def _of(self, job: Job) -> Iterator[tuple[str, Future]]:
        for _ in job.unit.case_ids:
            self._fill()
            _, case_id, future = self._queue.popleft()
            yield case_id, future

    def _fill(self) -> bool:
        while len(self._queue) < self._window and (self._unread or self._next()):
            job, case_id = self._unread.popleft()
            self._queue.append((job, case_id, self._readers.submit(self._read, case_id)))
        return bool(self._queue)

    def _next(self) -> bool:
        """Take one more job; False when there is none, or none yet."""
        if self._queue and not self._more():
            return False
        job = next(self._jobs, None)
        if job is None:
            return False
        self._unread.extend((job, case_id) for case_id in job.unit.case_ids)
        return True


class InputsOnly:
    """A dataset without its reference: what ``context.dataset(name)`` gives."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.index = dataset.index

    def read(self, case_id: str) -> Case:
        """The case's inputs; its reference is not read at all."""
        return self._dataset.read(case_id, ("inputs",))


def inputs_only(datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Every dataset of a suite without its labels."""
    return {name: InputsOnly(dataset) for name, dataset in datasets.items()}
