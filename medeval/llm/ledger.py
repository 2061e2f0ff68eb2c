"""What a run has spent, by its log of calls: over earlier starts, and in all processes that write the log now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from medeval.llm.budget import Amount


class Ledger:
    """Sums of ``calls.jsonl``; each line is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._spent: dict[str, Amount] = {}

    def spent(self) -> Mapping[str, Amount]:
        """role -> paid calls, tokens and money so far; a torn line is left out, one that is being written comes later."""
        try:
            with self._path.open("rb") as lines:
                lines.seek(self._read)
                for line in lines:
                    if not self._add(line) and not line.endswith(b"\n"):
                        break
                    self._read += len(line)
        except FileNotFoundError:
            return {}
        return self._spent

    def _add(self, line: bytes) -> bool:
        """False for a line that is none."""
        try:
            call = json.loads(line)
        except ValueError:
            return False
        if isinstance(call, dict) and call.get("paid"):
            amount = Amount(1, int(call.get("tokens") or 0), float(call.get("cost") or 0.0))
            self._spent[call["role"]] = self._spent.get(call["role"], Amount()) + amount
        return True
