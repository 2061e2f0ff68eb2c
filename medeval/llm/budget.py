"""Budgets in calls, tokens, money and seconds: the worst case is reserved before a call, the truth is settled after it.

A call that no longer fits beside what is in flight waits until something settles; one that does not fit at all ends the
budget: what is in flight finishes, everything after it is refused at once. So a budget is never overspent by more than
replies exceed their own ``max_tokens``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from medeval.llm.errors import BudgetSpent, CallFailure, DialogueBudgetSpent, DialogueTimeout, RunTimeout

UNBOUNDED_REPLY = 1024  # tokens reserved for a reply without max_tokens


class Limit(BaseModel):
    """What may be spent; an unset field is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cost: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Money, in the price table's currency."
    )
    tokens: int | None = Field(default=None, ge=0, description="Tokens, input and output together.")
    calls: int | None = Field(
        default=None, ge=0, description="Calls that are sent; cached ones cost nothing."
    )
    seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Wall time from the first call."
    )


@dataclass(frozen=True)
class Amount:
    """A sum of spending. cost is None-free: a call of unknown price counts 0 (and cost limits refuse to start)."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.calls - other.calls, self.tokens - other.tokens, self.cost - other.cost)


class Budget:
    """One budget, of the run, a role or a dialogue. Used from one event loop at a time.

    name: for messages. failure: raised when it is spent.
    """

    def __init__(
        self, name: str, limit: Limit, spent: Amount | None = None, failure: type[CallFailure] = BudgetSpent
    ) -> None:
        self.name = name
        self.limit = limit
        self.spent = spent or Amount()
        self.reserved = Amount()
        self._failure = failure
        self._ended: str | None = None
        self._began: float | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def remaining_seconds(self) -> float | None:
        """Seconds left of its time, None without a time limit. The clock starts at the first question."""
        if self.limit.seconds is None:
            return None
        self._began = time.monotonic() if self._began is None else self._began
        return self._began + self.limit.seconds - time.monotonic()

    def timed_out(self) -> CallFailure:
        """The failure that its spent time stands for."""
        kind = DialogueTimeout if issubclass(self._failure, DialogueBudgetSpent) else RunTimeout
        return kind(f"the {self.name}'s {self.limit.seconds:g} s are over")

    async def reserve(self, amount: Amount) -> None:
        """Set ``amount`` aside, waiting for calls in flight where it may fit after them.

        Raises the budget's failure when it cannot fit.
        """
        while True:
            self._refuse_ended()
            if over := self._over(self.spent + amount):
                self._ended = over
                self._wake()
                continue
            if not self._over(self.spent + self.reserved + amount):
                self.reserved += amount
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def settle(self, reserved: Amount, spent: Amount) -> None:
        """Put what was really spent in the place of what was reserved."""
        self.reserved -= reserved
        self.spent += spent
        self._wake()

    def at_least(self, spent: Amount) -> None:
        """So much is spent, whoever spent it; what is known already counts once."""
        mine = self.spent
        self.spent = Amount(
            max(mine.calls, spent.calls), max(mine.tokens, spent.tokens), max(mine.cost, spent.cost)
        )

    def _refuse_ended(self) -> None:
        if self._ended is not None:
            raise self._failure(self._ended)
        remaining = self.remaining_seconds()
        if remaining is not None and remaining <= 0:
            raise self.timed_out()

    def _over(self, total: Amount) -> str:
        """What a total breaks, in words; "" when it fits."""
        limit, spent = self.limit, self.spent
        if limit.cost is not None and total.cost > limit.cost * (1 + 1e-9):
            return f"the {self.name}'s budget of {limit.cost:g} is spent ({spent.cost:.4g}); raise it and continue"
        if limit.tokens is not None and total.tokens > limit.tokens:
            return f"the {self.name}'s budget of {limit.tokens} tokens is spent ({spent.tokens}); raise it and continue"
        if limit.calls is not None and total.calls > limit.calls:
            return f"the {self.name}'s budget of {limit.calls} calls is spent ({spent.calls}); raise it and continue"
        return ""

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.get_loop().call_soon(_resolve, waiter)


class Scope(Budget):
    """One dialogue: its own budget and time. Bind it with ``chat.within(scope)``."""

    def __init__(self, name: str, limit: Limit) -> None:
        super().__init__(name, limit, failure=DialogueBudgetSpent)


class Reservation:
    """An amount set aside in several budgets at once; all of them or none."""

    def __init__(self, budgets: list[Budget], amount: Amount) -> None:
        self._budgets = budgets
        self._amount = amount

    async def __aenter__(self) -> Callable[[Amount], None]:
        held: list[Budget] = []
        try:
            for budget in self._budgets:
                await budget.reserve(self._amount)
                held.append(budget)
        except BaseException:
            for budget in held:
                budget.settle(self._amount, Amount())
            raise
        self._spent = Amount()
        return self._spend

    def _spend(self, amount: Amount) -> None:
        self._spent += amount

    async def __aexit__(self, *_: object) -> None:
        for budget in self._budgets:
            budget.settle(self._amount, self._spent)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
