"""``--dry-run``: calls, tokens and money that the chat models of a suite will cost, at most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medeval.engine.chats import DOCTOR
from medeval.engine.plan import Plan, PlannedCell
from medeval.tasks.base import ChatPlan
from medeval.types import nearest
from medeval.types.views import Column, Table

if TYPE_CHECKING:
    from medeval.llm.prices import Prices

_NOTE = (
    "At most: every dialogue to its turn limit, tokens by guess, nothing taken from the cache, no retries. What is finished "
    "or cached is not paid for again."
)


@dataclass
class _Sum:
    """Calls and tokens of one role at one model; tokens are None where a task cannot tell them."""

    calls: int = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0

    def add(self, plan: ChatPlan) -> None:
        """One case more."""
        self.calls += plan.calls
        known = (
            self.input_tokens is not None and plan.input_tokens is not None and plan.output_tokens is not None
        )
        self.input_tokens = self.input_tokens + plan.input_tokens if known else None  # type: ignore[operator]
        self.output_tokens = self.output_tokens + plan.output_tokens if known else None  # type: ignore[operator]


def chat_tables(plan: Plan) -> list[Table]:
    """One table of roles and models, or none where the suite asks no chat model."""
    sums: dict[tuple[str, str], _Sum] = {}
    for planned in plan.cells:
        for role, model, calls in _calls(plan, planned):
            sums.setdefault((role, model), _Sum()).add(calls)
    if not sums:
        return []
    prices = _prices(plan)
    columns = [
        Column("role"), Column("model"), Column("calls", kind="integer"), Column("input", "input tokens", "integer"),
        Column("output", "output tokens", "integer"), Column("cost", f"cost, {prices.currency}", "number"),
    ]  # fmt: skip
    rows = [
        {"role": role, "model": model, "calls": total.calls, "input": total.input_tokens,
         "output": total.output_tokens, "cost": _cost(prices, model, total)}
        for (role, model), total in sums.items()
    ]  # fmt: skip
    return [Table("Chat models", columns, rows, " ".join(filter(None, [_NOTE, _costs_text(rows, prices)])))]


def unmet_roles(plan: Plan) -> list[str]:
    """Roles that have a limit (``llm: roles:``) though no call is known to be made in them: a mistyped one limits nothing."""
    limited = plan.suite.llm.roles if plan.suite.llm else {}
    if not limited:
        return []
    known = {role for planned in plan.cells for role, _, _ in _calls(plan, planned)}
    return [
        f"llm.roles.{role}: no call of this suite is known to be made in this role, so its limit may never count; "
        + nearest(role, known)
        for role in limited
        if role not in known
    ]


def _calls(plan: Plan, planned: PlannedCell) -> Iterator[tuple[str, str, ChatPlan]]:
    """(role, model's name, what it will be asked) for every case of a cell."""
    cell, spec = planned.cell, plan.suite.model_specs[planned.cell.model]
    index = plan.datasets[cell.dataset].index
    for case_id in (case_id for unit in planned.units for case_id in unit.case_ids):
        info = index.info(case_id)
        plans = cell.task.chat_plan(info)
        if not plans and spec.chat:
            plans = [ChatPlan(DOCTOR, None, cell.task.calls(plan.classes[cell.model], info, 1))]
        for one in plans:
            block = one.block if one.block is not None else spec.options if spec.chat else None
            if block is not None:
                yield one.role, _name(block), one


def _name(block: Mapping[str, Any]) -> str:
    return str(block.get("model", block["client"]))


def _prices(plan: Plan) -> Prices:
    from medeval.llm.prices import Prices

    settings = plan.suite.llm
    return Prices.load(plan.suite.base / settings.prices) if settings and settings.prices else Prices()


def _cost(prices: Prices, model: str, total: _Sum) -> float | None:
    from medeval.llm.replies import Usage

    price = prices.find(model)
    if price is None or total.input_tokens is None or total.output_tokens is None:
        return None
    return price.cost(Usage(total.input_tokens, total.output_tokens))


def _costs_text(rows: list[dict[str, Any]], prices: Prices) -> str:
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    if not prices.models:
        return "No price table is given (`llm: {prices: FILE}`)."
    return (
        f"Together at most {sum(costs):.2f} {prices.currency}."
        if len(costs) == len(rows)
        else "Not all models have a price."
    )
