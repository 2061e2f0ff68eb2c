"""A case, and the index that lists cases before any file is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CaseInfo:
    """What is known of a case without reading it.

    id: unique in its dataset.
    patient: whose case it is, or None when that is not known (images are then treated as independent).
    metadata: flat values (modality, vendor, site ...) that ``by`` and ``select`` can name.
    structures: names of the structures that the reference is known to hold, () when only reading tells.
    """

    id: str
    patient: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    structures: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """One evaluated item, read. A model is only ever shown ``inputs``.

    inputs: what the model gets, by field name (``image`` for imaging tasks: an ``Image``).
    reference: the truth, by field name (``structures`` for segmentation: ``Structures``); empty when only inputs were read.
    notes: what reading did to the case and the record should keep (``resampled``, ``trust-array``), "" if nothing.
    """

    id: str
    patient: str | None
    inputs: Mapping[str, Any]
    reference: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""


class CaseIndex(Sequence[CaseInfo]):
    """The ordered cases of a dataset; ids are unique."""

    def __init__(self, cases: Sequence[CaseInfo]) -> None:
        self._cases = tuple(cases)
        self._at = {case.id: position for position, case in enumerate(self._cases)}
        if len(self._at) != len(self._cases):
            seen: set[str] = set()
            twice = next(c.id for c in self._cases if c.id in seen or seen.add(c.id))  # type: ignore[func-returns-value]
            raise ValueError(f"case id {twice!r} occurs more than once")

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[CaseInfo]:
        return iter(self._cases)

    def __getitem__(self, position: Any) -> Any:
        return self._cases[position]

    def __contains__(self, case_id: object) -> bool:
        return case_id in self._at

    def info(self, case_id: str) -> CaseInfo:
        """The entry of one case; ``KeyError`` when there is none."""
        return self._cases[self._at[case_id]]

    @property
    def ids(self) -> tuple[str, ...]:
        """Case ids in order."""
        return tuple(self._at)

    @property
    def patients_known(self) -> bool:
        """True when every case names its patient."""
        return all(case.patient is not None for case in self._cases)
