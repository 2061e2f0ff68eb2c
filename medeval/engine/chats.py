"""The chat models of one process: one harness, and one event loop in a thread of its own.

Dialogues, patients and judges all run on this loop, so that they share one pool of connections, one limiter a server and
one budget; what is synchronous (reading, scoring of masks, writing) never does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medeval.suite import Suite
from medeval.suite.chats import client_blocks
from medeval.types import CaseFailure, UserError

if TYPE_CHECKING:
    from medeval.engine.plan import PlannedCell
    from medeval.llm import Chat, Harness
    from medeval.llm.model import ChatModel

T = TypeVar("T")
FOLDER = "llm"
DOCTOR = "doctor"  # the role of a model under test
_THREADS = 16  # of the loop's own executor: outputs are handed over and small files read there
_PATIENCE = 10.0  # seconds that cancelled work has to end


class RunStopped(UserError):
    """A budget is spent, or a server can be asked no more: what was finished is kept, and the same command goes on."""

    exit_code = 3


class Chats:
    """Made with a run; nothing is opened before it is needed.

    folder: where cache and logs of the harness go. share: this process's share of the budgets.
    """

    def __init__(self, suite: Suite, folder: Path, share: float = 1.0) -> None:
        self._suite = suite
        self._folder = folder
        self._share = share
        self._lock = threading.RLock()
        self._harness: Harness | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # -- chat models --------------------------------------------------------------------------------------------

    @property
    def harness(self) -> Harness:
        """The run's harness. Raises ``UserError`` for a cache or price table that cannot be used."""
        with self._lock:
            if self._harness is None:
                from medeval.llm import Harness, HarnessSettings
                from medeval.llm.secrets import remember

                for value in self._suite.hidden:
                    remember(value)
                settings = self._suite.llm or HarnessSettings.model_validate({})
                self._harness = Harness(settings, self._folder, share=self._share, base=self._suite.base)
            return self._harness

    def open(self, block: Mapping[str, Any], role: str, seed: int | None = None) -> Chat:
        """A role's way to the model of a client block.

        seed: the cell's, one of the suite's: the cells of a repeated suite draw their own replies.
        """
        chat = self.harness.chat(block, role)
        seeds = self._suite.seeds
        return chat if seed is None or seed == seeds[0] else chat.repeated(seeds.index(seed), seed)

    def model(self, name: str, seed: int | None = None) -> Chat:
        """The chat model that the suite calls so, as the model under test."""
        return self.open(self._suite.model_specs[name].options, DOCTOR, seed)

    def dialogue(self, name: str) -> AbstractContextManager[Any]:
        """While inside, calls of this task of the loop are charged to one dialogue's budget and clock."""
        return self.harness.dialogue(name) if self._asks else nullcontext()

    @cached_property
    def _asks(self) -> bool:
        """True when the suite names a chat model."""
        tasks = (client_blocks(task.model_dump(mode="json")) for task in self._suite.tasks)
        return any(spec.chat for spec in self._suite.model_specs.values()) or any(
            any(True for _ in t) for t in tasks
        )

    def check(self, cells: Iterable[tuple[PlannedCell, bool]], scores: bool = True) -> None:
        """Raises ``UserError`` for what can be known before the first call: a missing key, package, file or price, and a
        model that its server does not list.

        cells: with True where outputs are asked for, False where kept ones are scored, which asks neither model nor patient.
        scores: False where nothing is scored, which asks no judge.
        """
        try:
            models: dict[str, ChatModel] = {}
            for place, (block, role) in self._asked(cells, scores).items():
                try:
                    models[place] = self.harness.chat(block, role).model
                    models[place].check()
                except UserError as error:
                    raise UserError(f"{place}: {error}") from None
            if models and self.harness.settings.cache != "replay":
                self._check_listed(models)
        except UserError:
            self.close()
            raise

    def _check_listed(self, models: Mapping[str, ChatModel]) -> None:
        """One request a client, however many roles it has. Raises ``UserError`` with every unknown model."""
        once = {id(model): (place, model) for place, model in reversed(list(models.items()))}

        async def unlisted() -> list[str]:
            return await asyncio.gather(*(model.unlisted() for _, model in once.values()))

        told = zip(once.values(), self.run(unlisted()), strict=True)
        wrong = [f"{place}: {reason}" for (place, _), reason in told if reason]
        if wrong:
            raise UserError("\n".join(reversed(wrong)))

    def _asked(
        self, cells: Iterable[tuple[PlannedCell, bool]], scores: bool
    ) -> dict[str, tuple[Mapping[str, Any], str]]:
        """Where it stands in the suite -> (block, role) of every chat model that the cells ask."""
        found: dict[str, tuple[Mapping[str, Any], str]] = {}
        for planned, predicts in cells:
            spec, task = self._suite.model_specs[planned.cell.model], planned.cell.task
            if spec.chat and predicts:
                found[f"models.{planned.cell.model}"] = spec.options, DOCTOR
            stages = {"predict": predicts, "score": scores}
            options = {
                name: value
                for stage in ("predict", "score")
                if stages[stage]
                for name, value in task.fingerprint(stage).items()
            }
            for path, block in client_blocks(options):
                role = str(path[0]).rstrip("s")  # patient:, judges: and the like are called by their key
                found[".".join(map(str, ("tasks", task.label, *path)))] = block, role
        return found

    def catch_up(self) -> None:
        """Count what other processes of the run have spent since; between cells, when nothing is asked here."""
        with self._lock:
            if self._harness is not None:
                self._harness.catch_up()

    def line(self) -> str:
        """What is going on, for a progress bar; "" while no chat model was asked."""
        return "" if self._harness is None else self._harness.line()

    # -- the loop -----------------------------------------------------------------------------------------------

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The same, waited for. Ctrl-C cancels it, and waits until it has ended."""
        ended = threading.Event()

        async def told() -> T:
            try:
                return await work
            finally:
                ended.set()

        future = self.submit(told())
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                ended.wait(_PATIENCE)
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(ThreadPoolExecutor(_THREADS, "chats"))
                self._thread = threading.Thread(target=self._loop.run_forever, name="chats", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Close connections, cache and logs, and end the loop; a closed one can be used again."""
        with self._lock:
            harness, self._harness = self._harness, None
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            if harness is not None:
                harness.store.close()
            return
        asyncio.run_coroutine_threadsafe(_closed(harness), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _closed(harness: Harness | None) -> None:
    if harness is not None:
        await harness.close()
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()  # pools of connections are held by generators
    await loop.shutdown_default_executor()


def stops_run(error: BaseException) -> bool:
    """True for a failure after which no further unit is worth starting until the user changes something."""
    return isinstance(error, CaseFailure) and bool(getattr(error, "stops_run", False))
