"""A run on the file system that misbehaves, each time from a machine (cache folder) of one's choice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = str(Path(__file__).with_name("odd_store.py"))
URL = "odd://bucket/run"


class Elsewhere:
    """The small world with a place ``odd://bucket/run``; machines are cache folders."""

    def __init__(self, small: Any) -> None:
        self.small = small
        self.needed = 0  # calls of a model that an unbroken run makes
        self.root = small.folder / "bucket-files"

    @property
    def place(self) -> Path:
        """Where the run's objects lie."""
        return self.root / "bucket" / "run"

    def environment(self, machine: str = "one", **more: str) -> dict[str, str]:
        """Of a process on that machine."""
        return self.small.environment(
            ODD_ROOT=str(self.root), MEDEVAL_CACHE=str(self.small.folder / machine), **more
        )

    def start(self, *words: str, machine: str = "one", **more: str) -> subprocess.Popen[str]:
        """``medeval WORDS`` on that machine."""
        return subprocess.Popen(
            [sys.executable, PROGRAM, *words], cwd=self.small.folder, env=self.environment(machine, **more), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def cli(
        self, *words: str, machine: str = "one", timeout: float = 120, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """The same, waited for."""
        with self.start(*words, machine=machine, **more) as process:
            out, err = process.communicate(timeout=timeout)
            return subprocess.CompletedProcess(words, process.returncode, out, err)

    def run(self, *words: str, machine: str = "one", **more: str) -> subprocess.CompletedProcess[str]:
        """``medeval run suite.yaml`` into the place."""
        return self.cli("run", "suite.yaml", "-o", URL, "-q", "--no-report", *words, machine=machine, **more)

    def summary(self) -> bytes:
        """summary.json as people find it in the place."""
        return (self.place / "summary.json").read_bytes()

    def expected(self) -> bytes:
        """summary.json of the same suite in a plain folder."""
        self.small.run(out="plain")
        self.needed = self.calls()
        (self.small.folder / "calls.txt").unlink()
        return (self.small.folder / "plain" / "summary.json").read_bytes()

    def calls(self) -> int:
        """How often a model was asked so far, without its building."""
        return len([call for call in self.small.calls() if call != "build"])
