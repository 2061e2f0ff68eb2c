"""A vendor's scores as a file: ``case_id, patient_id, y_true, score``, one row a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medeval.datasets.rows import read_rows
from medeval.types import Case, CaseInfo, DataError, DatasetError, Key, ModelFailure, Output, nearest


class ScoresFile(BaseModel):
    """An output source: scores of studies (or triage levels) by case id, from CSV, TSV, Parquet or JSON lines.

    Scores on another scale than [0, 1] are mapped onto it by ``range``, and the threshold with them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))
    source: ClassVar[bool] = True
    by_case: ClassVar[tuple[str, ...]] = ("file",)

    file: Path = Field(description="The table of scores.")
    id: str = Field("case_id", description="Column of the case id.")
    score: str = Field("score", description="Column of the score, or of the triage level.")
    label: str = Field(
        "y_true", description="Column of the label, checked against the dataset's where it is there."
    )
    threshold: float | None = Field(
        None, description="The vendor's threshold, on the file's scale; default: the task's."
    )
    range: tuple[float, float] = Field(
        (0.0, 1.0), description="Lowest and highest score of the file's scale."
    )

    @field_validator("range")
    @classmethod
    def _ordered(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not ends[0] < ends[1]:
            raise ValueError(f"{list(ends)}: the lowest score must be below the highest")
        return ends

    @cached_property
    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """case id -> row. Raises ``DatasetError`` for a missing column, a case that occurs twice, a score off the scale."""
        found: dict[str, Mapping[str, Any]] = {}
        for number, row in enumerate(read_rows(self.file, as_text=[self.id]), start=1):
            for column in (self.id, self.score):
                if column not in row:
                    raise DatasetError(f"{self.file}: no column {column!r}; {nearest(column, row)}")
            case = row[self.id]
            if case is None:
                raise DatasetError(f"{self.file}: row {number} has no value in the id column {self.id!r}")
            if str(case) in found:
                raise DatasetError(
                    f"{self.file}: case id {str(case)!r} occurs more than once; again in row {number}"
                )
            self._check_score(number, row[self.score])
            found[str(case)] = row
        if not found:
            raise DatasetError(f"{self.file}: no rows")
        return found

    def check(self, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Cases without a score, and scores of no case. Raises what ``rows`` raises: before any work is done."""
        known = set(ids)
        return [case for case in ids if case not in self.rows], [
            case for case in self.rows if case not in known
        ]

    def answer_identity(self, case: CaseInfo) -> Mapping[str, Any] | None:
        """The row of a case, None where there is none. Raises what ``rows`` raises."""
        return self.rows.get(case.id)

    def output(self, case: Case, key: Key) -> Output:
        """The score of a case. Raises ``ModelFailure`` where the vendor gave none, ``DataError`` for another label."""
        try:
            row = self.rows.get(case.id)
        except DatasetError as error:
            raise DataError(str(error)) from error
        if row is None or row[self.score] is None:
            raise ModelFailure(f"{self.file}: no score of case {case.id!r}")
        truth = case.reference.get("label", case.reference.get("level"))
        told = row.get(self.label)
        if told is not None and truth is not None and told != truth and str(told) != str(truth):
            raise DataError(
                f"{self.file}: case {case.id!r} has {self.label} {told!r}, the dataset says {truth!r}"
            )
        columns = {} if self.threshold is None else {"threshold": self._mapped(self.threshold)}
        given = row[self.score]
        return Output(
            case.id, key, given if isinstance(given, str) else self._mapped(float(given)), columns=columns
        )

    def _check_score(self, number: int, score: Any) -> None:
        """Off the scale is found before the run; a text may be a triage level."""
        if isinstance(score, str) or score is None:
            return
        low, high = self.range
        if not low <= score <= high:
            raise DatasetError(f"{self.file}: row {number} has score {score}, outside [{low:g}, {high:g}]; "
                               "give the file's scale as `range: [LOWEST, HIGHEST]`")  # fmt: skip

    def _mapped(self, score: float) -> float:
        low, high = self.range
        return score if self.range == (0.0, 1.0) else (score - low) / (high - low)
