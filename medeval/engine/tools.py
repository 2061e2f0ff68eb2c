"""Tools that need packages which the core does not import, found by their entry point (group ``medeval.tools``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medeval.plugins import resolve

GROUP = "medeval.tools"


def convert_weights(source: Path, target: Path, *, key: str | None = None, ignore: Sequence[str] = ()) -> str:
    """Rewrite a checkpoint as safetensors without running what it holds; says what was written.

    key: where in the file the weights are; default: below the usual names, or the file itself. ignore: classes in the file,
    by full name, that are read as empty stand-ins.
    Raises ``PluginError`` for a file that holds no weights, or more than weights.
    """
    return resolve(GROUP, "convert-weights")(source, target, key=key, ignore=ignore)
