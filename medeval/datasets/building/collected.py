"""Hashes of millions of things in a few bytes each: which are equal, and which are there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class Hashes:
    """A list of hashes of 8 or 16 bytes each, without a Python object for each."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._bytes = bytearray()
        self._sorted: NDArray[np.uint64] | None = None

    def add(self, value: bytes) -> None:
        """Append; its place is the number of those before."""
        if len(value) != self._width:
            raise ValueError(f"a hash of {len(value)} bytes in a list of {self._width}")
        self._bytes += value
        self._sorted = None

    def __contains__(self, value: bytes) -> bool:
        """For hashes of 8 bytes."""
        if self._sorted is None:
            self._sorted = np.sort(self._words()[:, 0])
        wanted = np.uint64(int.from_bytes(value, "little"))
        at = int(np.searchsorted(self._sorted, wanted))
        return at < len(self._sorted) and bool(self._sorted[at] == wanted)

    def groups(self) -> Iterator[list[int]]:
        """Places of equal hashes, two or more, in order of the first of each."""
        words = self._words()
        order = np.lexsort(words.T)  # stable: equal hashes keep their order
        ranked = words[order]
        same = np.flatnonzero((ranked[1:] == ranked[:-1]).all(axis=1))
        groups: list[list[int]] = []
        for place in same.tolist():
            if groups and groups[-1][-1] == int(order[place]):
                groups[-1].append(int(order[place + 1]))
            else:
                groups.append([int(order[place]), int(order[place + 1])])
        yield from sorted(groups)

    def _words(self) -> NDArray[np.uint64]:
        return np.frombuffer(bytes(self._bytes), dtype="<u8").reshape(-1, self._width // 8)
