"""Published protocols of prompted segmentation as presets, faithful with their quirks, and their strict twins.

One module a protocol, whose docstring tells every choice with its source; its ``PRESETS`` is data (see ``base.Preset``).
A module that is put beside them is found by itself. A preset fixes its fields: a changed protocol is not the published
one. What it only proposes (``defaults``: groups, the average) a suite may overrule; metrics that a suite names are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from medeval.tasks.prompted_segmentation.presets.base import Preset, Quirk, twins
from medeval.types import nearest

__all__ = ["FREE", "Preset", "Quirk", "presets", "twins", "with_preset"]

FREE = frozenset(
    {
        "task", "preset", "name", "datasets", "models", "metrics", "by", "average", "on_failure", "structures", "batch_size",
        "session_metrics", "session_curve", "prompt_seeds", "cost", "journal", "slice_axis", "uptake_channel",
    }
)  # fmt: skip


@cache
def presets() -> Mapping[str, Preset]:
    """Name -> preset, of every module in this folder."""
    found: dict[str, Preset] = {}
    for module in sorted(iter_modules(__path__), key=lambda info: info.name):
        found |= getattr(import_module(f"{__name__}.{module.name}"), "PRESETS", {})
    return found


def with_preset(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A task's fields with its preset's filled in; metrics that are given are added to the preset's.

    defaults: what a field is when nobody writes it; written out, it contradicts nothing.
    Raises ``ValueError`` for an unknown preset, or for a field that the preset fixes.
    """
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    name = given.get("preset")
    if name is None:
        return given
    if name not in presets():
        raise ValueError(f"unknown preset {name!r}; {nearest(str(name), presets())}")
    preset = presets()[name]
    fixed = preset.fields
    clash = sorted(
        key for key in given if key not in FREE and given[key] != fixed.get(key, defaults.get(key))
    )
    if clash:
        raise ValueError(
            f"preset {name!r} fixes {', '.join(clash)}: a changed protocol is not the published one. Leave it out, or leave "
            "the preset out and write the fields"
        )
    metrics = (*fixed["metrics"], *(m for m in given.get("metrics") or () if m not in fixed["metrics"]))
    return {**preset.defaults, **fixed, **given, "metrics": metrics}
