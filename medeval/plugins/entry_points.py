"""What is registered under an entry-point group, imported one by one so that a broken plug-in stops no other."""

from __future__ import annotations

import re
import traceback
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from medeval.types.errors import PluginError

_HERE = str(Path(__file__).parent)
_MACHINERY = frozenset({"importlib", "pydantic"})  # stands between us and the plug-in's own line


@cache
def registered(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """name -> its entry points, in order of name; more than one when two distributions claim the name."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, {}).setdefault(entry.value, entry)
    return {name: tuple(found[name].values()) for name in sorted(found)}


def names(group: str) -> dict[str, str]:
    """name -> ``module:Class`` of every entry point of ``group``; nothing is imported."""
    return {name: entries[0].value for name, entries in registered(group).items()}


def load_entry(group: str, name: str) -> Any:
    """Import the entry point ``name`` of ``group``, which must be registered, and nothing else.

    Raises ``PluginError`` when it does not import, or when two distributions claim the name for different objects.
    """
    entries = registered(group)[name]
    if len(entries) > 1:
        claims = ", ".join(f"{entry.value} ({_distribution(entry)})" for entry in entries)
        raise PluginError(
            f"{name!r} of {group} is claimed by several distributions: {claims}; write the one that you mean as `module:Class`"
        )
    try:
        return entries[0].load()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{name!r} of {group} ({entries[0].value}) {why(error, entries[0])}") from error


@cache
def _loaded(group: str) -> tuple[dict[str, object], dict[str, str]]:
    good: dict[str, object] = {}
    bad: dict[str, str] = {}
    for name in registered(group):
        try:
            good[name] = load_entry(group, name)
        except PluginError as error:
            bad[name] = str(error)
    return good, bad


def load_group(group: str) -> dict[str, object]:
    """name -> object of every entry point of ``group`` that imports; see ``broken`` for the others."""
    return dict(_loaded(group)[0])


def broken(group: str) -> dict[str, str]:
    """name -> reason of every entry point of ``group`` that does not import."""
    return dict(_loaded(group)[1])


def refresh() -> None:
    """Forget what was found, so that a distribution installed since then is seen."""
    registered.cache_clear()
    _loaded.cache_clear()


def why(error: BaseException, entry: EntryPoint | None = None) -> str:
    """``does not import: ModuleNotFoundError: No module named 'torch' (my_model.py:3)``, and how to mend it if known."""
    hint = _extra_hint(error, entry)
    return f"does not import: {told(error)}" + (f"; {hint}" if hint else "")


def told(error: BaseException) -> str:
    """``ValueError: what it says (my_model.py:12)``."""
    place = location(error)
    reason = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}".rstrip(": ")
    return reason + (f" ({place})" if place else "")


def location(error: BaseException) -> str:
    """``file:line`` of the plug-in's own line that failed, not of the library that it called; "" when there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", _HERE))
        and _MACHINERY.isdisjoint(Path(frame.filename).parts)
    ]
    if not frames:
        return ""
    home = Path(frames[0].filename).parent
    own = [frame for frame in frames if Path(frame.filename).parent == home]
    return f"{own[-1].filename}:{own[-1].lineno}"


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown distribution"


def _extra_hint(error: BaseException, entry: EntryPoint | None) -> str:
    """The extra of the plug-in's distribution that brings the missing module, as pip writes it."""
    if not isinstance(error, ModuleNotFoundError) or not error.name or entry is None or entry.dist is None:
        return ""
    wanted = error.name.partition(".")[0].replace("_", "-").lower()
    for requirement in entry.dist.requires or ():
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", requirement)
        if name and extra and name.group().replace("_", "-").lower() == wanted:
            return f"`pip install '{entry.dist.name}[{extra.group(1)}]'` brings it"
    return ""
