"""A role's way to its model: ask for text, for tool calls, or for an object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel

from medeval.llm.budget import Budget, Scope
from medeval.llm.call import Unsupported, perform
from medeval.llm.endpoint import Endpoint
from medeval.llm.errors import (
    BadCall,
    CallFailure,
    ContextTooLong,
    TruncatedReply,
    UnparsableReply,
)
from medeval.llm.history import shorter
from medeval.llm.messages import Message, Tool, to_messages
from medeval.llm.model import ChatModel
from medeval.llm.replies import Outcome, Reply
from medeval.llm.requests import ChatRequest, Sampling
from medeval.llm.structured import Parsed, ReplyForm, form_of

if TYPE_CHECKING:
    from medeval.llm.harness import Harness

T = TypeVar("T")
_DIALOGUE: ContextVar[Scope | None] = ContextVar("dialogue", default=None)
_APART = (
    1_000_003  # between the sampling seeds of two repetitions of a run: samples are numbered from the seed on
)


class Steps(Protocol):
    """What keeps finished steps: a task's ``Context``."""

    async def astep(self, name: str, fn: Callable[[], Awaitable[T]]) -> T: ...


@dataclass(frozen=True, eq=False)
class Chat:
    """Made by ``Harness.chat``. Every failure that leaves it is a ``CallFailure`` with the status for the record."""

    harness: Harness
    endpoint: Endpoint
    model: ChatModel
    role: str
    under_test: bool
    priority: int
    budgets: Sequence[Budget]
    scope: Scope | None = None
    repetition: tuple[int, str] = (0, "")

    def repeated(self, number: int, name: object) -> Chat:
        """The same chat with replies of its own in the ``number``-th repetition of a run, which is called ``name``."""
        return replace(self, repetition=(number, f"repetition {name}"))

    def within(self, scope: Scope) -> Chat:
        """The same chat, charged to one dialogue's budget and clock too."""
        return replace(self, scope=scope, budgets=[*self.budgets, scope])

    async def ask(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        tools: Sequence[Tool] = (),
        tool_choice: str = "",
        sample: int = 0,
        sampling: Sampling | None = None,
    ) -> Reply:
        """One reply. sample: number of the repetition, part of the key. sampling: what differs from the block's.

        A refusal, a cut or an empty reply comes back as it is: see ``Reply.outcome`` and ``Reply.require``.
        Raises ``CallFailure``.
        """
        request = self._request(messages, tuple(tools), tool_choice, sample, sampling)
        try:
            return await self._charged()._fitting(request)
        except Unsupported as error:
            raise self._blamed(BadCall(str(error))) from None
        except CallFailure as error:
            raise self._blamed(error) from None

    async def ask_object(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        form: type[BaseModel],
        *,
        sample: int = 0,
        sampling: Sampling | None = None,
    ) -> Reply:
        """One reply with an object of the pydantic class ``form``: ``reply.value``, and ``reply.data`` as JSON types.

        Raises ``UnparsableReply`` after the whole ladder, ``RefusedReply``, ``TruncatedReply`` and other ``CallFailure``.
        """
        request = self._request(messages, (), "", sample, sampling)
        try:
            return await self._charged()._object(request, form_of(form))
        except CallFailure as error:
            raise self._blamed(error) from None

    async def step(
        self,
        steps: Steps,
        name: str,
        ask: Callable[[], Awaitable[Reply]],
        form: type[BaseModel] | None = None,
    ) -> Reply:
        """``await ask()``, kept under ``name`` in a task's journal: a continued run takes the reply from there.

        form: the class to validate a kept object by.
        """

        async def plain() -> dict[str, Any]:
            return (await ask()).to_plain()

        reply = Reply.from_plain(await steps.astep(name, plain))
        return (
            reply if form is None or reply.data is None else reply.over(value=form_of(form).read(reply.data))
        )

    def _charged(self) -> Chat:
        """The chat as this task of the loop asks it: within the dialogue that it holds, if it holds one."""
        dialogue = _DIALOGUE.get()
        return self if dialogue is None or self.scope is not None else self.within(dialogue)

    # -- inside -------------------------------------------------------------------------------------------------

    def _request(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        tools: tuple[Tool, ...],
        tool_choice: str,
        sample: int,
        sampling: Sampling | None,
    ) -> ChatRequest:
        drawn = self.model.keys.sampling if sampling is None else sampling.over(self.model.keys.sampling)
        number, repetition = self.repetition
        if drawn.seed is not None and (sample or number):
            drawn = replace(drawn, seed=drawn.seed + sample + _APART * number)
        namespace = " ".join(filter(None, (self.harness.settings.namespace, repetition)))
        return ChatRequest(to_messages(messages), drawn, tools, tool_choice, None, sample, 0, namespace)

    async def _fitting(self, request: ChatRequest) -> Reply:
        """The reply to the request, or to the longest shorter form of it that fits the context."""
        try:
            return await perform(self, request)
        except ContextTooLong as error:
            if self.model.keys.history == "error":
                raise
            last = error
        for messages, gone in shorter(request.messages):
            try:
                root = request.root or request
                return await perform(self, replace(request, messages=messages, root=root, trimmed=gone))
            except ContextTooLong as error:
                last = error
        raise last

    async def _object(self, request: ChatRequest, form: ReplyForm) -> Reply:
        asked, reply = await self._first(request, form)
        parsed = self._parsed(form, reply)
        if parsed.value is not None:
            return reply.over(data=parsed.data, value=parsed.value)
        again = (
            self._longer(asked, reply)
            if reply.outcome is Outcome.TRUNCATED
            else form.repair(asked, reply, parsed.wrong)
        )
        second = await self._fitting(again)
        parsed = self._parsed(form, second)
        if parsed.value is None:
            said = [reply.text, second.text]
            raise UnparsableReply(f"no {form.name} after a repair request: {parsed.wrong}", said)
        return second.over(data=parsed.data, value=parsed.value)

    async def _first(self, request: ChatRequest, form: ReplyForm) -> tuple[ChatRequest, Reply]:
        """The first reply, asked for in the best way that the server has."""
        for way in self.endpoint.usable(self.model.forms):
            asked = form.asked_as(request, way)
            try:
                return asked, await self._fitting(asked)
            except Unsupported:
                self.endpoint.lacks(way)
        raise BadCall(
            f"{self.model.name}: no way to a structured reply works there ({', '.join(self.model.forms)} tried)"
        )

    def _parsed(self, form: ReplyForm, reply: Reply) -> Parsed:
        """The object in a reply. A refusal or an unclosed thought is raised: asking the same again gives the same."""
        parsed = form.parse(reply)
        if parsed.value is None and reply.outcome not in (Outcome.OK, Outcome.EMPTY, Outcome.TRUNCATED):
            reply.require()
        return parsed

    def _longer(self, request: ChatRequest, reply: Reply) -> ChatRequest:
        limit = request.sampling.max_tokens
        if limit is None:
            raise TruncatedReply(
                f"cut off after {reply.usage.output} tokens by the server's own limit", [reply.text]
            )
        return replace(
            request, sampling=replace(request.sampling, max_tokens=2 * limit), attempt=request.attempt + 1
        )

    def _blamed(self, error: CallFailure) -> CallFailure:
        return error if self.under_test else error.of_evaluator()


@contextmanager
def charged_to(scope: Scope) -> Iterator[Scope]:
    """While inside, every chat that this task of the loop (and those it starts) asks is charged to one dialogue."""
    token = _DIALOGUE.set(scope)
    try:
        yield scope
    finally:
        _DIALOGUE.reset(token)
