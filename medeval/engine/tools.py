"""Tools that need packages which the core does not import, found by their entry point (group ``medeval.tools``)."""

from __future__ import annotations

from pathlib import Path

from medeval.plugins import resolve

GROUP = "medeval.tools"


def convert_weights(source: Path, target: Path) -> str:
    """Rewrite a checkpoint as safetensors without running what it holds; says what was written.

    Raises ``PluginError`` for a file that holds no weights, or more than weights.
    """
    return resolve(GROUP, "convert-weights")(source, target)
