"""A ``Matrix`` as a table whose cells are coloured by cividis, which reads alike with and without colour vision."""

from __future__ import annotations

from typing import Any

from medeval.report.numbers import decimals, finite, number_text, plain
from medeval.types.views import Matrix

# Nunez, Anderton & Renslow 2018, at steps of a fifth
_CIVIDIS = ((0, 32, 77), (49, 68, 107), (102, 105, 112), (149, 143, 120), (202, 185, 105), (255, 234, 70))

_MIDDLE = 0.179  # luminance on which black and white stand out alike, by 4.58


def matrix(view: Matrix) -> dict[str, Any]:
    """Rows of {text, colour, ink} cells and the ends of the colour scale. Raises ``ValueError`` for a ragged matrix."""
    if len(view.values) != len(view.rows) or any(len(row) != len(view.columns) for row in view.values):
        raise ValueError(
            f"matrix {view.title!r}: values must be {len(view.rows)} rows of {len(view.columns)}"
        )
    known = [number for row in view.values for value in row if (number := finite(value)) is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    places = decimals(known)
    rows = [
        {"name": plain(name), "cells": [_cell(value, low, high, places) for value in values]}
        for name, values in zip(view.rows, view.values, strict=True)
    ]
    columns = [plain(name) for name in view.columns]
    return {
        "columns": columns, "rows": rows, "low": number_text(low, places), "high": number_text(high, places),
        "upright": len(columns) > 8 and max(map(len, columns)) > 6,
    }  # fmt: skip


def _cell(value: float | None, low: float, high: float, places: int) -> dict[str, str]:
    number = finite(value)
    if number is None:
        return {"text": number_text(None, places), "colour": "", "ink": ""}
    at = ((number - low) / (high - low) if high > low else 0.5) * (len(_CIVIDIS) - 1)
    first = min(int(at), len(_CIVIDIS) - 2)
    rgb = [a + (b - a) * (at - first) for a, b in zip(_CIVIDIS[first], _CIVIDIS[first + 1], strict=True)]
    return {
        "text": number_text(number, places),
        "colour": "#" + "".join(f"{round(part):02x}" for part in rgb),
        "ink": "#000" if _luminance(rgb) > _MIDDLE else "#fff",
    }


def _luminance(rgb: list[float]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    shares = [part / 255 for part in rgb]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
