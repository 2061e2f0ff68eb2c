"""One connection pool per event loop, closed when the loop ends.

Pools of HTTP libraries belong to the loop that made them. An asynchronous generator holds each: ``asyncio.run`` closes all
open generators before it closes its loop, so that nobody has to remember to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """A value for each running event loop. make: builds it inside the loop. close: awaited at the loop's end."""

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]] | None = None) -> None:
        self._make = make
        self._close = close
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]] = (
            WeakKeyDictionary()
        )

    async def get(self) -> T:
        """The running loop's value."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            value = self._make()
            keeper = self._keep(value)
            held = self._held[loop] = value, keeper
            await keeper.__anext__()
        return held[0]

    async def close(self) -> None:
        """Close the running loop's value now."""
        held = self._held.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    async def _keep(self, value: T) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self._close is not None:
                await self._close(value)
