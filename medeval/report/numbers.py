"""Numbers as people read them: one number of decimals a column, and a dash where there is no value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

NOTHING = "–"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def finite(value: Any) -> float | None:
    """The value as a float, or None where it is missing, NaN, infinite or no number."""
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def decimals(values: Iterable[Any]) -> int:
    """Decimals for a column: 3 for ratios, fewer for larger numbers, more where all are tiny."""
    largest = max((abs(number) for value in values if (number := finite(value)) is not None), default=0.0)
    if largest == 0 or 0.01 <= largest < 2:
        return 3
    if largest < 0.01:
        return min(12, 2 - math.floor(math.log10(largest)))
    return 2 if largest < 20 else 1 if largest < 1000 else 0


def number_text(value: Any, places: int) -> str:
    """``0.812``, ``12,340``; ``∞`` for infinite and a dash for nothing."""
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "-∞"
    number = finite(value)
    if number is None:
        return NOTHING
    text = f"{number:,.{places}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text  # no "-0.000"


def interval_text(low: Any, high: Any, places: int) -> str:
    """``[0.790, 0.833]``, or "" where there is no interval."""
    if finite(low) is None or finite(high) is None:
        return ""
    return f"[{number_text(low, places)}, {number_text(high, places)}]"


def plain(value: Any) -> str:
    """Text without control characters (terminal escapes) and direction overrides; "" for None."""
    if value is None:
        return ""
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(plain(part) for part in value)
    return _CONTROL.sub("", str(value).replace("\r\n", "\n"))
