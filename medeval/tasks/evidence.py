"""What a task is summed up from: the records of one cell at a time, a column at a time.

A cell of ten million records is held as the codes of its names and the columns that are being read; the frame of all of it
is made only for a task that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medeval.statistics import Labels, Resamples

if TYPE_CHECKING:
    import pandas as pd


class Columns(Protocol):
    """The n records of a cell by column, sorted by key. names: in the order of the frame's columns."""

    @property
    def names(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def array(self, name: str) -> NDArray:
        """(n,) one column as the frame's ``to_numpy`` gives it: what is missing is NaN or None."""

    def labels(self, name: str) -> Labels:
        """(n,) one column of few different values."""

    def frame(self) -> pd.DataFrame:
        """All columns."""


class FrameColumns:
    """Columns of records that are a frame already."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._arrays: dict[str, NDArray] = {}
        self._labels: dict[str, Labels] = {}

    @property
    def names(self) -> Sequence[str]:
        """The frame's columns."""
        return list(self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame)

    def array(self, name: str) -> NDArray:
        """(n,) one column."""
        if name not in self._arrays:
            self._arrays[name] = self._frame[name].to_numpy()
        return self._arrays[name]

    def labels(self, name: str) -> Labels:
        """(n,) one column, its values numbered."""
        if name not in self._labels:
            self._labels[name] = labels_of(self.array(name))
        return self._labels[name]

    def frame(self) -> pd.DataFrame:
        """The frame itself."""
        return self._frame


def labels_of(array: NDArray) -> Labels:
    """Any column as labels; strings are sorted, so that averages by them need no sorting of their own."""
    if array.dtype.kind not in "biuf":
        found = Labels.of(array.tolist())
        return found.sorted() if all(type(value) is str for value in found.values) else found
    values, codes = np.unique(array, return_inverse=True)  # NaN, if any, is the last
    known = values[: len(values) - int(len(values) > 0 and values[-1] != values[-1])]
    codes = np.where(codes < len(known), codes, -1).astype(np.int32)
    return Labels(codes, tuple(known.tolist()))


@dataclass(frozen=True, eq=False)
class CellEvidence:
    """All records of one (dataset, model, arm), sorted by key, with the cases' patient and metadata joined.

    table: one row a record; columns are those of ``runs.parts.record_schema`` plus ``patient`` (missing where unknown) and
        the metadata (a metadata name that a record column has already is left out). A frame, or columns that are read when
        they are asked for.
    length_unit: "mm", or "px" where the images carry no spacing.
    artifacts: seed -> folder that the task's ``prepare`` left; what it holds of a clock belongs into views, never into scores.
    """

    dataset: str
    model: str
    arm: str
    baseline: bool
    table: pd.DataFrame | Columns
    length_unit: str = "mm"
    artifacts: Mapping[int, Path] = field(default_factory=dict)

    @cached_property
    def columns(self) -> Columns:
        """The records by column."""
        import pandas as pd

        return FrameColumns(self.table) if isinstance(self.table, pd.DataFrame) else self.table

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All records with all columns in memory; of millions of records better ask ``columns`` for what you need."""
        return self.columns.frame()

    def __contains__(self, name: str) -> bool:
        return name in self.columns.names

    def record(self, row: int, names: Sequence[str]) -> dict[str, Any]:
        """Some columns of one record."""
        return {name: self.columns.array(name)[row] for name in names}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What ``Task.summarize`` gets: a lazy pass over the task's cells, one cell in memory at a time.

    load: yields the cells in order. resamples: dataset -> the draws that all its scores share.
    """

    load: Callable[[], Iterator[CellEvidence]]
    resamples: Callable[[str], Resamples]
