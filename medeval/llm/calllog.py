"""What is written about one call: its reply into the cache, one line of facts, and the raw exchange."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medeval.llm.disk import Kept, LogLine
from medeval.llm.errors import BudgetSpent, CallFailure, Kind
from medeval.llm.replies import Reply
from medeval.llm.requests import ChatRequest

if TYPE_CHECKING:
    from medeval.llm.chat import Chat

CALLS, EXCHANGES = "calls.jsonl", "exchanges.jsonl"
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class CallLog:
    """One call. began: epoch seconds. tries: how many were sent. kinds: of the tries that failed."""

    chat: Chat
    request: ChatRequest
    key: str
    began: float
    tries: int
    kinds: tuple[str, ...]

    async def keep(self, reply: Reply, *, paid: bool) -> None:
        """The reply into the cache (a content filter's not: it may be in another mood) and the logs.

        Returns when the cache has it on disk, where it goes into the cache.
        """
        harness, client = self.chat.harness, self.chat.model.client
        written: list[str] = []

        def text() -> str:  # in the store's thread, once for cache and log
            if not written:
                written.append(reply.encode())
            return written[0]

        lines = [self._call(reply, paid)]
        if harness.settings.log_exchanges:
            lines.append(self._exchange(text))
        if harness.writes and client.capabilities.cacheable and reply.finish != "content_filter":
            replace = harness.settings.cache == "write"
            await harness.store.put(
                Kept(self.key, client.identity.text, self.request.canonical, text, replace), lines
            )
        else:
            harness.store.log(lines)

    def hit(self, reply: Reply) -> None:
        """A reply that came from the cache: a line, no exchange."""
        self.chat.harness.store.log([self._call(reply, paid=False)])

    def failed(self, failure: CallFailure) -> None:
        """A call that was given up: a line with the reason."""
        kind = (
            Kind.BUDGET
            if isinstance(failure, BudgetSpent)
            else (self.kinds[-1] if self.kinds else Kind.CANCELLED)
        )
        facts = {**self._facts(), "kind": kind, "error": str(failure), "paid": False}
        self.chat.harness.store.log([(CALLS, lambda: _encode(facts))])

    def _call(self, reply: Reply, paid: bool) -> LogLine:
        usage = reply.usage
        facts = {
            **self._facts(), "kind": Kind.OK, "finish": reply.finish, "cached": reply.cached, "paid": paid,
            "latency": round(reply.latency, 4), "input": usage.input, "output": usage.output, "tokens": usage.total,
            "estimated": usage.estimated, "cost": reply.cost,
        }  # fmt: skip
        return CALLS, lambda: _encode(facts)

    def _exchange(self, text: Callable[[], str]) -> LogLine:
        request, identity = self.request, self.chat.model.client.identity.text
        facts = {**self._facts(), "request_key": request.request_key, "identity": identity}
        return EXCHANGES, lambda: f'{_encode(facts)[:-1]},"request":{request.canonical},"reply":{text()}}}'

    def _facts(self) -> dict[str, Any]:
        scope = self.chat.scope
        return {
            "time": round(self.began, 3), "role": self.chat.role, "dialogue": scope.name if scope else "",
            "model": self.chat.model.name, "key": self.key, "tries": self.tries, "failed_tries": list(self.kinds),
        }  # fmt: skip
