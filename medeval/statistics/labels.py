"""Columns of names as numbers: what ten million rows of a few thousand cases and structures take is their codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Labels:
    """A column of n values, few of them different.

    codes: (n,) position of each row's value in ``values``; -1 where there is none (None, NaN). values: each once; slices of
    a column share them. ordered: True when they are sorted strings, so that codes sort as their values do.
    """

    codes: Codes
    values: Sequence[Any]
    ordered: bool = False

    @classmethod
    def of(cls, column: Iterable[Any]) -> Labels:
        """Values that are equal (as dictionary keys are) get one code, in order of appearance; None and NaN are no value."""
        known: dict[Any, int] = {}
        codes = [
            -1 if value is None or value != value else known.setdefault(value, len(known)) for value in column
        ]
        return cls(np.array(codes, dtype=np.int32), tuple(known))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, rows: int) -> Any: ...
    @overload
    def __getitem__(self, rows: NDArray | slice) -> Labels: ...
    def __getitem__(self, rows: Any) -> Any:
        """The value of one row, or the column of some rows."""
        found = self.codes[rows]
        return Labels(found, self.values, self.ordered) if np.ndim(found) else self.value(int(found))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        plain = self.array()
        return plain if dtype is None else plain.astype(dtype)

    def value(self, code: int) -> Any:
        """The value of a code; None for -1."""
        return None if code < 0 else self.values[code]

    def array(self, none: Any = None) -> NDArray:
        """(n,) the values themselves, as objects; ``none`` where there is none."""
        values = np.empty(len(self.values) + 1, dtype=object)  # the last is what code -1 takes
        values[: len(self.values)] = self.values
        values[-1] = none
        return values[self.codes]

    def each(self, of_value: Sequence[Any] | NDArray, none: Any) -> NDArray:
        """(n,) what ``of_value`` holds for each row's value; ``none`` where there is no value."""
        return np.append(np.asarray(of_value), none)[self.codes]

    def mapped(self, names: Sequence[Any]) -> Labels:
        """The column with each value replaced by what stands at its place in ``names``; equal ones become one."""
        merged = Labels.of(names)
        return Labels(np.append(merged.codes, np.int32(-1))[self.codes], merged.values)

    def sorted(self) -> Labels:
        """The same column with its values, which must be strings, in order."""
        if self.ordered:
            return self
        order = sorted(range(len(self.values)), key=self.values.__getitem__)
        place = np.full(len(order) + 1, -1, dtype=np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        return Labels(place[self.codes], tuple(self.values[at] for at in order), ordered=True)


def combined(columns: Sequence[Codes]) -> NDArray[np.int64]:
    """(n,) one number for each combination of codes (-1 or more); ordered as the rows of codes are."""
    found = columns[0].astype(np.int64) + 1
    size = int(found.max(initial=0)) + 1
    for column in columns[1:]:
        width = int(column.max(initial=-1)) + 2
        if size * width >= 2**62:  # too many combinations to number: number those that occur
            found = np.unique(found, return_inverse=True)[1].astype(np.int64)
            size = int(found.max(initial=0)) + 1
        found *= width
        found += column
        found += 1
        size *= width
    return found


def numbered(codes: Codes, size: int) -> NDArray[np.int64]:
    """(n,) codes in 0 to size - 1 numbered anew without gaps, in their order."""
    present = np.bincount(codes, minlength=size) > 0
    return (np.cumsum(present) - 1)[codes]


def partition(codes: NDArray) -> list[NDArray[np.int64]]:
    """The row numbers of each different code (not negative), in order of appearance; rows of one code in their order."""
    if not len(codes):
        return []
    if codes.min() == codes.max():
        return [np.arange(len(codes))]
    size = int(codes.max()) + 1
    if size > 4 * len(codes) + 1024:  # numbers far apart
        codes, size = np.unique(codes, return_inverse=True)[1], len(codes)
    dense = numbered(codes, size)
    counts = np.bincount(dense)
    small = dense.astype(np.uint16) if len(counts) < 2**16 else dense  # sorted by radix
    rows = np.split(np.argsort(small, kind="stable"), np.cumsum(counts)[:-1])
    return sorted(rows, key=lambda group: int(group[0]))
