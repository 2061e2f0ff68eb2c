"""Which cells of published tables must be hidden so that no small group of people can be told from the rest.

Primary suppression hides the cells of fewer than so many people; complementary suppression hides further cells until no
hidden one follows from those that are left (Hundepool et al. 2012, Statistical Disclosure Control, chapter 4). What
follows is told by linear algebra: a cell is a sum over atoms (records that all tables put into the same groups), and a sum
can be had from the published ones exactly if it lies in their span. Means with their n are such sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
_ROUNDS = 30  # of hiding one cell of each sum that can be had; after that all of its cells go
_ROUNDING = 1e-7
_NO_FAMILY = "\0"


def hidden_cells(
    members: Bools, people: Sequence[NDArray[np.int64]], counts: NDArray[np.int64], families: Sequence[str], least: int
) -> Bools:  # fmt: skip
    """(cells,) True for each cell that must not be published.

    members: (cells, atoms) which atoms a cell is made of. people: of each atom the numbers of its people. counts: (cells,)
    people behind each cell's value, at most those of its atoms. families: (cells,) the table that a cell is of; cells of one
    family do not overlap, "" is the total. least: people that a published cell, and every difference of nested ones, holds.
    """
    counts = np.asarray(counts, dtype=np.int64)
    audit = _Audit(members, people, families, counts, least)
    hidden = counts < least
    rounds = 0
    while leaks := audit.leaks(hidden):
        rounds += 1
        gone: set[int] = set()
        for leak in leaks:
            if gone.isdisjoint(leak.rests_on.tolist()):  # else it is broken already
                best = audit.dearest_last(leak)
                gone.update(best.tolist() if rounds > _ROUNDS else best[:1].tolist())
        hidden[list(gone)] = True
    return hidden


@dataclass(frozen=True, eq=False)
class _Sum:
    """Some atoms of few people. family: of the cells that it is made of, if they are of one."""

    family: str
    atoms: Bools


@dataclass(frozen=True, eq=False)
class _Leak:
    """A sum that can be had. rests_on: the published cells that it is had from."""

    family: str
    rests_on: NDArray[np.int64]


class _Audit:
    """What follows from the cells that are published."""

    def __init__(
        self, members: Bools, people: Sequence[NDArray[np.int64]], families: Sequence[str], counts: NDArray[np.int64], least: int
    ) -> None:  # fmt: skip
        self._members = np.asarray(members, dtype=bool)
        self._people = [np.unique(part) for part in people]
        self._families = np.array(families, dtype=object)
        self._counts, self._least = counts, least
        self._large = np.array([len(part) >= least for part in self._people], dtype=bool)
        numbers = self._members.astype(np.float32)
        shared = numbers @ numbers.T
        self._inside = shared == np.diag(shared)[None, :]  # (outer, inner): all of inner is in outer

    def leaks(self, hidden: Bools) -> list[_Leak]:
        """All sums over few people that can be had from what is not hidden."""
        shown = np.flatnonzero(~hidden)
        targets = [*self._targets(hidden), *self._nested(shown)] if len(shown) else []
        if not targets:
            return []
        left, sizes, right = np.linalg.svd(self._members[shown].astype(np.float64), full_matrices=False)
        kept = sizes > _ROUNDING * max(sizes.max(initial=0.0), 1.0)
        left, sizes, right = left[:, kept], sizes[kept], right[kept]
        sums = np.array([target.atoms for target in targets], dtype=np.float64)
        inside = sums @ right.T
        had = np.linalg.norm(sums - inside @ right, axis=1) < _ROUNDING * np.sqrt(sums.shape[1])
        weights = np.abs((inside / sizes) @ left.T)
        return [
            _Leak(targets[at].family, shown[weights[at] > _ROUNDING * weights[at].max()])
            for at in np.flatnonzero(had)
        ]

    def _targets(self, hidden: Bools) -> Iterator[_Sum]:
        """Hidden cells of few people; what of a family is hidden in a published cell, together; small atoms."""
        for cell in np.flatnonzero(hidden):
            if self._few(self._members[cell]):
                yield _Sum(str(self._families[cell]), self._members[cell])
        for family in dict.fromkeys(self._families[hidden].tolist()):
            gone = np.flatnonzero(hidden & (self._families == family))
            for outer in np.flatnonzero(~hidden):
                within = gone[self._inside[outer, gone]]
                if len(within) > 1 and self._few(together := self._members[within].any(axis=0)):
                    yield _Sum(str(family), together)
        for atom in np.flatnonzero(~self._large):
            yield _Sum(_NO_FAMILY, np.arange(len(self._people)) == atom)

    def _nested(self, shown: NDArray[np.int64]) -> Iterator[_Sum]:
        """What few people are beside a published cell in another one."""
        large = self._members[np.ix_(shown, np.flatnonzero(self._large))].astype(np.float32)
        rest_large = large.sum(axis=1)[:, None] - large @ large.T
        for outer, inner in np.argwhere(self._inside[np.ix_(shown, shown)] & (rest_large < 0.5)):
            rest = self._members[shown[outer]] & ~self._members[shown[inner]]
            if self._few(rest):
                yield _Sum(str(self._families[shown[inner]]), rest)

    def dearest_last(self, leak: _Leak) -> NDArray[np.int64]:
        """The cells that a sum rests on, in the order in which they are given up: its own table's, others, the total; small first."""
        cells = leak.rests_on
        families = self._families[cells]
        rank = np.where(families == leak.family, 0, np.where(families != "", 1, 2))
        return cells[np.lexsort((self._counts[cells], rank))]

    def _few(self, atoms: Bools) -> bool:
        """True for atoms that hold somebody, and fewer than ``least`` people."""
        if (atoms & self._large).any():
            return False
        parts = [self._people[atom] for atom in np.flatnonzero(atoms)]
        return bool(parts) and 0 < len(np.unique(np.concatenate(parts))) < self._least
