"""Patterns of file paths: ``images/{site}/*.png``. ``*`` and ``{name}`` match within one component, ``**/`` any folders."""

from __future__ import annotations

import glob
import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

_TOKEN = re.compile(r"\*\*/|\*|\?|\{(\w+)\}")


def check_pattern(pattern: str) -> str:
    """Validator: relative, with balanced braces and each name once. ``ValueError`` otherwise."""
    names = placeholders(pattern)
    rest = _TOKEN.sub("", pattern)
    if "{" in rest or "}" in rest:
        raise ValueError(f"{pattern!r}: a placeholder is a word in braces, for example {{id}}")
    if len(set(names)) < len(names):
        raise ValueError(f"{pattern!r}: names a placeholder twice")
    if PurePosixPath(pattern).is_absolute() or not pattern.strip():
        raise ValueError(f"{pattern!r}: must be a path relative to root")
    return pattern


def placeholders(pattern: str) -> list[str]:
    """Names in braces, in order."""
    return [match[1] for match in _TOKEN.finditer(pattern) if match[1]]


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """The pattern with known placeholders replaced, their own wildcard characters escaped."""
    return re.sub(r"\{(\w+)\}", lambda m: glob.escape(values[m[1]]) if m[1] in values else m[0], pattern)


def has_wildcard(pattern: str) -> bool:
    """True when the pattern can match more than one path (before filling, known placeholders count too)."""
    return bool(_TOKEN.search(re.sub(r"\[[*?[]\]", "", pattern)))


def literal(pattern: str) -> str:
    """The path that a filled pattern without wildcards stands for."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    """Groups: ``{name}`` by name, ``*`` by number."""
    parts, at = [], 0
    for match in _TOKEN.finditer(pattern):
        parts.append(re.escape(literal(pattern[at : match.start()])))
        whole = match[0]
        parts.append(
            f"(?P<{match[1]}>[^/]+)" if match[1] else {"**/": "(?:.*/)?", "*": "([^/]*)", "?": "[^/]"}[whole]
        )
        at = match.end()
    return re.compile("".join([*parts, re.escape(literal(pattern[at:]))]))


def captured(pattern: str, path: str) -> tuple[dict[str, str], tuple[str, ...]] | None:
    """(named values, everything that placeholders and ``*`` matched in order) of a relative path, or None."""
    match = _regex(pattern).fullmatch(path)
    return (match.groupdict(), tuple(match.groups())) if match else None


def find(root: Path, pattern: str, listings: dict[Path, list[str]]) -> list[str]:
    """Relative paths of the files that match, sorted; hidden files are passed over.

    listings: cache of folder listings that one scan shares, so that N cases do not list a folder N times.
    """
    folder, _, name = pattern.rpartition("/")
    if has_wildcard(folder):
        wild = _TOKEN.sub(lambda m: m[0] if not m[1] else "*", pattern)
        paths = (p.relative_to(root).as_posix() for p in root.glob(wild) if p.is_file())
    else:
        base = root / literal(folder)
        if base not in listings:
            listings[base] = sorted(p.name for p in base.iterdir() if p.is_file()) if base.is_dir() else []
        start = _TOKEN.split(name.replace("[", "\0"), maxsplit=1)[0].split("\0")[0]  # literal beginning
        names = listings[base]
        low, high = bisect_left(names, start), bisect_left(names, start + "\U0010ffff")
        paths = (f"{literal(folder)}/{n}" if folder else n for n in names[low:high])
    return sorted(p for p in paths if not PurePosixPath(p).name.startswith(".") and captured(pattern, p))
