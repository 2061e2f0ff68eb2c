"""Tolerances of the normalised surface distance: one for all structures, or a table by structure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from medeval.metrics.names import number, plain
from medeval.types.errors import MetricError, nearest

# mm. FLARE22's table (Nikolov-style tolerances of its organisers), as A-Eval takes it over.
_FLARE22 = {
    "liver": 5.0, "kidney_right": 3.0, "kidney_left": 3.0, "spleen": 3.0, "pancreas": 5.0, "aorta": 2.0,
    "inferior_vena_cava": 2.0, "postcava": 2.0, "adrenal_gland_right": 2.0, "adrenal_gland_left": 2.0,
    "gallbladder": 2.0, "gall_bladder": 2.0, "esophagus": 3.0, "stomach": 5.0, "duodenum": 7.0,
}  # fmt: skip

_tables: dict[str, dict[str, float]] = {"flare22": _FLARE22}


@dataclass(frozen=True)
class Tolerances:
    """Tolerance in mm by structure.

    text: how a table's heading says it.
    table: normalised structure name -> mm.
    default: for structures that the table does not name; None makes them an error.
    """

    text: str
    table: Mapping[str, float]
    default: float | None

    def of(self, structure: str, metric: str) -> float:
        """The structure's tolerance in mm; ``MetricError`` when neither table nor default has one."""
        tolerance = self.table.get(_normal(structure), self.default)
        if tolerance is None:
            raise MetricError(
                f"metric {metric!r} has no tolerance for structure {structure!r}; {nearest(structure, self.table)}"
            )
        return tolerance


def add_tolerances(name: str, table: Mapping[str, float]) -> None:
    """Make ``nsd@NAME`` known: structure -> tolerance in mm; the key ``*`` stands for all others.

    Raises ``MetricError`` for a name that is no word, or a tolerance below 0.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise MetricError(f"a tolerance table needs a lower-case word as name, not {name!r}")
    if any(not value >= 0.0 for value in table.values()):
        raise MetricError(f"tolerance table {name!r}: tolerances must be >= 0 mm")
    _tables[name] = {key if key == "*" else _normal(key): float(value) for key, value in table.items()}


def parse_tolerances(metric: str, argument: str) -> Tolerances:
    """What stands after ``nsd@``: ``2mm``, the name of a table, or ``liver=5,spleen=3,*=2mm``."""
    if argument in _tables:
        table = dict(_tables[argument])
        return Tolerances(f"the tolerances of {argument}", table, table.pop("*", None))
    if "=" in argument:
        if not argument.endswith("mm"):
            raise MetricError(
                f"metric {metric!r}: a list of tolerances ends in 'mm', as in nsd@liver=5,*=2mm"
            )
        entries = [entry.partition("=") for entry in argument.removesuffix("mm").split(",")]
        table = {key if key == "*" else _normal(key): number(metric, value) for key, _, value in entries}
        return Tolerances(f"tolerances {argument}", table, table.pop("*", None))
    if argument[:1].isalpha():
        raise MetricError(f"metric {metric!r}: no tolerance table {argument!r}; {nearest(argument, _tables)}")
    tolerance = number(metric, argument, "mm")
    return Tolerances(f"{plain(tolerance)} mm", {}, tolerance)


def _normal(structure: str) -> str:
    """Structure names are compared without regard to case, spaces and hyphens."""
    return re.sub(r"[\s\-]+", "_", structure.strip().lower())
