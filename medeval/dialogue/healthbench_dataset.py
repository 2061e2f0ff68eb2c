"""``healthbench``: HealthBench-style JSON lines as a dataset, and the physicians' completions in them as a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.dialogue.files import DialogueFileError, parsed_json, read_text
from medeval.dialogue.healthbench import Conversation, conversation_of
from medeval.types import Case, CaseInfo, DataError, Key

CONVERSATION = "conversation"
BUNDLED = Path(str(files("medeval.dialogue").joinpath("cases", "healthbench_style.jsonl")))


class HealthBench(Dataset):
    """One conversation a case. Inputs: ``messages``; reference: the conversation with its criteria.

    Metadata: each example tag, ``theme:hedging`` as ``theme``.
    """

    selecting: ClassVar[frozenset[str]] = Dataset.selecting | {"file"}

    file: Path | None = Field(
        None, description="HealthBench's JSON lines; default: a few conversations, written for medeval."
    )

    @cached_property
    def conversations(self) -> Mapping[str, Conversation]:
        """id -> conversation. Raises ``DialogueFileError``, which names file, line and key."""
        path = self.file or BUNDLED
        found: dict[str, Conversation] = {}
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            read = conversation_of(parsed_json(line, where), where, number)
            if read.id in found:
                raise DialogueFileError(f"{where}: prompt_id {read.id!r} occurs twice")
            found[read.id] = read
        return found

    def scan(self) -> Sequence[CaseInfo]:
        """The conversations in the file's order."""
        return [
            CaseInfo(
                c.id, c.patient or c.id, {**c.metadata, "turns": len(c.prompt), "criteria": len(c.criteria)}
            )
            for c in self.conversations.values()
        ]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"conversations in {self.file or 'the package'}"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """None of its own: ``reading`` holds all of a conversation."""
        return {}

    def reading(self, case_id: str) -> Any:
        """The conversation as plain data."""
        found = self._of(case_id)
        return [list(found.prompt), [c.model_dump(mode="json") for c in found.criteria], found.completion]

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs and reference."""
        found = self._of(case_id)
        return self.case(
            case_id,
            {"messages": found.prompt} if "inputs" in fields else {},
            {CONVERSATION: found} if "reference" in fields else {},
        )

    def _of(self, case_id: str) -> Conversation:
        self.info(case_id)
        return self.conversations[case_id]


class PhysicianCompletions(BaseModel):
    """An output source: the completion of a physician that HealthBench's line holds, where it holds one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: ClassVar[bool] = True

    def output(self, case: Case, key: Key) -> dict[str, Any]:
        """The completion. Raises ``DataError`` when there is none."""
        found: Conversation = case.reference[CONVERSATION]
        if not found.completion:
            raise DataError(f"conversation {case.id!r} holds no `ideal_completion`")
        return {"text": found.completion}
