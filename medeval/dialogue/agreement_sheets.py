"""Sheets of ratings in long form: one line a (dialogue, item, rater), from people, judges or any other system.

CSV with the columns ``dialogue, item, rater, score`` (``case_id, item_id, rater_id`` are read too) and, where known,
``patient``; or the JSON lines that ``medeval annotate`` leaves. A score is a number, ``NA`` (not applicable) or empty (not
rated).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from medeval.dialogue.files import DialogueFileError, parsed_json, read_text
from medeval.types.errors import nearest

COLUMNS = ("dialogue", "item", "rater", "score")
_ALSO = {"case_id": "dialogue", "case": "dialogue", "item_id": "item", "rater_id": "rater", "judge": "rater", "patient_id": "patient"}  # fmt: skip
_NA = frozenset({"na", "n/a", "not applicable"})


@dataclass(frozen=True)
class Mark:
    """One rating. score: None where there is none; na: the rater finds the item not applicable.

    patient: whose dialogue it is, "" where not known (the dialogue then counts as its own patient).
    """

    dialogue: str
    item: str
    rater: str
    score: float | None
    na: bool = False
    patient: str = ""


def read_sheet(path: Path, rater: str = "") -> list[Mark]:
    """The marks of a sheet; of a JSON lines file the last one of each (dialogue, item, rater) stands.

    rater: who it is where the sheet has no such column. Raises ``DialogueFileError`` naming file, line and column.
    """
    text = read_text(path).removeprefix("\ufeff")
    found: dict[tuple[str, str, str], Mark] = {}
    lines = path.suffix.lower() in (".jsonl", ".ndjson")
    for number, row in _json_rows(text, path) if lines else _csv_rows(text, path, rater):
        mark = _mark(row, f"{path}:{number}", rater)
        key = mark.dialogue, mark.item, mark.rater
        if key in found and not lines:
            told = ", ".join(repr(part) for part in key)
            raise DialogueFileError(f"{path}:{number}: {told} is rated twice in this sheet")
        found[key] = mark
    if not found:
        raise DialogueFileError(f"{path}: no ratings; expected the columns {', '.join(COLUMNS)}")
    return list(found.values())


def _csv_rows(text: str, path: Path, rater: str) -> Iterable[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(StringIO(text))
    try:
        names = [_ALSO.get(name.strip().lower(), name.strip().lower()) for name in next(reader, [])]
        needed = [name for name in COLUMNS if name != "rater" or not rater]
        if missing := [name for name in needed if name not in names]:
            raise DialogueFileError(f"{path}: no column {missing[0]!r}; {nearest(missing[0], names)}")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(names):
                    raise DialogueFileError(
                        f"{path}:{reader.line_num}: {len(cells)} cells, the header has {len(names)}"
                    )
                yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise DialogueFileError(f"{path}:{reader.line_num}: no CSV: {error}") from error


def _json_rows(text: str, path: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parsed_json(line, f"{path}:{number}")
        except DialogueFileError:
            if number == len(lines):  # torn: the rater's machine stopped while it was being written
                return
            raise
        if not isinstance(row, dict):
            raise DialogueFileError(f"{path}:{number}: expected an object {{{', '.join(COLUMNS)}}}")
        yield number, row


def _mark(row: Mapping[str, Any], where: str, rater: str) -> Mark:
    names = {}
    for name in ("dialogue", "item", "rater"):
        given = row.get(name)
        value = str(given).strip() if given is not None else rater if name == "rater" else ""
        if not value:
            raise DialogueFileError(f"{where}: {name} is empty")
        names[name] = value
    given = row.get("score")
    text = "" if given is None else str(given).strip()
    na = row.get("na") is True or text.lower() in _NA
    return Mark(
        **names, score=None if na else _score(text, where), na=na, patient=str(row.get("patient") or "")
    )


def _score(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DialogueFileError(
            f"{where}: score {text!r} is no number; write NA where the item does not apply"
        )
    return score


def sheet_text(marks: Iterable[Mark]) -> str:
    """Marks as CSV, as ``read_sheet`` reads them."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for mark in marks:
        score = "NA" if mark.na else "" if mark.score is None else f"{mark.score:g}"
        writer.writerow([mark.dialogue, mark.item, mark.rater, score])
    return out.getvalue()


def template_text(dialogues: Sequence[str], items: Sequence[str], rater: str) -> str:
    """An empty sheet: every item of every dialogue, to be filled in."""
    return sheet_text(Mark(dialogue, item, rater, None) for dialogue in dialogues for item in items)
