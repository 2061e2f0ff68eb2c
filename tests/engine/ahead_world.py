"""The small world's model as one that may encode the next image while it is asked about this one, if AHEAD=1 is set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import small_world

MODEL = (
    small_world.MODEL
    + '''
import threading, weakref

one_by_one, noted = threading.Lock(), called

def called(what):
    with one_by_one:  # two threads count
        noted(what)

class Encoded:
    def __init__(self, case, array):
        self.case, self.array = case, array

class Ahead(Model):
    """Notes in which thread it was asked, and refuses what its promise does not cover."""
    events = []
    alive = weakref.WeakSet()
    busy = {"encode": 0, "segment": 0}
    most = 0
    began = {}

    @property
    def encodes_ahead(self):
        return os.environ.get("AHEAD") == "1"

    def encode(self, image):
        case = int(image.array.flat[0])
        self.note("encode", case)
        Ahead.began.setdefault(case, threading.Event()).set()
        with Busy("encode"):
            called(f"encode {case}")
            self.misencode(case, image)
            encoded = Encoded(case, image.array[0].astype(float))
            Ahead.alive.add(encoded)
            Ahead.most = max(Ahead.most, len(Ahead.alive))
            return encoded

    def misencode(self, case, image):
        aside = threading.current_thread() is not threading.main_thread()
        if case == self.at:
            if self.does == "encode raises":
                raise ValueError("cannot encode")
            if self.does == "encode exits":
                raise SystemExit(3)
            if self.does == "encode dies":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.does == "encode memory aside" and aside:
                raise MemoryError("out of memory")
            if self.does == "encode memory":
                raise MemoryError("out of memory")
        if self.does == "encode mutates":
            array = image.array[0].astype(float).copy()
            image.array[...] = 0
            image.array[0] = array

    def segment(self, encoded, prompts):
        self.case = encoded.case
        self.note("segment", encoded.case)
        with Busy("segment"):
            if self.does == "waits for the next" and encoded.case < self.at:
                following = Ahead.began.setdefault(encoded.case + 1, threading.Event())
                if not following.wait(20):
                    raise ValueError("the next image was not begun")
            if self.does == "segment memory beside" and self.case == self.at and len(Ahead.alive) > 1:
                raise MemoryError("out of memory")
            return super().segment(encoded.array, prompts)

    def note(self, what, case):
        aside = threading.current_thread() is not threading.main_thread()
        Ahead.events.append((what, case, "aside" if aside else "main"))

class Busy:
    """Two at once of the same kind are not promised."""
    def __init__(self, what): self.what = what
    def __enter__(self):
        Ahead.busy[self.what] += 1
        assert Ahead.busy[self.what] == 1, f"{self.what} twice at once"
    def __exit__(self, *_):
        Ahead.busy[self.what] -= 1
'''
)


def entry(small: Any, **options: Any) -> dict[str, Any]:
    """The model's entry; writes its file."""
    (Path(small.folder) / "ahead.py").write_text(MODEL)
    return {"adapter": "ahead.py:Ahead", **options}


def plugin(small: Any) -> Any:
    """The class as this process's runs have loaded it, with what it noted."""
    from medeval.plugins import resolve

    return resolve("medeval.adapters", "ahead.py:Ahead", Path(small.folder))
