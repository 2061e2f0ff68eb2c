"""How many calls may be in flight to one endpoint: adaptive, rate-limited, the most urgent first.

A slot is held per call, never per dialogue, and not while a call sleeps before its next try. One ``Limiter`` belongs to one
(provider, endpoint, account, model) and one event loop; its ``Adaptive`` and ``Bucket`` parts are plain arithmetic on a
clock that is passed in.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field

from medeval.llm.retry import Limits

_CUT, _COOLDOWN, _SATURATED = 0.7, 5.0, 0.8


class Adaptive:
    """Additive increase, multiplicative decrease, with a slow start.

    A round is ``limit`` clean successes; it raises the limit only where calls in flight had reached 80% of it. Cuts are at
    least ``cooldown`` apart, so that one burst of 429s is one cut.
    """

    def __init__(self, limits: Limits) -> None:
        self.ceiling = limits.connections
        self.limit = min(limits.connections, limits.start or 8)
        self.history: list[tuple[float, int, str]] = []
        self._slow_start = True
        self._clean = 0
        self._peak = 0
        self._frozen_until = float("-inf")

    def sent(self, in_flight: int) -> None:
        """A call was sent; so many are now in flight."""
        self._peak = max(self._peak, in_flight)

    def succeeded(self, now: float) -> None:
        """A call succeeded at its first try."""
        if now < self._frozen_until or self.limit >= self.ceiling:
            return
        self._clean += 1
        if self._clean < self.limit:
            return
        saturated = self._peak >= _SATURATED * self.limit
        self._clean = self._peak = 0
        if saturated:
            grown = self.limit * 2 if self._slow_start else self.limit + 1
            self._set(now, min(self.ceiling, grown), "slow start" if self._slow_start else "growth")

    def limited(self, now: float, wait: float | None) -> None:
        """A 429 came, asking to wait so long."""
        if now >= self._frozen_until:
            self._set(now, max(1, int(self.limit * _CUT)), "429")
        self._slow_start = False
        self._clean = self._peak = 0
        self._frozen_until = max(self._frozen_until, now + max(_COOLDOWN, wait or 0.0))

    def _set(self, now: float, limit: int, reason: str) -> None:
        if limit != self.limit:
            self.history.append((now, limit, reason))
            self.limit = limit


class Bucket:
    """At most ``per_minute`` in any 60 s: a token bucket whose burst is one second's worth (at least one request).

    An amount above the burst is let through when the bucket is full, and leaves a debt.
    """

    def __init__(self, per_minute: float) -> None:
        self.burst = max(1.0, per_minute / 60)
        self.rate = max(per_minute - self.burst, per_minute / 2) / 60
        self._level = self.burst
        self._at: float | None = None

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` may be taken."""
        self._refill(now)
        missing = min(amount, self.burst) - self._level
        return max(0.0, missing / self.rate)

    def take(self, amount: float, now: float) -> None:
        """Take ``amount``, or give it back where negative."""
        self._refill(now)
        self._level = min(self.burst, self._level - amount)

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now


@dataclass
class Rates:
    """What an endpoint's limiters of successive event loops share."""

    limits: Limits
    adaptive: Adaptive = field(init=False)
    requests: Bucket | None = field(init=False)
    tokens: Bucket | None = field(init=False)
    paused_until: float = float("-inf")

    def __post_init__(self) -> None:
        self.adaptive = Adaptive(self.limits)
        self.requests = Bucket(self.limits.rpm) if self.limits.rpm else None
        self.tokens = Bucket(self.limits.tpm) if self.limits.tpm else None


class Limiter:
    """Hands out slots on the running event loop."""

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.in_flight = 0
        self._loop = asyncio.get_running_loop()
        self._order = itertools.count()
        self._queue: list[tuple[int, int, int, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return sum(1 for *_, waiter in self._queue if not waiter.done())

    async def acquire(self, priority: int, tokens: int) -> None:
        """Wait for a slot. priority: the lowest number goes first, equals in order of arrival."""
        if not self._queue and self._delay(tokens) == 0.0 and self.in_flight < self.rates.adaptive.limit:
            self._grant(tokens)
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        heapq.heappush(self._queue, (priority, next(self._order), tokens, waiter))
        self._pump()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._free()
            else:
                waiter.cancel()
                self._pump()
            raise

    def release(self, *, clean: bool = False) -> None:
        """Give the slot back. clean: the call succeeded at its first try."""
        if clean:
            self.rates.adaptive.succeeded(self._loop.time())
        self._free()

    def limited(self, wait: float | None) -> None:
        """A 429 came: cut, and send nothing for as long as the server asked."""
        now = self._loop.time()
        self.rates.adaptive.limited(now, wait)
        if wait:
            self.rates.paused_until = max(self.rates.paused_until, now + wait)

    def used(self, guessed: int, tokens: int) -> None:
        """Correct the tokens that were taken by guess."""
        if self.rates.tokens is not None:
            self.rates.tokens.take(tokens - guessed, self._loop.time())

    def _free(self) -> None:
        self.in_flight -= 1
        if self._queue:
            self._pump()

    def _grant(self, tokens: int) -> None:
        now = self._loop.time()
        self.in_flight += 1
        self.rates.adaptive.sent(self.in_flight)
        if self.rates.requests is not None:
            self.rates.requests.take(1, now)
        if self.rates.tokens is not None:
            self.rates.tokens.take(tokens, now)

    def _delay(self, tokens: int) -> float:
        rates = self.rates
        if rates.requests is None and rates.tokens is None and rates.paused_until == float("-inf"):
            return 0.0
        now = self._loop.time()
        waits = [0.0, rates.paused_until - now]
        waits += [rates.requests.wait(1, now)] if rates.requests is not None else []
        waits += [rates.tokens.wait(tokens, now)] if rates.tokens is not None else []
        return max(waits)

    def _pump(self) -> None:
        """Grant slots to the first in the queue until one must wait."""
        while self._queue and self.in_flight < self.rates.adaptive.limit:
            _, _, tokens, waiter = self._queue[0]
            if waiter.done():
                heapq.heappop(self._queue)
                continue
            if (delay := self._delay(tokens)) > 0:
                self._again_in(delay)
                return
            heapq.heappop(self._queue)
            self._grant(tokens)
            waiter.set_result(None)

    def _again_in(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._pump)
