"""What the engine hands to a task: randomness, journalled steps, timed model calls, other datasets.

``predict`` must be a deterministic function of its cases, its model's answers and its finished steps: then a killed run
continues in the middle of a session and ends in the same bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from medeval.types import Case, CaseFailure, InfrastructureFailure, ModelFailure, PluginError, RunError, rng

T = TypeVar("T")

if TYPE_CHECKING:
    from medeval.llm import Chat

OpenChat = Callable[[Mapping[str, Any], str], "Chat"]
MISSING = object()
STOPS = (
    RunError,
    PluginError,
)  # a full disk, an option that does not fit: they end the run and are nobody's record


class Journal(Protocol):
    """Finished steps of one unit of work, kept on disk as they finish."""

    def get(self, name: str) -> Any:
        """The kept value, or ``MISSING``."""

    def put(self, name: str, value: Any) -> Any:
        """Keep a value; on return it survives ``kill -9``. Gives it as it will be read back."""


class EarlyWork(Protocol):
    """Work on the case that comes next, begun in another thread while this one is asked; at most one case's is held."""

    def start(self, fn: Callable[[Case], Any]) -> None:
        """Begin ``fn`` of the next case as soon as that is read; nothing where there is none."""

    def take(self, case: Case) -> tuple[Any, float] | None:
        """What was begun of this very case and the seconds that it took, once it is there; None where it has to be done
        now: nothing was begun, it was ``MISSING``, or it failed. What failed is thrown away: done again, it fails as it would have failed.
        """

    def drop(self) -> bool:
        """Out of memory: let go of what was begun, and begin nothing more. False where nothing was."""


class NoEarlyWork:
    """Begins nothing: outside of a run, and where no cases are read ahead."""

    def start(self, fn: Callable[[Case], Any]) -> None:
        """Nothing."""

    def take(self, case: Case) -> tuple[Any, float] | None:
        """Always None."""
        return None

    def drop(self) -> bool:
        """Always False."""
        return False


class NoJournal:
    """Keeps nothing: for scoring and for tests."""

    def get(self, name: str) -> Any:
        """Always ``MISSING``."""
        return MISSING

    def put(self, name: str, value: Any) -> Any:
        """Forgets the value."""
        return value


@dataclass(frozen=True)
class Timing:
    """Seconds that one call took; outside of a record's identity."""

    case_id: str
    name: str
    seconds: float


class Context:
    """One unit's surroundings. A task sees nothing else of the engine.

    seed: the cell's seed. arm: the cell's arm. structures: every name that the dataset's labelling knows (may be empty).
    chat: ``chat(block, role)`` is a role's ``medeval.llm.Chat`` through the run's harness; None outside of a run.
    dialogue: ``with dialogue(name):`` charges all chat calls inside to one dialogue's budget and clock (``llm.dialogue``).
    early: work on the next case beside this one's.
    """

    def __init__(
        self,
        seed: int = 0,
        arm: str = "",
        journal: Journal | None = None,
        datasets: Mapping[str, Any] | None = None,
        structures: tuple[str, ...] = (),
        chat: OpenChat | None = None,
        dialogue: Callable[[str], AbstractContextManager[Any]] = nullcontext,
        early: EarlyWork | None = None,
    ) -> None:
        self.chat = chat
        self.dialogue = dialogue
        self.seed = seed
        self.arm = arm
        self.structures = structures
        self.timings: list[Timing] = []
        self._journal = journal or NoJournal()
        self._datasets = datasets or {}
        self._early = early or NoEarlyWork()

    @property
    def journalled(self) -> bool:
        """True when finished steps are kept: what is costly to pack need not be packed otherwise."""
        return not isinstance(self._journal, NoJournal)

    def rng(self, *parts: object) -> np.random.Generator:
        """A generator for (seed, *parts); name the case id, structure, prompt and round, never the model."""
        return rng(self.seed, *parts)

    def step(self, name: str, fn: Callable[[], T]) -> T:
        """``fn()``, or its kept value when an earlier try of this unit had finished it.

        name: unique in the unit, such as ``"case 7/round 3"``. The value is text, numbers, arrays, or lists and
        dictionaries of them; it is given as it is read back (a tuple as a list), so that a resumed run sees no other.
        """
        kept = self._journal.get(name)
        if kept is not MISSING:
            return kept
        return self._journal.put(name, fn())

    async def astep(self, name: str, fn: Callable[[], Awaitable[T]]) -> T:
        """The same for a coroutine function."""
        kept = self._journal.get(name)
        if kept is not MISSING:
            return kept
        return self._journal.put(name, await fn())

    def call(self, case_id: str, name: str, fn: Callable[..., T], *args: Any) -> T:
        """Ask the model under test: timed, and an exception becomes the model's failure.

        Raises ``ModelFailure``, or ``InfrastructureFailure`` when memory ran out, also with nothing of the next case in it.
        """
        try:
            return self._call(case_id, name, fn, args)
        except InfrastructureFailure:
            if not self._early.drop():
                raise
        return self._call(case_id, name, fn, args)

    def _call(self, case_id: str, name: str, fn: Callable[..., T], args: tuple[Any, ...]) -> T:
        begin = time.perf_counter()
        try:
            value = fn(*args)
            wait_for_device()
        except STOPS:
            raise
        except (Exception, SystemExit) as error:
            raise blame(error, name) from error
        self.timings.append(Timing(case_id, name, time.perf_counter() - begin))
        return value

    def begin_next(self, fn: Callable[[Case], Any]) -> None:
        """Begin ``fn`` of the next case in another thread, as soon as that is read, while this one is asked.

        fn: asks the model something of a case alone, which it allows beside other calls. Where there is no next case, or
        cases are not read ahead, nothing happens.
        """
        self._early.start(fn)

    def begun(self, case: Case, name: str) -> Any:
        """What ``begin_next`` has made of this very case (waits for it), or ``MISSING``: then it is to be done now.

        Its timings: ``name`` is what the work itself took, most of it beside the case before; ``"NAME waited"`` is how long
        this case still had to wait for it.
        """
        begin = time.perf_counter()
        found = self._early.take(case)
        if found is None:
            return MISSING
        value, seconds = found
        self.timings.append(Timing(case.id, name, seconds))
        self.timings.append(Timing(case.id, f"{name} waited", time.perf_counter() - begin))
        return value

    async def acall(self, case_id: str, name: str, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """The same for a coroutine function."""
        begin = time.perf_counter()
        try:
            value = await fn(*args)
        except STOPS:
            raise
        except (Exception, SystemExit) as error:
            raise blame(error, name) from error
        self.timings.append(Timing(case_id, name, time.perf_counter() - begin))
        return value

    def dataset(self, name: str) -> Any:
        """Another dataset of the suite, inputs only, for tasks that name one in an option (``context.dataset(...)``).

        Raises ``KeyError`` when the suite has none of this name.
        """
        return self._datasets[name]


def blame(error: BaseException, name: str) -> CaseFailure:
    """The failure that an exception inside a model call stands for."""
    if isinstance(error, CaseFailure):
        return error
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return InfrastructureFailure(f"out of memory in {name}: {error}")
    return ModelFailure(f"{name} raised {type(error).__name__}: {error}")


def wait_for_device() -> None:
    """CUDA works asynchronously: without this the next call would be charged for the last one's time.

    Only this thread's stream is waited for: what is begun of the next case has one of its own.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.current_stream().synchronize()
