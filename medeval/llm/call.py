"""One call from key to reply: cache, budget, slot, tries, and one line about it in the logs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medeval.llm.budget import UNBOUNDED_REPLY, Amount, Reservation
from medeval.llm.calllog import CallLog
from medeval.llm.errors import (
    HOPELESS,
    BadCall,
    CallFailure,
    ContextTooLong,
    EndpointDown,
    Kind,
    ModelRaised,
    NotRecorded,
    TransportError,
)
from medeval.llm.limiter import Limiter
from medeval.llm.replies import Reply, Usage
from medeval.llm.requests import ChatRequest
from medeval.llm.retry import wait_before
from medeval.llm.secrets import any_secret, holds_secret, redact_data
from medeval.llm.thinking import split_thinking
from medeval.types import UserError

if TYPE_CHECKING:
    from medeval.llm.chat import Chat


class Unsupported(Exception):
    """The server lacks a feature, and the request could not be reshaped; the ladder of structured replies goes on."""

    def __init__(self, error: TransportError) -> None:
        super().__init__(str(error))
        self.error = error


async def perform(chat: Chat, request: ChatRequest) -> Reply:
    """The reply to one request. Raises ``CallFailure`` or ``Unsupported``."""
    key = request.key(chat.model.client.identity.text)
    if not chat.model.client.capabilities.cacheable:
        return await _Call(chat, request, key).paid()
    running = await chat.endpoint.running()
    while (first := running.get(key)) is not None:  # the same question is being asked: wait for its answer
        await asyncio.wait([first])
        if not first.cancelled():
            chat.harness.totals.hit(first.result().cost)
            return first.result().over(cached=True)
    mine = running[key] = asyncio.get_running_loop().create_future()
    try:
        reply = await _Call(chat, request, key).cached_or_paid()
    except BaseException:
        mine.cancel()
        raise
    finally:
        del running[key]
    mine.set_result(reply)
    return reply


@dataclass
class _Call:
    """The state of one call."""

    chat: Chat
    request: ChatRequest
    key: str
    tries: int = 0
    kinds: list[str] = field(default_factory=list)
    spent_seconds: float = 0.0  # in tries and waits between them; not in the queue for a slot
    began: float = field(default_factory=time.time)

    async def cached_or_paid(self) -> Reply:
        harness = self.chat.harness
        if harness.reads:
            kept = await harness.store.get(self.key)
            if kept is not None:
                harness.totals.hit(kept.cost)
                kept = kept.over(cached=True)
                self._log().hit(kept)
                return self._finished(kept)
        if harness.settings.cache == "replay":
            raise NotRecorded(
                f"{self.chat.model.client.identity}: this call is not in the cache, and `cache: replay` sends none"
            )
        return await self.paid()

    async def paid(self) -> Reply:
        """Ask, within budgets and time."""
        chat = self.chat
        chat.endpoint.refuse_if_lost()
        free = not chat.model.client.capabilities.paid
        reserved = Amount() if free else self._worst_case()
        try:
            async with Reservation([*chat.budgets], reserved) as spend:
                reply = await self._in_time()
                chat.harness.totals.answered(reply.usage, reply.cost)
                if not free:
                    spend(Amount(1, reply.usage.total, reply.cost or 0.0))
                await self._log().keep(reply, paid=not free)
        except CallFailure as failure:
            chat.harness.totals.failed += 1
            self._log().failed(failure)
            raise
        return self._finished(reply)

    # -- tries --------------------------------------------------------------------------------------------------

    async def _in_time(self) -> Reply:
        """The tries, ended by the run's or the dialogue's clock."""
        clocks = [
            (left, budget) for budget in self.chat.budgets if (left := budget.remaining_seconds()) is not None
        ]
        if not clocks:
            return await self._tried()
        left, budget = min(clocks, key=lambda clock: clock[0])
        try:
            async with asyncio.timeout(left) as clock:
                return await self._tried()
        except TimeoutError:
            if not clock.expired():
                raise
            raise budget.timed_out() from None

    async def _tried(self) -> Reply:
        """Tries until one succeeds or there is no next one."""
        endpoint, limits = self.chat.endpoint, self.chat.endpoint.limits
        await endpoint.prepare(self.chat.model)
        limiter = await endpoint.limiter()
        while True:
            endpoint.refuse_if_lost()
            outcome = await self._try(limiter)
            if isinstance(outcome, Reply):
                endpoint.succeeded()
                return outcome
            self.kinds.append(outcome.kind)
            if outcome.kind is Kind.UNSUPPORTED and endpoint.learn(outcome.feature, self.request):
                continue
            wait = wait_before(outcome, len(self.kinds), limits)
            if wait is None or self.spent_seconds + wait > limits.deadline:
                raise self._failure(outcome)
            await self._sleep(wait, outcome.kind)

    async def _try(self, limiter: Limiter) -> Reply | TransportError:
        """One try, in a slot."""
        chat, limits = self.chat, self.chat.endpoint.limits
        guess = self.request.prompt_tokens + (self.request.sampling.max_tokens or 0)
        await limiter.acquire(chat.priority, guess)
        self.tries += 1
        chat.harness.totals.retries += self.tries > 1
        chat.harness.totals.in_flight += 1
        begin = time.perf_counter()
        clean = False
        try:
            chat.endpoint.refuse_if_lost()
            request = chat.endpoint.adapted(self.request, chat.model.keys.system)
            async with asyncio.timeout(max(0.001, min(limits.timeout, limits.deadline - self.spent_seconds))):
                reply = await chat.model.client.complete(request)
            clean = self.tries == 1
            reply = self._received(reply, time.perf_counter() - begin)
            limiter.used(guess, reply.usage.total)
            return reply
        except TransportError as error:
            if error.kind is Kind.RATE_LIMITED:
                limiter.limited(
                    error.retry_after if (error.retry_after or 0) <= limits.max_retry_after else None
                )
            return error
        except TimeoutError:
            return TransportError(Kind.TIMEOUT, f"no complete reply within {limits.timeout:g} s")
        except UserError as error:  # what the client's check could not see
            raise chat.endpoint.cannot(error) from None
        finally:
            self.spent_seconds += time.perf_counter() - begin
            chat.harness.totals.in_flight -= 1
            limiter.release(clean=clean)

    async def _sleep(self, wait: float, kind: Kind) -> None:
        sleeping = self.chat.harness.totals.sleeping
        sleeping[kind] += 1
        try:
            await asyncio.sleep(wait)
        finally:
            self.spent_seconds += wait
            sleeping[kind] -= 1

    def _failure(self, error: TransportError) -> CallFailure | Unsupported:
        """What the last error of a call means for its case."""
        endpoint, name = self.chat.endpoint, str(self.chat.model.client.identity)
        told = f"{name}: {error}" + (
            f" ({self.tries} tries: {', '.join(self.kinds)})" if self.tries > 1 else ""
        )
        if error.kind in HOPELESS:
            return endpoint.give_up(name, error)
        if error.kind is Kind.UNSUPPORTED:
            return Unsupported(error)
        simple = {
            Kind.BAD_REQUEST: BadCall,
            Kind.CONTEXT_LENGTH: ContextTooLong,
            Kind.RAISED: ModelRaised,
            Kind.NOT_RECORDED: NotRecorded,
        }
        if error.kind in simple:
            return simple[error.kind](told)
        endpoint.failed(name, error)
        return EndpointDown(told)

    # -- replies ------------------------------------------------------------------------------------------------

    def _received(self, reply: Reply, seconds: float) -> Reply:
        """The reply with latency, and usage by guess where the server says none; keys that it echoes are taken out."""
        usage = reply.usage
        if not usage.total:
            said = len((reply.text + reply.thinking).encode("utf-8")) // 4 + 1
            usage = Usage(self.request.prompt_tokens, said, estimated=True)
        reply = reply.over(
            usage=usage, latency=seconds, dropped=self.chat.endpoint.dropped, cost=self._cost(usage), key=self.key,
            attempts=self.tries, trimmed=self.request.trimmed or reply.trimmed,
        )  # fmt: skip
        if any_secret() and holds_secret(reply.encode()):
            return Reply.from_plain(redact_data(reply.to_plain(raw=True)))
        return reply

    def _finished(self, reply: Reply) -> Reply:
        """Thinking apart. Done on cached replies too, so that other tags need no new call."""
        split = split_thinking(reply.text, self.chat.model.keys.thinking_tags)
        if not split.thinking and not split.unclosed:
            cut = bool(reply.thinking) and not reply.text.strip() and reply.finish == "length"
            return reply.over(unclosed=True) if cut else reply
        thinking = "\n\n".join(part for part in (reply.thinking, split.thinking) if part)
        return reply.over(text=split.text, thinking=thinking, unclosed=split.unclosed)

    def _log(self) -> CallLog:
        return CallLog(self.chat, self.request, self.key, self.began, self.tries, tuple(self.kinds))

    def _cost(self, usage: Usage) -> float | None:
        price = self.chat.harness.prices.find(self.chat.model.name)
        return None if price is None else price.cost(usage)

    def _worst_case(self) -> Amount:
        limit = self.request.sampling.max_tokens or UNBOUNDED_REPLY
        usage = Usage(self.request.prompt_tokens, limit)
        return Amount(1, usage.total, self._cost(usage) or 0.0)
