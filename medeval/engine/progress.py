"""Progress on a terminal, in a log, or not at all."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from medeval.engine.recorder import UnitResult
from medeval.engine.ticking import every

Advance = Callable[[UnitResult], None]


class Progress(Protocol):
    """What the runner tells while it works. status: what goes on beside the units (calls in flight, money), "" for nothing."""

    status: Callable[[], str]

    def note(self, text: str) -> None:
        """One line to the user."""

    def cell(self, label: str, total: int, done: int) -> Any:
        """A context manager that gives a function to be called with each unit's result."""


def _nothing() -> str:
    return ""


class Silent:
    """``--quiet``."""

    status: Callable[[], str] = staticmethod(_nothing)

    def note(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def cell(self, label: str, total: int, done: int) -> Iterator[Advance]:
        """Nothing."""
        yield lambda result: None


class Plain:
    """Lines, for pipes and logs: one at a cell's begin and end, and one at most every ``every`` seconds."""

    def __init__(self, every: float = 10.0) -> None:
        self._every = every
        self.status: Callable[[], str] = _nothing

    def note(self, text: str) -> None:
        """One line on stderr."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def cell(self, label: str, total: int, done: int) -> Iterator[Advance]:
        """Lines with the count, the rate and the failures."""
        begin = last = time.monotonic()
        finished, failed = done, 0

        def advance(result: UnitResult) -> None:
            nonlocal finished, failed, last
            finished += 1
            failed += bool(result.failed)
            now = time.monotonic()
            if now - last >= self._every:
                last = now
                rate = (finished - done) / max(now - begin, 1e-9)
                left = (total - finished) / rate if rate else 0.0
                told = f"({rate:.2f}/s, {left:.0f} s left){_failures(failed)}{self._status()}"
                self.note(f"{label}: {finished}/{total} {told}")

        kept = f", {done} kept from before" if done else ""
        self.note(f"{label}: {total} unit{'s' * (total != 1)}{kept}")

        def alive() -> None:
            if status := self._status():
                self.note(f"{label}: {finished}/{total}{status}")

        # long dialogues finish no unit for minutes, and must not look stuck
        with every(3 * self._every, alive, "progress"):
            yield advance
        if finished > done:
            self.note(f"{label}: done in {time.monotonic() - begin:.1f} s{_failures(failed)}{self._status()}")

    def _status(self) -> str:
        status = self.status()
        return f" · {status}" if status else ""


class Bars:
    """One rich progress bar a cell, with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self.status: Callable[[], str] = _nothing

    def note(self, text: str) -> None:
        """One line on stderr, text as it is."""
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def cell(self, label: str, total: int, done: int) -> Iterator[Advance]:
        """A bar; failures are counted at its end."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        status = self.status

        class Status(ProgressColumn):
            def render(self, task: Any) -> Text:
                return Text(status())

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}", markup=False),
            Status(),
        )
        begin, failed = time.monotonic(), 0
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(label, total=total, completed=done, rate="", failed="")

            def advance(result: UnitResult) -> None:
                nonlocal failed
                failed += bool(result.failed)
                finished = bar.tasks[0].completed + 1 - done
                rate = f"{finished / max(time.monotonic() - begin, 1e-9):.2f}/s"
                bar.update(task, advance=1, rate=rate, failed=_failures(failed))

            yield advance


def _failures(failed: int) -> str:
    return f", {failed} with failures" if failed else ""


def progress_for(quiet: bool) -> Progress:
    """Bars on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Plain()
