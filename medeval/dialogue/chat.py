"""What this room needs of a chat model: one asynchronous method. ``medeval.llm`` has the real ones."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from medeval.types.errors import CaseFailure, EvaluatorFailure

Message = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": text}
T = TypeVar("T")


class Reply(Protocol):
    """text: what was said, thinking taken out. data: the parsed object of a structured reply, None without."""

    @property
    def text(self) -> str: ...

    @property
    def data(self) -> Any: ...


@runtime_checkable
class Chat(Protocol):
    """A chat model.

    schema: JSON schema of the object that is asked for; the reply's ``data`` then holds it. seed, temperature and
    max_tokens: None leaves the model's own.
    """

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> Reply: ...


class Step(Protocol):
    """``Context.astep``: the coroutine's value, or the kept one when an earlier try of this unit had finished it."""

    def __call__(self, name: str, fn: Callable[[], Awaitable[T]]) -> Awaitable[T]: ...


async def unkept(name: str, fn: Callable[[], Awaitable[T]]) -> T:
    """A step that is kept nowhere."""
    return await fn()


def message(role: str, content: str) -> dict[str, str]:
    """One message."""
    return {"role": role, "content": content}


async def as_evaluator(asked: Awaitable[T], who: str) -> T:
    """The answer of a patient, examiner or judge, whose failure is never the doctor's.

    Raises ``EvaluatorFailure`` for any failure that would be a model's; infrastructure and budget stay what they are.
    """
    try:
        return await asked
    except CaseFailure as error:
        if not error.status.models_fault:
            raise
        raise EvaluatorFailure(f"{who}: {error}") from error
    except Exception as error:
        raise EvaluatorFailure(f"{who}: {type(error).__name__}: {error}") from error


def object_of(reply: Reply) -> dict[str, Any]:
    """The object of a structured reply: its ``data``, else the one JSON object that its text is (fences allowed).

    Never searches a text for an object: a judge's prose may quote one that the doctor planted.
    Raises ``ValueError``.
    """
    found = getattr(reply, "data", None)
    if found is None:
        text = re.sub(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", r"\1", reply.text, flags=re.DOTALL)
        found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"a JSON object is expected, got {type(found).__name__}")
    return found
