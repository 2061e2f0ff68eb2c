"""What is told every few seconds while something else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def every(seconds: float, tell: Callable[[], None], name: str) -> Iterator[None]:
    """While inside, call ``tell`` every so often from a thread of this name; none of its calls outlives the block."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(seconds):
            tell()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
