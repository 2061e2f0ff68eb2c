"""``patient-cases``: cases of diagnostic dialogues as a dataset: the bundled ones, our JSON, or AgentClinic's JSON lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.dialogue.cases import PatientCase, load_cases
from medeval.types import Case, CaseInfo

CASE = "patient_case"
BUNDLED = Path(str(files("medeval.dialogue").joinpath("cases", "patients")))  # a folder


class PatientCases(Dataset):
    """One case a patient. The doctor sees ``objective``, ``demographics`` and ``complaint``; all else is reference.

    Metadata: language, source, and whether the case has red flags.
    """

    selecting: ClassVar[frozenset[str]] = Dataset.selecting | {"file"}

    file: Path | None = Field(
        None,
        description="JSON or JSON lines, or a folder of them; default: the 40 bundled cases, written for medeval.",
    )

    @cached_property
    def cases(self) -> Mapping[str, PatientCase]:
        """id -> case. Raises ``DialogueFileError``, which names file, case and key."""
        return {case.id: case for case in load_cases(self.file or BUNDLED)}

    def scan(self) -> Sequence[CaseInfo]:
        """The cases in the file's order."""
        return [
            CaseInfo(
                c.id,
                c.patient or c.id,
                {"language": c.language, "source": c.source, "red_flags": bool(c.red_flags)},
            )
            for c in self.cases.values()
        ]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"patient cases in {self.file or 'the package'}"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """None of its own: many cases share a file, and ``reading`` holds all of a case."""
        return {}

    def reading(self, case_id: str) -> Any:
        """The case as plain data."""
        return self._case(case_id).model_dump(mode="json")

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs and reference."""
        case = self._case(case_id)
        inputs = {
            "objective": case.objective,
            "demographics": case.demographics,
            "complaint": case.chief_complaint,
        }
        return self.case(
            case_id, inputs if "inputs" in fields else {}, {CASE: case} if "reference" in fields else {}
        )

    def _case(self, case_id: str) -> PatientCase:
        self.info(case_id)
        return self.cases[case_id]
