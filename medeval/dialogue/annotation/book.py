"""What a rater said: one JSON line a click, appended and flushed to disk before the page hears that it is saved.

The last line of an item stands. A line that was torn by a crash was never acknowledged and is cut off when the book is opened.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from medeval.dialogue.agreement_sheets import Mark, read_sheet
from medeval.dialogue.files import DialogueFileError


class Book:
    """One rater's file. Only one process holds it at a time.

    Raises ``DialogueFileError`` when another one does, when it cannot be written, or when it holds somebody else's ratings.
    """

    def __init__(self, path: Path, rater: str) -> None:
        self.path, self.rater = path, rater
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise DialogueFileError(f"{path}: {error.strerror}") from error
        try:
            self._hold()
            self._cut_torn()
            self.marks = {(m.dialogue, m.item): m for m in self._read()}
        except BaseException:
            os.close(self._file)
            raise

    def write(self, dialogue: str, item: str, score: float | None, na: bool) -> None:
        """Keep one rating; on return it survives ``kill -9``. Raises ``OSError`` when the disk does not take it."""
        line = {"dialogue": dialogue, "item": item, "rater": self.rater, "score": score, "na": na}
        line["at"] = datetime.now(UTC).isoformat(timespec="seconds")
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        with self._lock:
            end = os.fstat(self._file).st_size
            try:
                if os.write(self._file, data) != len(data):
                    raise OSError("the disk is full")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, end)
                raise
            self.marks[dialogue, item] = Mark(dialogue, item, self.rater, score, na)

    def to_plain(self) -> dict[str, dict[str, Any]]:
        """dialogue -> item -> score, or "NA"; what was taken back is left out."""
        found: dict[str, dict[str, Any]] = {}
        with self._lock:
            for (dialogue, item), mark in self.marks.items():
                if mark.na or mark.score is not None:
                    found.setdefault(dialogue, {})[item] = "NA" if mark.na else mark.score
        return found

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold(self) -> None:
        try:
            import fcntl
        except (
            ImportError
        ):  # not on Windows: there two pages of one rater would both append, and the last click stands
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DialogueFileError(
                f"{self.path}: {self.rater}'s page is open in another process already"
            ) from error

    def _cut_torn(self) -> None:
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.ftruncate(self._file, data.rfind(b"\n") + 1)

    def _read(self) -> list[Mark]:
        if not os.fstat(self._file).st_size:
            return []
        marks = read_sheet(self.path)
        for mark in marks:
            if mark.rater != self.rater:
                raise DialogueFileError(
                    f"{self.path}: holds ratings by {mark.rater!r}, not by {self.rater!r}"
                )
        return marks
