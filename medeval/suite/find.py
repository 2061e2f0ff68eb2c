"""Suites by path, by registered name, or inside a package."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from medeval.plugins import names
from medeval.types.errors import SuiteError, nearest

GROUP = "medeval.suites"


def find_suite(reference: str | Path) -> Path:
    """The file of a suite.

    reference: a path, a name of the entry-point group ``medeval.suites``, or ``package:file.yaml``, which is also how
        such a name's value is written. A file of that path wins over a name.
    Raises ``SuiteError`` that lists the known names and the nearest.
    """
    path = Path(reference).expanduser()
    if path.is_file():
        return path
    text = str(reference)
    registered = names(GROUP)
    if text in registered:
        return _in_package(registered[text], text)
    if re.fullmatch(r"[\w.]{2,}:.+", text):
        return _in_package(text, text)
    if path.is_dir():
        raise SuiteError(f"{text} is a folder; a suite is a YAML file")
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise SuiteError(f"no file {text!r} in {Path().resolve()}")
    raise SuiteError(
        f"no suite {text!r}: no such file, and no such registered suite; {nearest(text, registered)}"
    )


def packaged_file(value: str) -> Path:
    """The file of an entry-point value ``package:file.yaml``. Raises ``SuiteError`` when it is not there."""
    package, _, file = value.partition(":")
    try:
        spec = find_spec(package.strip())
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / file.strip()
        if path.is_file():
            return path
    reason = f"package {package!r} has no file {file!r}" if folders else f"there is no package {package!r}"
    raise SuiteError(reason)


def _in_package(value: str, reference: str) -> Path:
    try:
        return packaged_file(value)
    except SuiteError as error:
        raise SuiteError(f"suite {reference!r} ({value}): {error}") from None
