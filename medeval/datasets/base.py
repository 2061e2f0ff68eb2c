"""What every dataset is: an ordered, fingerprinted collection of cases, read lazily and explicitly."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medeval.datasets.fingerprints import file_digest
from medeval.datasets.grids import OnGridMismatch
from medeval.datasets.selection import (
    check_patient_rule,
    check_split,
    keep_split,
    patient_of,
    selected,
    shuffled,
)
from medeval.types import Case, CaseIndex, CaseInfo, DataError, DatasetError, digest, nearest

FieldName = Literal["inputs", "reference"]
BOTH: tuple[FieldName, ...] = ("inputs", "reference")
Scalar = str | int | float | bool


class Dataset(BaseModel, ABC):
    """A dataset *is* its configuration: its fields are the YAML keys of a suite's ``datasets:`` entry.

    Subclasses implement ``scan`` (list the cases without reading voxels), ``read`` and ``sources``. Instances are
    frozen and cheap to build again from their options in another process; nothing is read before ``index`` or ``read``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    version: ClassVar[int] = 1  # raised when reading changes what a case holds
    selecting: ClassVar[frozenset[str]] = frozenset(
        {"limit", "split", "select", "seed", "patient_id", "metadata"}
    )  # fields that choose or describe cases and change nothing of what a case holds: outside its fingerprint

    limit: int | None = Field(
        None, ge=1, description="Keep the first N cases after selection (and shuffling by seed)."
    )
    split: str | None = Field(
        None,
        description="A part of the cases: a split that the format names (`test`), the k-th of n parts of the patients "
        "(`2/5`), or both (`train 2/5`).",
    )
    select: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Keep cases whose id or metadata match: {id: [..]}, {modality: CT}, {site: [A, B]}.",
    )
    seed: int | None = Field(
        None, description="Shuffle the cases by this seed before `limit`; unset keeps the order."
    )
    patient_id: str | None = Field(
        None,
        description="Where the patient is: a regular expression on the case id (first group, else the whole match), "
        "or `column:NAME` of the metadata.",
    )
    metadata: Mapping[str, Scalar] = Field(
        default_factory=dict,
        description="Values given to every case: {modality: CT, site: A}; they win over the file's.",
    )

    _check_patient = field_validator("patient_id")(check_patient_rule)
    _check_split = field_validator("split")(check_split)

    # What a format implements

    @abstractmethod
    def scan(self) -> Sequence[CaseInfo]:
        """All cases that the format holds, in their natural order, without reading voxels.

        Raises ``DatasetError`` when the dataset as a whole cannot be opened. One case's missing or forbidden file is no
        reason to raise: it is listed, ``check`` tells it, and ``read`` raises ``DataError``.
        """

    @abstractmethod
    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Read one case: its inputs, its reference or both.

        Raises ``DataError`` naming the file, ``DatasetError`` when there is no such case.
        """

    @abstractmethod
    def sources(self, case_id: str) -> Mapping[str, Path]:
        """role -> file of one case, existing or not; ``DataError`` when a path is refused."""

    def looked_for(self) -> str:
        """What ``scan`` looks for, in words: the message of an empty dataset."""
        return "cases"

    def reading(self, case_id: str) -> Any:
        """Plain data beside the files' bytes that decides what a case holds (label names, a table's values)."""
        return None

    @property
    def structures(self) -> tuple[str, ...]:
        """Every structure that each case's labelling knows, present or not; () when a reference lists only what it holds."""
        return ()

    # What every dataset does

    @cached_property
    def index(self) -> CaseIndex:
        """The cases of this configuration: scan, patient, select, shuffle, split, limit. Raises ``DatasetError``."""
        cases = [self._described(case) for case in self.scan()]
        if not cases:
            raise DatasetError(f"{self._what}: no cases; looked for {self.looked_for()}")
        cases = selected(cases, self.select, self._what)
        if self.seed is not None:
            cases = shuffled(cases, self.seed)
        cases = keep_split(cases, self.split, self.seed or 0, self._what)
        try:
            return CaseIndex(cases[: self.limit])
        except ValueError as error:
            raise DatasetError(f"{self._what}: {error}; case ids must be unique") from error

    def info(self, case_id: str) -> CaseInfo:
        """The entry of one case; ``DatasetError`` with the nearest ids when there is none."""
        try:
            return self.index.info(case_id)
        except KeyError:
            known = (
                nearest(case_id, self.index.ids)
                if len(self.index) <= 50
                else f"{len(self.index)} cases are known"
            )
            raise DatasetError(f"{self._what}: no case {case_id!r}; {known}") from None

    def fingerprint(self, case_id: str) -> str:
        """SHA-256 (hex) of what reading this case would give: the files' bytes and the options that change reading.

        Names of folders, modification times and the options that only choose cases are outside it. A file that is
        missing counts as missing, so that the fingerprint changes when it arrives.
        """
        options = self.model_dump(mode="json", exclude=set(self.selecting))
        parts: list[object] = [type(self).__qualname__, self.version, case_id, _canonical(options)]
        try:
            parts.append(_canonical(self.reading(case_id)))
            for role, path in sorted(self.sources(case_id).items()):
                parts += [role, file_digest(path)]
        except DataError:
            parts.append("refused")
        return digest(*parts)

    def check(self) -> list[str]:
        """What is wrong with the cases as far as the file system tells, one sentence each; nothing is read."""
        problems = []
        for case in self.index:
            try:
                sources = self.sources(case.id)
            except DataError as error:
                problems.append(f"{case.id}: {error}")
                continue
            for role, path in sources.items():
                if not path.is_file():
                    problems.append(f"{case.id}: {role} {path} is missing")
                elif path.stat().st_size == 0:
                    problems.append(f"{case.id}: {role} {path} is empty (0 bytes)")
        return problems

    def case(
        self, case_id: str, inputs: Mapping[str, Any], reference: Mapping[str, Any], notes: str = ""
    ) -> Case:
        """A ``Case`` with the patient and metadata of the index: what ``read`` returns."""
        info = self.info(case_id)
        return Case(info.id, info.patient, inputs, reference, info.metadata, notes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A dataset with other options; validated, and without the cached index of this one."""
        return type(self).model_validate(
            {**{name: getattr(self, name) for name in self.model_fields_set}, **(update or {})}
        )

    @property
    def _what(self) -> str:
        where = getattr(self, "root", None) or getattr(self, "file", None)
        return f"{type(self).__name__} {where}" if where else type(self).__name__

    def _described(self, case: CaseInfo) -> CaseInfo:
        """The case with the configured metadata and its patient."""
        case = replace(case, metadata={**case.metadata, **self.metadata})
        return (
            case
            if self.patient_id is None
            else replace(case, patient=patient_of(case, self.patient_id, self._what))
        )


class ImagingDataset(Dataset):
    """A dataset of images with masks: the options that every image format shares."""

    on_grid_mismatch: OnGridMismatch = Field(
        "error",
        description="When image and mask lie on different voxel grids: `error`; `resample` the mask onto the image's grid "
        "(nearest neighbour); `trust-array`: ignore the headers where the shapes agree.",
    )
    on_nonfinite: Literal["error", "replace"] = Field(
        "error",
        description="When an image holds NaN or infinite voxels: `error`, or `replace` them by the smallest finite value.",
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
