"""Examples of a training that are made when their turn comes: memory stays flat however many there are.

The last ones that were used are kept up to a number of bytes, and the next ones of an epoch's order are made in threads
while the network learns from this one. What comes out is the same in any case: an example is a function of its number.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

AHEAD = 8
"""Examples that are made before they are asked for, at most."""


class LazyExamples(Sequence[T], Generic[T]):
    """``make(number)`` of each number below ``count``, to which ``append`` adds.

    make: called from several threads. size: bytes of an example. memory: bytes that are kept, beside at most ``ahead``
    examples that are not asked for yet; 0 of these: no threads.
    """

    def __init__(
        self,
        make: Callable[[int], T],
        size: Callable[[T], int],
        memory: int,
        count: int = 0,
        ahead: int = AHEAD,
    ) -> None:
        self._make, self._count, self._size, self._memory, self._most = make, count, size, memory, ahead
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "examples") if ahead else None
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, T] = OrderedDict()
        self._held = 0
        self._order: deque[int] = deque()
        self._begun: OrderedDict[int, Future[T]] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def expect(self, numbers: Iterable[int]) -> None:
        """The order in which examples will be asked for: the next ones are made ahead. A new order replaces the last."""
        for future in self._begun.values():
            future.cancel()
        self._begun.clear()
        self._order = deque(numbers)
        self._begin()

    def __getitem__(self, number: int) -> T:  # type: ignore[override]  # no slices
        """Raises what ``make`` raises, also where it was called ahead."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        future = self._begun.pop(number, None)
        example = self._found(number) if future is None else future.result()
        self._keep(number, example)
        self._begin()
        return example

    def __iter__(self) -> Iterator[T]:
        return (self[number] for number in range(self._count))

    def append(self, example: T) -> None:
        """One number more, whose example is known."""
        self._count += 1
        self._keep(self._count - 1, example)

    def _keep(self, number: int, example: T) -> None:
        with self._lock:
            if number not in self._kept:
                self._held += self._size(example)
            self._kept[number] = example
            self._kept.move_to_end(number)
            while self._held > self._memory and self._kept:
                self._held -= self._size(self._kept.popitem(last=False)[1])

    def _found(self, number: int) -> T:
        with self._lock:
            kept = self._kept.get(number)
        return self._make(number) if kept is None else kept

    def _begin(self) -> None:
        """Begin the next ones of the order, up to ``ahead`` that nobody has asked for."""
        while self._pool is not None and self._order and len(self._begun) < self._most:
            number = self._order.popleft()
            if number not in self._begun:
                self._begun[number] = self._pool.submit(self._found, number)
