"""A local model of Hugging Face transformers: chat template, batches, quantisation, pictures.

Requests that come within ``batch_wait`` seconds, or while the model works, are generated together, padded on the left. In a
batch rounding differs a little from one request alone, so greedy replies may differ in rare words; the batch's size is kept
in the reply's ``raw``. A request with a seed is generated alone, for a batch shares its random numbers.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from medeval.llm.clients.base import Capabilities, ClientIdentity
from medeval.llm.clients.failures import Filtered, classify
from medeval.llm.clients.local import Engine, load_engine
from medeval.llm.errors import Kind, TransportError
from medeval.llm.loops import PerLoop
from medeval.llm.replies import Reply
from medeval.llm.requests import ChatRequest
from medeval.types import UserError, digest

_SMALL = 1 << 20  # files up to this size are hashed whole; of weights, name and size


class TransformersClient:
    """model: a folder, or a name on the hub. revision: of the hub. device: auto, cpu, cuda, cuda:1 ... dtype: auto, float32,
    bfloat16, float16. quantization: none, 8bit or 4bit (bitsandbytes, CUDA only). vision: the model takes pictures.
    batch_size: requests generated together at most. batch_wait: seconds that a request waits for company.
    max_new_tokens: of a reply where the block's max_tokens is unset. chat_template: a Jinja file in the place of the
    model's own. local_files_only: never ask the hub. Code that comes with a model is never run.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        device: str = "auto",
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        quantization: Literal["none", "8bit", "4bit"] = "none",
        vision: bool = False,
        batch_size: Annotated[int, Field(ge=1)] = 8,
        batch_wait: Annotated[float, Field(ge=0)] = 0.02,
        max_new_tokens: Annotated[int, Field(ge=1)] = 512,
        chat_template: Path | None = None,
        local_files_only: bool = False,
        name: str | None = None,
    ) -> None:
        self._load: Callable[[], Engine] = lambda: load_engine(
            model, revision=revision, device=device, dtype=dtype, quantization=quantization, vision=vision,
            chat_template=chat_template, local_files_only=local_files_only,
        )  # fmt: skip
        self._max_new_tokens = max_new_tokens
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(
            1, "transformers"
        )  # one model, one thread: batches follow one another
        self._batcher: PerLoop[_Batcher] = PerLoop(
            lambda: _Batcher(self._generate, batch_size, batch_wait, self._thread)
        )
        self._name = name or Path(model).name
        self._details = {
            "source": _fingerprint(Path(model)) if Path(model).is_dir() else model, "revision": revision or "",
            "dtype": dtype, "quantization": quantization, "default_tokens": max_new_tokens,
            "template": digest(chat_template.read_text(encoding="utf-8"))[:16] if chat_template else "",
        }  # fmt: skip

    @property
    def identity(self) -> ClientIdentity:
        """Model, revision, dtype, quantisation; of a folder, a hash of its small files and its weights' names and sizes."""
        return ClientIdentity("transformers", self._name, details=self._details)

    @property
    def capabilities(self) -> Capabilities:
        """Objects are asked for in the prompt; nothing is charged."""
        return Capabilities(forms=("text",), paid=False)

    def check(self) -> None:
        """Raises ``UserError`` when torch or transformers is missing; loads nothing."""
        try:
            import torch  # noqa: F401
            import transformers  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"the client `transformers` needs {error.name}: `pip install 'medeval-bench[llm,torch]'`"
            ) from None

    async def complete(self, request: ChatRequest) -> Reply:
        """One reply, generated in a batch with what else is asked now. Raises ``TransportError``."""
        for name in ("presence_penalty", "frequency_penalty", "extra_body"):
            if name in request.sampling.given():
                raise TransportError(Kind.UNSUPPORTED, f"local generation has no {name}", feature=name)
        if request.tools:
            raise TransportError(
                Kind.UNSUPPORTED, "local generation does not parse tool calls", feature="tools"
            )
        batcher = await self._batcher.get()
        return await batcher.submit(request)

    @cached_property
    def _engine(self) -> Engine:
        return self._load()

    def _generate(self, requests: Sequence[ChatRequest]) -> list[Reply | TransportError]:
        """In the model's thread. A batch that does not fit in memory is done one by one."""
        try:
            with self._lock:
                return list(self._engine.generate(requests, self._max_new_tokens))
        except UserError:
            raise
        except Exception as error:
            failure = classify(error)
            failure = TransportError(Kind.RAISED, str(failure)) if isinstance(failure, Filtered) else failure
            if failure.kind is Kind.SERVER and len(requests) > 1:
                return [self._generate([request])[0] for request in requests]
            return [failure] * len(requests)


class _Batcher:
    """Collects requests of one event loop; equal sampling goes together, in order of arrival."""

    def __init__(
        self, generate: Callable[[Sequence[ChatRequest]], list[Reply | TransportError]], size: int, wait: float,
        thread: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        self._generate = generate
        self._size = size
        self._wait = wait
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._open: list[tuple[ChatRequest, asyncio.Future[Reply]]] = []
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, request: ChatRequest) -> Reply:
        """The reply, in a while."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._open.append((request, answer))
        if not self._busy:
            if len(self._open) >= self._size:
                self._start()
            elif self._timer is None:
                self._timer = self._loop.call_later(self._wait, self._start)
        return await answer

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._open = [(request, answer) for request, answer in self._open if not answer.done()]
        if self._busy or not self._open:
            return
        batch = self._take()
        self._busy = True
        done = self._loop.run_in_executor(self._thread, self._generate, [request for request, _ in batch])
        done.add_done_callback(lambda future: self._finish(batch, future))

    def _take(self) -> list[tuple[ChatRequest, asyncio.Future[Reply]]]:
        first = self._open[0][0].sampling
        alone = first.seed is not None and bool(first.temperature)
        fitting = [item for item in self._open if item[0].sampling == first][: 1 if alone else self._size]
        taken = {id(answer) for _, answer in fitting}
        self._open = [item for item in self._open if id(item[1]) not in taken]
        return fitting

    def _finish(
        self, batch: list[tuple[ChatRequest, asyncio.Future[Reply]]], future: asyncio.Future[Any]
    ) -> None:
        self._busy = False
        error = None if future.cancelled() else future.exception()
        results = [error] * len(batch) if error or future.cancelled() else future.result()
        for (_, answer), result in zip(batch, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, BaseException):
                answer.set_exception(result)
            elif result is None:
                answer.cancel()
            else:
                answer.set_result(result)
        self._start()


def _fingerprint(folder: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        state.update(f"{path.relative_to(folder)}:{size}:".encode())
        state.update(path.read_bytes() if size <= _SMALL else b"")
    return state.hexdigest()[:16]
