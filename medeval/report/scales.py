"""From data to pixels: a linear scale with round ticks, and the marks of the plots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from medeval.report.numbers import finite

PALETTE = 8  # colours of the style sheet (Okabe & Ito); further series repeat them with another marker
MARKERS = 5


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to [start, stop] pixels; ``start`` may be the larger, as on a page's vertical axis."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Pixel of a value, to a tenth."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start), 1)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """(value, text) at round steps of 1, 2 or 5 times a power of ten, ``most`` or a few fewer."""
        raw = (self.high - self.low) / max(1, most - 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(n * step, f"{n * step:,.{places}f}") for n in range(first, last + 1)]


def told_apart(baselines: Sequence[bool]) -> list[bool]:
    """Which lines are drawn as baselines: none where all are, for a mark that all bear says nothing."""
    return [False] * len(baselines) if len(baselines) > 1 and all(baselines) else list(baselines)


def span(values: Iterable[Any], padding: float = 0.06) -> tuple[float, float]:
    """Lowest and highest with some room; (0, 1) for no values, one unit of room around a single value."""
    found = [number for value in values if (number := finite(value)) is not None]
    if not found:
        return 0.0, 1.0
    low, high = min(found), max(found)
    room = (high - low) * padding or max(abs(low), 1.0) * 0.05
    return low - room, high + room


def marker(shape: int, x: float, y: float, size: float = 4.0) -> str:
    """SVG path of circle, square, triangle, diamond or inverted triangle around (x, y)."""
    s = size
    paths = (
        f"M{x - s:.1f} {y:.1f}a{s} {s} 0 1 0 {2 * s} 0a{s} {s} 0 1 0 {-2 * s} 0Z",
        f"M{x - s:.1f} {y - s:.1f}h{2 * s}v{2 * s}h{-2 * s}Z",
        f"M{x:.1f} {y - s * 1.2:.1f}l{s * 1.2:.1f} {s * 2.1:.1f}h{-s * 2.4:.1f}Z",
        f"M{x:.1f} {y - s * 1.3:.1f}l{s * 1.3:.1f} {s * 1.3:.1f}l{-s * 1.3:.1f} {s * 1.3:.1f}l{-s * 1.3:.1f} {-s * 1.3:.1f}Z",
        f"M{x:.1f} {y + s * 1.2:.1f}l{s * 1.2:.1f} {-s * 2.1:.1f}h{-s * 2.4:.1f}Z",
    )
    return paths[shape % MARKERS]


def shortened(text: str, width: float, per_character: float = 6.7) -> str:
    """The text, cut with an ellipsis where it would be wider than ``width`` pixels."""
    most = max(4, int(width / per_character))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
