"""JSON indices of millions of rows, read as a stream: memory does not grow with the file.

``json.load`` of the release's ``SAMed2D_v1.json`` (3.7 million images, 15.8 million masks) takes several GB. The files
are flat, one object of texts and lists of texts, so members are decoded one at a time by the standard library's decoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from medeval.types import DatasetError

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = "0123456789.eE+-"
_DECODER = json.JSONDecoder()
CHUNK = 1 << 20  # characters
LONGEST = 1 << 26  # a member longer than this is no row of an index, and is not waited for


class _Buffer:
    """A window on a text stream, from which JSON values are taken one after the other."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._before = 0  # characters that the window has left behind
        self._ended = False

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        """Pass over one character; ``ValueError`` when another one stands there."""
        found = self.peek()
        if found not in wanted or not found:
            raise ValueError(
                f"{wanted!r} expected, {found or 'end of file'!r} found near character {self.position}"
            )
        self._at += 1

    def value(self) -> Any:
        """The next JSON value; ``ValueError`` when there is none."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if self._ended or self._complete(value, end):
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > LONGEST:
                    raise ValueError(f"{error.msg} near character {self._before + error.pos}") from None
            self._more()

    def _complete(self, value: Any, end: int) -> bool:
        """False for what more text could change: at the window's edge 12 may be the begin of 12.5e3."""
        if isinstance(value, int | float):
            return bool(self._text[end:].lstrip(_NUMBER))
        return True

    @property
    def position(self) -> int:
        """Characters read so far."""
        return self._before + self._at

    def _more(self) -> bool:
        # Twice as much each time: a long value is decoded anew a few times, not once for every chunk.
        chunk = "" if self._ended else self._stream.read(max(CHUNK, len(self._text) - self._at))
        self._ended = not chunk
        self._before += self._at
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)


def stream_object(stream: TextIO, where: object) -> Iterator[tuple[str, Any]]:
    """(key, value) of each member of one JSON object, in the file's order. A key that stands twice comes twice.

    Raises ``DatasetError`` naming ``where`` when the text is no JSON object, is cut off or has something after its end.
    """
    try:
        yield from _members(_Buffer(stream), where)
    except (ValueError, RecursionError, OSError) as error:  # UnicodeDecodeError is a ValueError
        raise DatasetError(f"{where}: cannot be read as JSON: {error}") from error


def _members(buffer: _Buffer, where: object) -> Iterator[tuple[str, Any]]:
    if buffer.peek() != "{":
        raise DatasetError(f"{where}: must hold a JSON object, not {type(buffer.value()).__name__}")
    buffer.take("{")
    while buffer.peek() != "}":
        key = buffer.value()
        if not isinstance(key, str):
            raise ValueError(f"a key must be a text, not {key!r}, near character {buffer.position}")
        buffer.take(":")
        yield key, buffer.value()
        if buffer.peek() != "}":
            buffer.take(",")
            if buffer.peek() == "}":
                raise ValueError(f"a comma before '}}' near character {buffer.position}")
    buffer.take("}")
    if buffer.peek():
        raise ValueError(f"more text after the object, near character {buffer.position}")


def stream_pairs(stream: TextIO, where: object) -> Iterator[tuple[str, list[str]]]:
    """(image entry, its mask entries) of an index of either direction: image -> masks, or mask -> image.

    Neighbouring masks of one image come together; an image may come several times. Raises ``DatasetError`` naming the
    file and the key.
    """
    image, masks = "", list[str]()
    for key, value in stream_object(stream, where):
        if isinstance(value, str):
            owner, new = value, [key]
        elif isinstance(value, list) and all(isinstance(mask, str) for mask in value):
            owner, new = key, value
        else:
            raise DatasetError(
                f"{where}: entry {key!r}: {str(value)[:80]!r} is neither a list of mask paths (image -> masks) "
                "nor an image path (mask -> image)"
            )
        if owner != image or not masks or not isinstance(value, str):
            if masks or image:
                yield image, masks
            image, masks = owner, []
        masks.extend(new)
    if masks or image:
        yield image, masks


def stream_lines(stream: TextIO, where: object) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a file of JSON lines. Raises ``DatasetError`` naming the file and the line."""
    number = 0
    try:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"must be an object, not {type(row).__name__}")
                yield number, row
    except (ValueError, RecursionError, OSError) as error:
        raise DatasetError(f"{where}, line {number}: cannot be read as JSON: {error}") from error
