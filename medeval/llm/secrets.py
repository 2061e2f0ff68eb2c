"""Keys come from the environment or a file, and never leave the process in any text that medeval writes.

Each key that is read is remembered, and ``redact`` takes it out of texts by value: as it is, URL-encoded, JSON-escaped, in
base64, and cut short with stars as servers echo it (``sk-abc12***xyz9``). Placeholders that local servers ask for
(``EMPTY``, ``none``) are no secrets.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from medeval.types import UserError

REDACTED = "[redacted]"
PLACEHOLDERS = frozenset(
    {"", "empty", "none", "dummy", "ollama", "lm-studio", "not-needed", "no-key", "sk-no-key-required"}
)
_PREFIX = 8  # what servers show of a wrong key


class Secret:
    """A key in memory. Its text shows nothing; ``reveal`` is called only where the request is built."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> Any:
        raise TypeError("a secret does not leave its process")


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def variable_name(name: str) -> str:
    """Check that ``name`` can be an environment variable's; the message never repeats it, for it may be the key."""
    if not _NAME.match(name) or (len(name) > 40 and not name.isupper()):
        raise ValueError(
            "expected the name of an environment variable such as OPENAI_API_KEY, got something else (not repeated here: "
            "it may be a key; keys never stand in a suite)"
        )
    return name


def from_environment(name: str) -> Secret:
    """The key in the environment variable ``name``. Raises ``UserError`` when it is not set."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(
            f"the environment variable {name} is not set, and the client's key is read from it: "
            f"`export {name}=...`, or name another one with api_key_env"
        )
    return Secret(value)


def from_file(path: Path) -> Secret:
    """The key in a file, its outer white space dropped. Raises ``UserError`` when the file is missing or empty."""
    try:
        value = path.read_text(encoding="utf-8").strip()
        open_to_all = bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"api_key_file {path}: cannot be read: {type(error).__name__}") from None
    if not value or "\n" in value:
        raise UserError(
            f"api_key_file {path}: expected the key alone, got {'more lines' if value else 'nothing'}"
        )
    if open_to_all:
        logging.getLogger(__name__).warning("api_key_file %s can be read by others: chmod 600 mends it", path)
    return Secret(value)


_lock = threading.Lock()
_forms: dict[str, str] = {}  # secret -> the pattern of its forms
_pattern: re.Pattern[str] | None = None


def remember(value: str) -> None:
    """Redact this value from now on, in all of the process."""
    global _pattern
    if value.lower() in PLACEHOLDERS:
        return
    with _lock:
        if value not in _forms:
            _forms[value] = "|".join(_patterns(value))
            _pattern = re.compile("|".join(_forms.values()))


def redact(text: str) -> str:
    """``text`` without any key that was read by this process."""
    return text if _pattern is None else _pattern.sub(REDACTED, text)


def redact_data(data: Any) -> Any:
    """Plain data (JSON types) with every text in it redacted, keys of mappings too."""
    if _pattern is None:
        return data
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, dict):
        return {redact_data(key): redact_data(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [redact_data(item) for item in data]
    return data


def any_secret() -> bool:
    """True when this process has read a key."""
    return _pattern is not None


def holds_secret(text: str) -> bool:
    """True when ``text`` holds a key in one of its forms."""
    return _pattern is not None and _pattern.search(text) is not None


class RedactingFilter(logging.Filter):
    """Takes keys out of the log records of libraries that print requests at debug level."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record's text where it holds a key; keep every record."""
        text = record.getMessage()
        if holds_secret(text):
            record.msg, record.args = redact(text), ()
        return True


def guard_logger(*names: str) -> None:
    """Put a ``RedactingFilter`` on these loggers, once."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(known, RedactingFilter) for known in logger.filters):
            logger.addFilter(RedactingFilter())


def _patterns(value: str) -> list[str]:
    if len(value) < _PREFIX:  # too short to be taken out of the middle of a word
        return [rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])"]
    forms = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], *_base64(value)}
    exact = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
    # a prefix cut off by stars or dots, as in "Incorrect API key provided: sk-abc12*****xyz9"
    return [*exact, rf"{re.escape(value[:_PREFIX])}[\w-]*(?:[*…]+|\.{{3,}})[\w-]*"]


def _base64(value: str) -> list[str]:
    """What base64 makes of the value at each of the three alignments, without the letters that depend on neighbours."""
    found = []
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + value.encode()).decode()
        begin = (8 * offset + 5) // 6
        end = (8 * (offset + len(value.encode()))) // 6
        found.append(text[begin:end])
        found.append(found[-1].replace("+", "-").replace("/", "_"))
    return [form for form in found if len(form) >= _PREFIX]
