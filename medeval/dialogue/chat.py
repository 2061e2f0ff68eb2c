"""What this room needs of a chat model: text for messages, or an object. ``medeval.llm.Chat`` is one; so is any script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from medeval.dialogue.planted import own_object
from medeval.llm.replies import Outcome, Reply
from medeval.types.errors import CaseFailure, EvaluatorFailure
from medeval.types.status import Status

Message = Mapping[str, Any]  # {"role": "system" | "user" | "assistant", "content": text}
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@runtime_checkable
class Speaker(Protocol):
    """Who can say something: the model under test needs no more."""

    async def ask(self, messages: Sequence[Message], *, sample: int = 0) -> Reply: ...


@runtime_checkable
class Chat(Speaker, Protocol):
    """Who can also give an object of a pydantic class: judges, and some patients and measurement agents."""

    async def ask_object(
        self, messages: Sequence[Message], form: type[BaseModel], *, sample: int = 0
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


def spoken(reply: Reply) -> str:
    """What was said; an empty reply is silence, and that is an answer.

    Raises ``RefusedReply`` or ``TruncatedReply`` for a reply that is no whole answer.
    """
    return "" if reply.outcome is Outcome.EMPTY else reply.require().text


def usage_of(reply: Reply) -> dict[str, float]:
    """What a reply cost, as plain numbers: calls, input and output tokens, and cost where the price is known."""
    cost = {} if reply.cost is None else {"cost": reply.cost}
    return {"calls": 1, "input": reply.usage.input, "output": reply.usage.output, **cost}


def added(total: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    """Sums by name."""
    return {name: total.get(name, 0) + more.get(name, 0) for name in {**total, **more}}


async def as_evaluator(asked: Awaitable[T], who: str) -> T:
    """The answer of a patient, examiner or judge, whose failure is never the doctor's.

    Raises ``EvaluatorFailure`` for any failure that would be a model's; infrastructure and budget stay what they are.
    """
    try:
        return await asked
    except CaseFailure as error:
        if error.status.missing and error.status is not Status.EVALUATOR_FAILED:
            raise
        raise EvaluatorFailure(f"{who}: {error}") from error
    except Exception as error:
        raise EvaluatorFailure(f"{who}: {type(error).__name__}: {error}") from error


async def object_of(
    chat: Chat,
    messages: Sequence[Message],
    form: type[M],
    who: str,
    sample: int = 0,
    said: Sequence[str] = (),
) -> tuple[M, dict[str, float]]:
    """An object of the form, and what it cost.

    said: the candidate's words, whose objects are not the judge's when it repeats them (``planted``). Raises
    ``EvaluatorFailure`` when there is none.
    """
    reply = await as_evaluator(chat.ask_object(messages, form, sample=sample), who)
    if said:
        return own_object(reply, form, said, who), usage_of(reply)
    if isinstance(reply.value, form):
        return reply.value, usage_of(reply)
    raise EvaluatorFailure(f"{who}: no {form.__name__} in its reply")
