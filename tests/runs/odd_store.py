"""A file system that misbehaves, for runs that lie on it; as a program: the command line with it.

``odd://name/run`` lies in the folder ODD_ROOT. Uploads are not atomic: half of the bytes are seen under the final name first.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import fsspec
from fsspec.spec import AbstractFileSystem

from medeval.runs.remote import store

QUICK = store.Pace(commit=0.05, loose=0.2, beat=0.2, stale=0.8, tries=4, wait=0.01, most=0.05)


class OddStore(AbstractFileSystem):
    """What goes wrong, by environment variable.

    ODD_FAIL_EVERY=k: every k-th access raises, in an upload after half of it. ODD_LAG=s: an object is listed after so many
    seconds. ODD_KILL_PUT=word:n: the n-th upload of a name that holds the word kills the process after half of it.
    ODD_DOWN=file: nothing can be reached while this file is there.
    """

    protocol = "odd"
    cachable = False
    calls: ClassVar[int] = 0
    puts: ClassVar[int] = 0
    lock: ClassVar[threading.Lock] = threading.Lock()

    @property
    def root(self) -> Path:
        return Path(os.environ["ODD_ROOT"])

    def _called(self) -> bool:
        """True where this access is to fail."""
        if (down := os.environ.get("ODD_DOWN")) and Path(down).exists():
            raise OSError("no route to host")
        with OddStore.lock:
            OddStore.calls += 1
            every = int(os.environ.get("ODD_FAIL_EVERY", "0"))
            return bool(every) and OddStore.calls % every == 0

    def _fails(self) -> None:
        if self._called():
            raise OSError("connection reset by peer")

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        fails, kills = self._called(), self._kills(path)
        target = self.root / self._strip_protocol(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(value[: len(value) // 2])
        if kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if fails:
            raise OSError("connection reset by peer")
        target.write_bytes(value)

    @staticmethod
    def _kills(path: str) -> bool:
        word, _, number = os.environ.get("ODD_KILL_PUT", "-:0").partition(":")
        with OddStore.lock:
            OddStore.puts += word in path
            return word in path and OddStore.puts == int(number)

    def put_file(self, lpath, rpath, **kwargs):
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def cat_file(self, path, **kwargs):
        self._fails()
        return (self.root / self._strip_protocol(path)).read_bytes()

    def get_file(self, rpath, lpath, **kwargs):
        Path(lpath).write_bytes(self.cat_file(rpath))

    def rm_file(self, path):
        self._fails()
        (self.root / self._strip_protocol(path)).unlink()

    def ls(self, path, detail=True, **kwargs):
        self._fails()
        folder = self.root / self._strip_protocol(path)
        until = time.time() - float(os.environ.get("ODD_LAG", "0"))
        found = [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
        names = [file.relative_to(self.root).as_posix() for file in found if file.stat().st_mtime <= until]
        return [{"name": name, "type": "file", "size": None} for name in names] if detail else names


def register() -> None:
    """Make ``odd://`` known, and everything quick."""
    fsspec.register_implementation("odd", OddStore, clobber=True)
    store.PACE = QUICK


if __name__ == "__main__":
    from medeval.cli import main

    register()
    sys.argv[0] = "medeval"
    main()
