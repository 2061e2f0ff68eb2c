"""``questions``: multiple-choice and open questions as a dataset, one a row, from JSON lines, CSV, TSV or Parquet.

    {"id": "q1", "question": "...", "options": ["...", "..."], "answer": "B", "subject": "cardiology"}
    {"id": "q2", "question": "...", "answer": ["myocardial infarction", "heart attack"], "image": "ecg.png"}

MedQA's files are read as they are (``options`` by letter, ``answer_idx``), and so are MedMCQA's (``opa`` .. ``opd``, ``cop``:
say whether it counts from 0 or 1 by ``first_answer``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.datasets.paths import inside
from medeval.datasets.rows import read_rows
from medeval.types import Case, CaseInfo, DataError, DatasetError

LETTERS = "ABCDEFGHIJ"
BUNDLED = Path(str(files("medeval.datasets").joinpath("bundled", "questions.jsonl")))
_TAKEN = frozenset(
    {"id", "question", "options", "answer", "answer_idx", "image", "images", "patient", "context", "cop"}
)
_MEDMCQA = ("opa", "opb", "opc", "opd")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """One question. options: texts in the file's order, () for an open one. right: position of the right option, None for
    an open one. accepted: texts that count as right. pictures: files that belong to it."""

    text: str
    options: tuple[str, ...]
    right: int | None
    accepted: tuple[str, ...]
    context: str = ""
    pictures: tuple[Path, ...] = ()


class Questions(Dataset):
    """One question a case. Inputs: ``question``, ``options``, ``context``, ``pictures`` (paths); reference: ``answer``.

    Columns: ``question``; ``options`` (a list, a mapping by letter, JSON in a cell) or columns A, B, C ...; ``answer`` (a
    letter, the option's text, or a number with ``first_answer``; for open questions a text or a list of accepted ones);
    ``id``, ``patient``, ``context``, ``image`` where there are any. All other columns are metadata.
    """

    selecting: ClassVar[frozenset[str]] = Dataset.selecting | {"file", "root", "allow_outside"}

    file: Path | None = Field(
        None,
        description="JSON lines, .csv, .tsv or .parquet; default: bundled questions, written for medeval.",
    )
    root: Path | None = Field(None, description="Folder of the images; default: the file's.")
    first_answer: Literal[0, 1] | None = Field(
        None, description="What a numeric answer counts from; needed where answers are numbers."
    )
    allow_outside: bool = Field(
        False, description="Permit image paths that are absolute, climb, or lead out by a link."
    )

    @cached_property
    def questions(self) -> Mapping[str, tuple[Question, Row]]:
        """id -> question and its row. Raises ``DatasetError`` naming file, question and what is wrong."""
        found: dict[str, tuple[Question, Row]] = {}
        rows = read_rows(self._path, as_text=["id", "patient", "answer", *LETTERS])
        for number, row in enumerate(rows, start=1):
            name = row.get("id")
            name = f"q{number:05d}" if name is None else str(name)
            if name in found:
                raise DatasetError(
                    f"{self._path}: question {name!r} occurs more than once; again in row {number}"
                )
            found[name] = self._question(row, f"{self._path}: question {name!r}"), row
        return found

    def scan(self) -> Sequence[CaseInfo]:
        """The questions in the file's order; one that names no patient is independent of all others."""
        return [
            CaseInfo(name, str(row.get("patient") or name), _metadata(question, row))
            for name, (question, row) in self.questions.items()
        ]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"questions in {self._path}"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """The question's pictures; its text is part of ``reading``."""
        return {f"picture {n}": path for n, path in enumerate(self._of(case_id).pictures, start=1)}

    def reading(self, case_id: str) -> Any:
        """Text, options and answer."""
        asked = self._of(case_id)
        return [asked.text, asked.options, asked.right, asked.accepted, asked.context]

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs and reference; ``DataError`` for a picture that is not there."""
        asked = self._of(case_id)
        for path in asked.pictures:
            if not path.is_file():
                raise DataError(f"{self._path}: question {case_id!r}: no picture {path}")
        inputs = {"question": asked.text, "options": asked.options, "context": asked.context, "pictures": asked.pictures}  # fmt: skip
        reference = {"answer": asked.right if asked.options else asked.accepted}
        return self.case(
            case_id, inputs if "inputs" in fields else {}, reference if "reference" in fields else {}
        )

    @property
    def _path(self) -> Path:
        return self.file or BUNDLED

    def _of(self, case_id: str) -> Question:
        self.info(case_id)
        return self.questions[case_id][0]

    def _question(self, row: Row, where: str) -> Question:
        text = row.get("question")
        if not isinstance(text, str) or not text.strip():
            raise DatasetError(f"{where}: `question` must be a text, got {text!r}")
        options = _options(row, where)
        right = self._right(row, options, where) if options else None
        accepted = () if options else _accepted(row, where)
        context = row.get("context")
        if context is not None and not isinstance(context, str):
            raise DatasetError(f"{where}: `context` must be a text, got {type(context).__name__}")
        return Question(text, options, right, accepted, context or "", self._pictures(row, where))

    def _right(self, row: Row, options: Sequence[str], where: str) -> int:
        given = next((row[k] for k in ("answer_idx", "answer", "cop") if row.get(k) is not None), None)
        number = given if isinstance(given, int) and not isinstance(given, bool) else None
        if (
            number is None
            and isinstance(given, str)
            and given.strip().isdigit()
            and given.strip() not in options
        ):
            number = int(given)
        if number is not None:
            if self.first_answer is None:
                raise DatasetError(
                    f"{where}: the answer is the number {number}; say `first_answer: 0` or `first_answer: 1`"
                )
            at = number - self.first_answer
        else:
            at = _position(given, options)
        if not 0 <= at < len(options):
            raise DatasetError(
                f"{where}: answer {given!r} is none of the {len(options)} options; give its letter, its text or its number"
            )
        return at

    def _pictures(self, row: Row, where: str) -> tuple[Path, ...]:
        given = row.get("images") if row.get("images") is not None else row.get("image")
        entries = [] if given is None else given if isinstance(given, list) else [given]
        if not all(isinstance(entry, str) for entry in entries):
            raise DatasetError(f"{where}: `image` must be a path or a list of paths")
        root = self.root or self._path.parent
        try:
            return tuple(inside(root, e, self._path, allow_outside=self.allow_outside) for e in entries)
        except DataError as error:
            raise DatasetError(f"{where}: {error}") from error


def _metadata(question: Question, row: Row) -> dict[str, Any]:
    """Further columns, and what kind of question it is."""
    kind = "choice" if question.options else "open"
    rest = {
        k: v
        for k, v in row.items()
        if k not in _TAKEN
        and k not in LETTERS
        and k not in _MEDMCQA
        and isinstance(v, str | int | float | bool)
    }
    return {**rest, "kind": kind, "pictures": len(question.pictures)}


def _options(row: Row, where: str) -> tuple[str, ...]:
    given = row.get("options")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{where}: `options` must be a JSON list: {error.msg}") from error
    if given is None:
        columns = LETTERS if any(row.get(letter) is not None for letter in LETTERS) else _MEDMCQA
        given = [row[name] for name in columns if row.get(name) is not None]
    if isinstance(given, Mapping):
        letters = sorted(given)
        if "".join(letters) != LETTERS[: len(letters)]:
            raise DatasetError(f"{where}: options must be lettered A, B, C ... without a gap; got {letters}")
        given = [given[letter] for letter in letters]
    if not isinstance(given, list | tuple) or not all(isinstance(text, str | int | float) for text in given):
        raise DatasetError(f"{where}: `options` must be a list of texts, or a mapping by letter")
    texts = tuple(str(text).strip() for text in given)
    if len(texts) == 1 or len(texts) > len(LETTERS) or len(set(texts)) != len(texts):
        raise DatasetError(f"{where}: 2 to {len(LETTERS)} different options are needed, got {list(texts)}")
    return texts


def _position(given: Any, options: Sequence[str]) -> int:
    """Position of an answer that is a letter or an option's text; -1 when it is neither."""
    text = str(given).strip() if given is not None else ""
    if text in options:
        return options.index(text)
    return LETTERS.index(text.upper()) if len(text) == 1 and text.upper() in LETTERS else -1


def _accepted(row: Row, where: str) -> tuple[str, ...]:
    given = row.get("answer")
    texts = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str | int | float) and str(text).strip() for text in texts):
        raise DatasetError(
            f"{where}: an open question needs `answer`: a text or a list of accepted texts; got {given!r}"
        )
    return tuple(str(text).strip() for text in texts)
