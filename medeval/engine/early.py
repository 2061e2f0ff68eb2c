"""Work on the next case beside this one's: a model encodes an image while it is asked about the image before.

A thread of its own does it, one case at a time and at most one ahead. Nothing of it can be seen in a run but the clock: what
fails is thrown away and done again when the case is asked, so that its failure is told where it would have been told; after
an out of memory nothing is begun any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from typing import Any

from medeval.tasks.context import MISSING, blame, wait_for_device
from medeval.types import Case, InfrastructureFailure, Key

Read = Future[tuple[Case, Sequence[Key]]]


@dataclass(frozen=True, eq=False)
class _Begun:
    """A case that is being read, and what was begun of it: its value and seconds."""

    read: Read
    work: Future[tuple[Any, float]]

    @property
    def case(self) -> Case | None:
        """The case, once it could be read."""
        return self.read.result()[0] if self.read.done() and self.read.exception() is None else None


class Early:
    """Begins, holds and hands out the work of one case.

    pool: one thread. upcoming: the reading of the case that will be asked next, None where that is not known.
    All methods are called by the predicting thread.
    """

    def __init__(self, pool: Executor, upcoming: Callable[[], Read | None]) -> None:
        self._pool = pool
        self._upcoming = upcoming
        self._begun: _Begun | None = None
        self._off = False

    def start(self, fn: Callable[[Case], Any]) -> None:
        """Begin ``fn`` of the next case; what is still held of a case that was passed over is let go."""
        self._let_go()
        read = None if self._off else self._upcoming()
        if read is not None:
            self._begun = _Begun(read, self._pool.submit(_timed, fn, read))

    def take(self, case: Case) -> tuple[Any, float] | None:
        """See ``EarlyWork``."""
        begun = self._begun
        if begun is None or begun.case is not case:
            # A task that changes its cases on the way asks about none that was read.
            self._off = self._off or (
                begun is not None and begun.case is not None and begun.case.id == case.id
            )
            self._let_go()
            return None
        error = begun.work.exception()  # waits; Ctrl-C gets through
        self._begun = None
        if error is None:
            value, seconds = begun.work.result()
            return None if value is MISSING else (value, seconds)
        self._off = self._off or isinstance(blame(error, ""), InfrastructureFailure)
        return None

    def drop(self) -> bool:
        """See ``EarlyWork``."""
        self._off = self._off or self._begun is not None
        return self._let_go()

    def _let_go(self) -> bool:
        """Forget what is held, once nothing of it runs any more: a model is asked for one at a time."""
        begun, self._begun = self._begun, None
        if begun is None:
            return False
        if not begun.work.cancel():
            wait([begun.work])
        return True


def _timed(fn: Callable[[Case], Any], read: Read) -> tuple[Any, float]:
    case = read.result()[0]
    begin = time.perf_counter()
    value = fn(case)
    wait_for_device()
    return value, time.perf_counter() - begin
