"""The append-only journal of one unit of work: each finished step on one line, kept as it finishes."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

from medeval.runs.codecs import Packed, decode, encode
from medeval.runs.files import attempt
from medeval.tasks.context import MISSING


class FileJournal:
    """Finished steps in a JSONL file, opened at the first step; a torn last line is dropped.

    Safe for several threads or coroutines of one process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._kept = _read(path)
        self._descriptor: int | None = None

    def get(self, name: str) -> Any:
        """The kept value of a step, or ``MISSING``."""
        packed = self._kept.get(name)
        return MISSING if packed is None else decode(packed)

    def put(self, name: str, value: Any) -> Any:
        """Append one step; one ``write`` of one line, so that a kill leaves it whole or torn at the end.

        Returns the value as ``get`` will give it. Raises ``RunError`` when the disk is full.
        """
        packed = encode(value)
        line = {
            "step": name,
            "codec": packed.codec,
            "meta": packed.meta,
            "payload": base64.b64encode(packed.payload).decode("ascii"),
        }
        with self._lock:
            if name in self._kept:
                raise ValueError(f"step {name!r} was finished before: step names must be unique in a unit")
            attempt(lambda: _write_all(self._open(), (json.dumps(line) + "\n").encode("utf-8")), self._path)
            self._kept[name] = packed
        return decode(packed)

    def close(self) -> None:
        """Close the file; it stays where it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def discard(self) -> None:
        """Forget all steps: the unit is to be done afresh."""
        self.close()
        self._path.unlink(missing_ok=True)
        self._kept.clear()

    def _open(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        return self._descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read(path: Path) -> dict[str, Packed]:
    if not path.exists():
        return {}
    kept, whole = {}, 0
    data = path.read_bytes()
    for line in data.splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            entry = None
        if entry is None:
            break
        kept[entry["step"]] = Packed(entry["codec"], entry["meta"], base64.b64decode(entry["payload"]))
        whole += len(line)
    if whole < len(data):  # torn by a kill: what follows must start on a line of its own
        os.truncate(path, whole)
    return kept
