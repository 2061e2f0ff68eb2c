"""Running totals of a harness: what a progress bar shows and a report sums up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from medeval.llm.replies import Usage


@dataclass
class Totals:
    """calls: sent and answered. cached: answered for nothing. failed: given up. retries: tries after the first.

    cost: of this process, in the price table's currency. saved: what the cached replies had cost. sleeping: calls that wait
    before their next try, by the reason.
    """

    calls: int = 0
    cached: int = 0
    failed: int = 0
    retries: int = 0
    in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    saved: float = 0.0
    estimated: bool = False
    sleeping: Counter[str] = field(default_factory=Counter)

    def answered(self, usage: Usage, cost: float | None) -> None:
        """A reply came back."""
        self.calls += 1
        self.input_tokens += usage.input
        self.output_tokens += usage.output
        self.cost += cost or 0.0
        self.estimated = self.estimated or usage.estimated

    def hit(self, cost: float | None) -> None:
        """A reply came from the cache."""
        self.cached += 1
        self.saved += cost or 0.0

    def line(self, waiting: int, currency: str) -> str:
        """One line: nothing that waits is invisible."""
        asleep = [f"{count} after {reason}" for reason, count in sorted(self.sleeping.items()) if count]
        parts = [
            f"{self.in_flight} in flight",
            f"{waiting} waiting" if waiting else "",
            f"backing off: {', '.join(asleep)}" if asleep else "",
            f"{self.calls} answered",
            f"{self.cached} from the cache" if self.cached else "",
            f"{self.failed} failed" if self.failed else "",
            f"{'about ' if self.estimated else ''}{(self.input_tokens + self.output_tokens) / 1000:.1f}k tokens",
            f"{self.cost:.2f} {currency}" if currency else "",
        ]
        return " · ".join(part for part in parts if part)
