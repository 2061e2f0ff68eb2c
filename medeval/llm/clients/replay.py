"""A recorded run in the place of a model: never calls out, and the same bytes come back."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from medeval.llm.clients.base import Capabilities, ClientIdentity
from medeval.llm.errors import Kind, TransportError
from medeval.llm.replies import Reply
from medeval.llm.requests import ChatRequest
from medeval.types import UserError


class ReplayClient:
    """recording: an ``exchanges.jsonl``, or the run folder that holds one. model: whose replies, needed where the recording
    holds several models' replies to one request.

    A reply is found by what was asked (messages, sampling, asked form, sample), not by who was asked; a call that was never
    recorded is an error and nothing is sent.
    """

    def __init__(self, recording: Path, model: str | None = None) -> None:
        self._path = _exchanges(Path(recording))
        self._model = model
        self._lock = threading.Lock()
        self._index: dict[str, dict[str, tuple[int, int]]] | None = None
        self._file: Any = None
        self._identity = ClientIdentity("replay", model or "replay")

    @property
    def identity(self) -> ClientIdentity:
        """Who answers."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """Costs nothing; it is a cache itself."""
        return Capabilities(cacheable=False, paid=False)

    def check(self) -> None:
        """Raises ``UserError`` when the recording is missing."""
        if not self._path.is_file():
            raise UserError(
                f"recording {self._path}: there is no such file; name a run folder or an exchanges.jsonl"
            )

    async def complete(self, request: ChatRequest) -> Reply:
        """The recorded reply. Raises ``TransportError`` (``not_recorded``) where there is none."""
        with self._lock:
            if self._index is None:
                self.check()
                self._index = _read_index(self._path)
                self._file = self._path.open("rb")
        found = self._index.get(request.request_key, {})
        if self._model is not None:
            found = {model: place for model, place in found.items() if model == self._model}
        if not found:
            whose = f" by {self._model}" if self._model else ""
            last = request.messages[-1].text[:80]
            raise TransportError(
                Kind.NOT_RECORDED, f"{self._path.name} holds no reply{whose} to {last!r}; nothing was sent"
            )
        if len(found) > 1:
            raise TransportError(
                Kind.NOT_RECORDED,
                f"{self._path.name} holds replies of {', '.join(sorted(found))}; name one with `model:`",
            )
        return self._read(*next(iter(found.values())))

    def _read(self, at: int, size: int) -> Reply:
        with self._lock:
            self._file.seek(at)
            line = self._file.read(size)
        return Reply.from_plain(json.loads(line)["reply"])


def _exchanges(recording: Path) -> Path:
    for candidate in (recording / "llm" / "exchanges.jsonl", recording / "exchanges.jsonl"):
        if candidate.is_file():
            return candidate
    return recording


def _read_index(path: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """request key -> model -> place of the first whole line with its reply; torn lines are left out."""
    index: dict[str, dict[str, tuple[int, int]]] = {}
    at = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                exchange = json.loads(line)
                index.setdefault(exchange["request_key"], {}).setdefault(exchange["model"], (at, len(line)))
            except (ValueError, KeyError, TypeError):
                pass  # a line that a kill has torn
            at += len(line)
    return index
