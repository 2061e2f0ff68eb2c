"""``checkpoint: runs/seed_*/best.pth``: one model with replicates, such as one training repeated with other seeds or folds.

Each file becomes a model of its own, called after what the wildcards stood for: ``net~0``, ``net~1``. Their spread is told
apart from the patients' interval (``medeval.decisions.replicates``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medeval.suite.mistakes import Mistakes

OPTION, MARK = "checkpoint", "~"


def model_of(name: str) -> str:
    """The model that a replicate belongs to: ``net~1`` -> ``net``; any other name is its own."""
    return name.partition(MARK)[0] if MARK in name else name


def expand_replicates(data: Mapping[str, Any], base: Path, mistakes: Mistakes) -> dict[str, Any]:
    """The suite's data with every model whose checkpoint holds a wildcard replaced by its replicates, in order of name.

    Names in a task's ``models:`` stand for all replicates. A pattern that matches nothing is a mistake.
    """
    models = data.get("models")
    if not isinstance(models, dict):
        return dict(data)
    found: dict[str, Any] = {}
    names: dict[str, list[str]] = {}
    for name, entry in models.items():
        replicates = _replicates(name, entry, base, mistakes)
        for clash in found.keys() & replicates.keys():
            mistakes.add(("models", name), f"a replicate is called {clash!r} like another model; rename one")
        found |= replicates
        names[name] = list(replicates)
    tasks = data.get("tasks")
    renamed = {"tasks": [_renamed(entry, names) for entry in tasks]} if isinstance(tasks, list) else {}
    return {**data, "models": found, **renamed}


def _replicates(name: str, entry: Any, base: Path, mistakes: Mistakes) -> dict[str, Any]:
    pattern = entry.get(OPTION) if isinstance(entry, dict) else None
    if not isinstance(pattern, str) or "*" not in pattern:
        return {name: entry}
    try:
        files = sorted(path for path in _glob(base, pattern) if (base / path).is_file())
    except (ValueError, NotImplementedError) as error:
        mistakes.add(("models", name, OPTION), f"{pattern!r} is no pattern of files: {error}")
        return {name: entry}
    if not files:
        mistakes.add(("models", name, OPTION), f"{pattern!r} matches no file below {base}")
        return {name: entry}
    if len(files) == 1:
        return {name: {**entry, OPTION: str(files[0])}}
    return _labelled(name, entry, pattern, files, mistakes)


def _labelled(
    name: str, entry: Mapping[str, Any], pattern: str, files: list[Path], mistakes: Mistakes
) -> dict[str, Any]:
    """One entry a file; two that would be called alike are a mistake, for one of them would be lost."""
    found: dict[str, Any] = {}
    for path in files:
        label = f"{name}{MARK}{_label(pattern, path)}"
        if label in found:
            told = (
                f"{pattern!r}: {found[label][OPTION]} and {path} would both be called {label!r}; rename one"
            )
            mistakes.add(("models", name, OPTION), told)
        found[label] = {**entry, OPTION: str(path)}
    return found


def _glob(base: Path, pattern: str) -> list[Path]:
    """Paths that match, written as the pattern is: absolute, or relative to the suite's folder."""
    written = Path(pattern)
    root = Path(written.anchor) if written.is_absolute() else base
    inner = written.relative_to(root).as_posix() if written.is_absolute() else written.as_posix()
    found = list(root.glob(inner))
    return found if written.is_absolute() else [path.relative_to(base) for path in found]


def _label(pattern: str, path: Path) -> str:
    """What the wildcards stood for, joined by ``-``."""
    parts = [re.escape(part) for part in re.split(r"\*+", Path(pattern).as_posix())]
    match = re.fullmatch("(.*?)".join(parts), path.as_posix())
    words = [word.replace("/", "-") for word in match.groups() if word] if match else []
    return "-".join(words) or path.stem


def _renamed(entry: Any, names: Mapping[str, list[str]]) -> Any:
    listed = entry.get("models") if isinstance(entry, dict) else None
    if not isinstance(listed, list):
        return entry
    wanted = [
        replicate
        for name in listed
        for replicate in (names.get(name, [name]) if isinstance(name, str) else [name])
    ]
    return {**entry, "models": wanted}
