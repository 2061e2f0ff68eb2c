"""Choosing among millions of cases without holding them: the rules of ``datasets.selection``, as a stream."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.sa_med2d_entries import Entries, Entry
from medeval.datasets.selection import parse_split
from medeval.types import CaseIndex, CaseInfo, DatasetError, digest

Describe = Callable[[Entry], CaseInfo]


class StoredIndex(CaseIndex):
    """A ``CaseIndex`` whose cases are made when they are asked for; every case's patient is known."""

    def __init__(self, entries: Entries, describe: Describe, positions: NDArray[np.int64] | None) -> None:
        self._entries = entries
        self._describe = describe
        self._positions = positions  # None: all, in their order
        self._by_position = None if positions is None else np.argsort(positions, kind="stable")

    def __len__(self) -> int:
        return len(self._entries) if self._positions is None else len(self._positions)

    def __iter__(self) -> Iterator[CaseInfo]:
        if self._positions is None:
            return (self._describe(entry) for entry in self._entries)
        return (self._describe(entry) for entry in at_positions(self._entries, self._positions))

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return tuple(self[n] for n in range(*position.indices(len(self))))
        n = range(len(self))[position]
        return self._describe(self._entries.at(n if self._positions is None else int(self._positions[n])))

    def __contains__(self, case_id: object) -> bool:
        return isinstance(case_id, str) and self._find(case_id) is not None

    def info(self, case_id: str) -> CaseInfo:
        """The entry of one case; ``KeyError`` when there is none."""
        if (position := self._find(case_id)) is None:
            raise KeyError(case_id)
        return self._describe(self._entries.at(position))

    @property
    def ids(self) -> tuple[str, ...]:
        """Case ids in order; the one thing here that grows with the dataset."""
        if self._positions is None:
            return tuple(entry.stem for entry in self._entries)
        return tuple(entry.stem for entry in at_positions(self._entries, self._positions))

    @property
    def patients_known(self) -> bool:
        """True: names and sidecars always tell."""
        return True

    def _find(self, case_id: str) -> int | None:
        try:
            position = self._entries.position(case_id)
        except KeyError:
            return None
        if self._positions is None or self._by_position is None:
            return position
        at = np.searchsorted(self._positions, position, sorter=self._by_position)
        known = at < len(self._positions) and self._positions[self._by_position[at]] == position
        return position if known else None


def at_positions(entries: Entries, positions: NDArray[np.int64], block: int = 1 << 16) -> Iterator[Entry]:
    """The entries at positions of any order. Blocks of them are read in the file's order, so that none is decoded twice."""
    for begin in range(0, len(positions), block):
        wanted = positions[begin : begin + block]
        order = np.argsort(wanted, kind="stable")
        found: list[Entry | None] = [None] * len(wanted)
        for n in order:
            found[n] = entries.at(int(wanted[n]))
        yield from (entry for entry in found if entry is not None)


def choose(
    entries: Entries,
    describe: Describe,
    select: Mapping[str, Any],
    seed: int | None,
    split: str | None,
    limit: int | None,
    where: str,
) -> NDArray[np.int64] | None:
    """Positions of the cases that select, seed, split and limit keep, in their order; None: all of them.

    Raises ``DatasetError`` when none is left.
    """
    name, part = parse_split(split)
    if not select and seed is None and split is None:
        return None if limit is None else np.arange(min(limit, len(entries)), dtype=np.int64)
    _check_ids(entries, select, where)
    stop = limit if seed is None and part is None else None
    kept, ranks, owners = _scan(
        entries, describe, {**select, **({"split": name} if name else {})}, seed, part, stop
    )
    if not len(kept):
        raise DatasetError(
            f"{where}: select {dict(select)!r}, split {split!r} leave none of {len(entries)} cases"
        )
    if part is not None:
        mine = _part(owners, *part, seed or 0, where)
        kept, ranks = kept[mine], ranks[mine] if seed is not None else ranks
    return (kept if seed is None else kept[np.argsort(ranks, kind="stable")])[:limit]


def _scan(
    entries: Entries,
    describe: Describe,
    select: Mapping[str, Any],
    seed: int | None,
    part: Any,
    stop: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.bytes_], list[str]]:
    """Positions that match, their ranks under the seed, and their patients where a part is asked for."""
    kept: list[int] = []
    ranks: list[bytes] = []
    owners: list[str] = []
    names: dict[str, str] = {}
    for position, entry in enumerate(entries.brief()):
        case = describe(entry)
        if not all(_fits(case, key, wanted) for key, wanted in select.items()):
            continue
        kept.append(position)
        if seed is not None:
            ranks.append(digest("order", seed, case.id).encode()[:32])
        if part is not None:
            owner = f"patient {case.patient}"
            owners.append(names.setdefault(owner, owner))  # one text a patient, not one a slice
        if stop is not None and len(kept) == stop:
            break
    return np.array(kept, dtype=np.int64), np.array(ranks, dtype="S32"), owners


def _fits(case: CaseInfo, key: str, wanted: Any) -> bool:
    values = [str(value) for value in (wanted if isinstance(wanted, list | tuple) else [wanted])]
    if key == "id":
        return any(case.id == value or fnmatch.fnmatchcase(case.id, value) for value in values)
    return str(case.patient if key == "patient" else case.metadata.get(key)) in values


def _check_ids(entries: Entries, select: Mapping[str, Any], where: str) -> None:
    wanted = select.get("id", ())
    for value in wanted if isinstance(wanted, list | tuple) else [wanted]:
        if not re.search(r"[*?\[]", str(value)):
            try:
                entries.position(str(value))
            except KeyError:
                raise DatasetError(f"{where}: select names the id {value!r}, which is not there") from None


def _part(owners: list[str], k: int, n: int, seed: int, where: str) -> NDArray[np.bool_]:
    """Which cases belong to the k-th of n parts of the patients, as ``selection.keep_split`` cuts them."""
    ranked = sorted(set(owners), key=lambda owner: digest("split", seed, owner))
    mine = set(ranked[len(ranked) * (k - 1) // n : len(ranked) * k // n])
    if not mine:
        raise DatasetError(f"{where}: part {k}/{n} is empty: there are only {len(ranked)} patients")
    return np.array([owner in mine for owner in owners])
