"""One call of a chat model under test: timed, its exceptions its own, a refusal or a cut reply its own failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from medeval.dialogue.chat import usage_of
from medeval.llm.replies import Reply
from medeval.tasks.context import Context
from medeval.types import Case, CaseFailure, Failure, Key, ModelFailure, Output


async def asked(model: Any, messages: Sequence[Any], case_id: str, sample: int, context: Context) -> Reply:
    """The model's whole reply.

    model: ``async ask(messages, *, sample) -> Reply`` or text. Raises the ``CaseFailure`` that the reply or the exception
    stands for.
    """

    async def call() -> Reply:
        reply = await model.ask(messages, sample=sample)
        if isinstance(reply, Reply):
            return reply
        text = reply if isinstance(reply, str) else getattr(reply, "text", None)
        if not isinstance(text, str):
            raise ModelFailure(
                f"ask returned a {type(reply).__name__}; a medeval.llm.Reply, or text, is expected"
            )
        return Reply(text=text)

    return (await context.acall(case_id, "ask", call)).require()


def spent(reply: Reply) -> dict[str, Any]:
    """Record columns of a reply's cost."""
    used = usage_of(reply)
    return {"tokens": int(used["input"] + used["output"]), "cost": used.get("cost")}


async def side_by_side(
    cases: Iterable[Case], samples: int, ask: Callable[[Case, int], Awaitable[Output]]
) -> AsyncIterator[Output | Failure]:
    """Every sample of every case at once; a case's failure is that sample's alone. What ends the run is raised."""
    jobs = [(case, sample) for case in cases for sample in range(samples)]
    events = await asyncio.gather(*(_one(ask, case, sample) for case, sample in jobs), return_exceptions=True)
    for event in events:
        if not isinstance(event, BaseException):
            yield event
    for event in events:
        if isinstance(event, BaseException):
            raise event


async def _one(ask: Callable[[Case, int], Awaitable[Output]], case: Case, sample: int) -> Output | Failure:
    try:
        return await ask(case, sample)
    except CaseFailure as error:
        if getattr(error, "stops_run", False):
            raise
        return Failure(case.id, Key("*", sample=sample), error.status, str(error))
