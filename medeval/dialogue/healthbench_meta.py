"""``healthbench-meta``: HealthBench's meta-evaluation lines as they are: answers, criteria, and what physicians said of them.

{"prompt": [...], "completion": "...", "rubric": "...", "binary_labels": [true, false],
 "anonymized_physician_ids": ["a", "b"], "category": "cluster:...", "prompt_id": "...", "completion_id": "..."}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.dialogue.files import checked, parsed_json, read_text
from medeval.dialogue.healthbench import Prompt
from medeval.types import Case, CaseInfo

LABELS = "labels"


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    prompt: Prompt
    completion: str
    rubric: str = Field(min_length=1)
    binary_labels: list[bool] = Field(min_length=1)
    anonymized_physician_ids: list[str] | None = None
    category: str = "(none)"
    prompt_id: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.anonymized_physician_ids is not None and len(self.anonymized_physician_ids) != len(
            self.binary_labels
        ):
            raise ValueError(
                f"{len(self.anonymized_physician_ids)} anonymized_physician_ids for {len(self.binary_labels)} binary_labels"
            )
        return self


@dataclass(frozen=True)
class Labels:
    """met: what each physician said. physicians: who they are, "" where not known."""

    met: tuple[bool, ...]
    physicians: tuple[str, ...]


class HealthBenchMeta(Dataset):
    """One criterion of one answer a case. Inputs: ``messages``, ``completion``, ``criterion``; reference: ``labels``.

    Criteria and answers of one conversation are not independent: the conversation is the patient.
    """

    selecting: ClassVar[frozenset[str]] = Dataset.selecting | {"file"}

    file: Path = Field(description="HealthBench's meta-evaluation, JSON lines.")

    @cached_property
    def lines(self) -> Mapping[str, _Line]:
        """Case id -> line. Raises ``DialogueFileError``, which names file, line and key."""
        found = {}
        for number, text in enumerate(read_text(self.file).split("\n"), start=1):
            if text.strip():
                where = f"{self.file}:{number}"
                found[f"g{number:06d}"] = checked(_Line, parsed_json(text, where), where)
        return found

    def scan(self) -> Sequence[CaseInfo]:
        """The lines in order."""
        return [
            CaseInfo(
                name, line.prompt_id or name, {"category": line.category, "labels": len(line.binary_labels)}
            )
            for name, line in self.lines.items()
        ]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"graded criteria in {self.file}"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """None of its own: ``reading`` holds all of a line."""
        return {}

    def reading(self, case_id: str) -> Any:
        """The line."""
        return self._of(case_id).model_dump(mode="json")

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs and reference."""
        line = self._of(case_id)
        inputs = {"messages": tuple(line.prompt), "completion": line.completion, "criterion": line.rubric}
        ids = tuple(line.anonymized_physician_ids or [""] * len(line.binary_labels))
        reference = {LABELS: Labels(tuple(line.binary_labels), ids)}
        return self.case(
            case_id, inputs if "inputs" in fields else {}, reference if "reference" in fields else {}
        )

    def _of(self, case_id: str) -> _Line:
        self.info(case_id)
        return self.lines[case_id]
