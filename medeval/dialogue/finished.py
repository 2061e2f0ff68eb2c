"""Dialogues that were held elsewhere, by any system: JSON lines of chat messages, judged with no doctor at hand.

One line a dialogue: ``{"case": "chest-pain", "sample": 0, "messages": [{"role": "assistant", "content": ...}, ...]}``.
The doctor is ``assistant`` (or ``doctor``), the patient ``user`` (or ``patient``), results come as ``tool`` (or
``examiner``); system messages are left out. ``diagnoses: [...]`` gives the ranked list, else it is read off the last
doctor's message.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from medeval.dialogue.diagnosis import is_final, ranked_list
from medeval.dialogue.files import DialogueFileError, parsed_json, read_text
from medeval.dialogue.turns import Dialogue, Turn
from medeval.types import Case, CaseInfo, DataError, Key

_SPEAKER = {
    "assistant": "doctor", "doctor": "doctor", "user": "patient", "patient": "patient", "tool": "examiner",
    "examiner": "examiner", "measurement": "examiner",
}  # fmt: skip


def dialogue_of(entry: Mapping[str, Any], where: str) -> Dialogue:
    """One line's dialogue. Raises ``DialogueFileError`` naming the message that is none."""
    messages = entry.get("messages", entry.get("dialogue"))
    if not isinstance(messages, list) or not messages:
        raise DialogueFileError(
            f"{where}: `messages` must be a list of {{role, content}}, got {type(messages).__name__}"
        )
    turns: list[Turn] = []
    for number, said in enumerate(messages, start=1):
        role = said.get("role", said.get("speaker")) if isinstance(said, Mapping) else None
        text = said.get("content", said.get("text")) if isinstance(said, Mapping) else None
        if role == "system":
            continue
        if role not in _SPEAKER or not isinstance(text, str):
            raise DialogueFileError(f"{where}, message {number}: expected role one of {', '.join(_SPEAKER)} and text content, "
                                    f"got role {role!r} and content of type {type(text).__name__}")  # fmt: skip
        speaker = _SPEAKER[role]
        flags = (
            ("silent",)
            if speaker == "doctor" and not text.strip()
            else ("final",)
            if speaker == "doctor" and is_final(text)
            else ()
        )
        turns.append(Turn(len(turns) + 1, speaker, text.strip(), flags=flags))  # type: ignore[arg-type]
    given = entry.get("diagnoses", entry.get("diagnosis"))
    named = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else None
    if named is None:
        last = next((turn for turn in reversed(turns) if turn.speaker == "doctor"), None)
        named = ranked_list(last.text) if last else ()
    return Dialogue(tuple(turns), "given", named)


class FinishedDialogues(BaseModel):
    """An output source: dialogues of a JSONL file, by case and sample."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))
    source: ClassVar[bool] = True
    by_case: ClassVar[tuple[str, ...]] = ("file",)

    file: Path = Field(description="JSON lines, one dialogue a line: {case, sample, messages}.")

    @cached_property
    def dialogues(self) -> Mapping[tuple[str, int], Dialogue]:
        """(case id, sample) -> dialogue. Raises ``DialogueFileError``."""
        found: dict[tuple[str, int], Dialogue] = {}
        for number, line in enumerate(read_text(self.file).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{self.file}:{number}"
            entry = parsed_json(line, where)
            if not isinstance(entry, dict) or not isinstance(entry.get("case"), str):
                raise DialogueFileError(
                    f"{where}: a line is {{case: id, messages: [...]}}; `case` is missing"
                )
            key = entry["case"], int(entry.get("sample", 0))
            if key in found:
                raise DialogueFileError(f"{where}: case {key[0]!r}, sample {key[1]} occurs twice")
            found[key] = dialogue_of(entry, where)
        return found

    def answer_identity(self, case: CaseInfo) -> list[Any] | None:
        """The dialogues of a case with their samples, None where there are none. Raises what ``dialogues`` raises."""
        held = [
            [sample, told.to_plain()] for (name, sample), told in self.dialogues.items() if name == case.id
        ]
        return held or None

    def output(self, case: Case, key: Key) -> dict[str, Any]:
        """The dialogue of a case's sample, as plain data. Raises ``DataError`` when the file has none, or is broken."""
        try:
            found = self.dialogues.get((case.id, key.sample))
        except DialogueFileError as error:
            raise DataError(str(error)) from error
        if found is None:
            raise DataError(f"{self.file}: no dialogue of case {case.id!r}, sample {key.sample}")
        return found.to_plain()
