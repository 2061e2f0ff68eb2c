"""The harness that all chat calls of a process go through: budget, cache, limiter, retries, logs.

    harness = Harness(HarnessSettings(budget={"cost": 5}), folder=run / "llm")
    judge = harness.chat({"client": "openai", "model": "gpt-4o-mini"}, role="judge")
    reply = await judge.ask([user("...")])

One harness serves all roles; each (provider, endpoint, account, model) has one limiter, whoever asks. In ``folder`` it
leaves ``cache.sqlite``, ``exchanges.jsonl`` (every request with its raw reply, to read and to replay) and ``calls.jsonl``
(one line a call without content: who, when, how long, how many tries, tokens, money).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medeval.llm.budget import Amount, Budget, Limit, Scope
from medeval.llm.calllog import CALLS
from medeval.llm.chat import Chat, charged_to
from medeval.llm.clients.base import ChatClient
from medeval.llm.endpoint import Endpoint
from medeval.llm.ledger import Ledger
from medeval.llm.model import ChatModel, model_of, open_model
from medeval.llm.prices import Prices
from medeval.llm.replies import Reply
from medeval.llm.store import Store
from medeval.llm.totals import Totals
from medeval.types import UserError

CacheMode = Literal["off", "read", "write", "read-write", "replay"]
PRIORITIES = {"judge": 0, "patient": 1, "measurement": 1}  # others 2: dialogues end before new ones begin
UNDER_TEST = "doctor"


class HarnessSettings(BaseModel):
    """``llm:`` of a suite; none of it but ``namespace`` changes a reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cache: CacheMode = Field(
        "read-write",
        description="off, read (adds nothing), write (asks afresh and replaces), read-write, replay (a miss is an error).",
    )
    cache_file: Path | None = Field(
        None, description="The cache's file, to share it between runs; default: in the run's folder."
    )
    namespace: str = Field("", description="Enters every key: another namespace asks everything anew.")
    log_exchanges: bool = Field(True, description="Keep every raw exchange as JSONL in the run's folder.")
    prices: Path | None = Field(None, description="Price table in YAML.")
    budget: Limit = Field(Limit(), description="What the run may spend, over all its continuations.")
    roles: dict[str, Limit] = Field(
        default_factory=dict, description="What each role may spend: {judge: {cost: 2}}."
    )
    dialogue: Limit = Field(Limit(), description="What each dialogue may spend, and how long it may take.")


class Harness:
    """See the module.

    folder: where cache and logs go; None keeps nothing on disk (the cache needs ``cache_file`` then).
    share: this process's share of the budgets, where several processes run at once.
    """

    def __init__(
        self,
        settings: HarnessSettings | Mapping[str, Any] | None = None,
        folder: Path | None = None,
        *,
        share: float = 1.0,
        base: Path | None = None,
    ) -> None:
        given = (
            settings
            if isinstance(settings, HarnessSettings)
            else HarnessSettings.model_validate(settings or {})
        )
        self.settings = given
        self.prices = Prices.load((base or Path()) / given.prices) if given.prices else Prices()
        self.totals = Totals()
        cache = (
            (base or Path()) / given.cache_file if given.cache_file else folder and folder / "cache.sqlite"
        )
        if given.cache == "replay" and (cache is None or not cache.exists()):
            raise UserError(
                f"cache: replay needs the file of an earlier run, and {cache or 'none'} is not there"
            )
        self.store = Store(cache if given.cache != "off" else None, folder)
        self.reads = cache is not None and given.cache in ("read", "read-write", "replay")
        self.writes = cache is not None and given.cache in ("write", "read-write")
        self._share = share
        self._ledger = Ledger(folder / CALLS) if folder else None
        spent = self._spent_before()
        self.budget = Budget("run", _shared(given.budget, share), sum(spent.values(), Amount()))
        self._roles = {
            role: Budget(role, _shared(limit, share), spent.get(role)) for role, limit in given.roles.items()
        }
        self._endpoints: dict[Any, Endpoint] = {}
        self._models: dict[str, ChatModel] = {}
        self._base = base

    def chat(
        self,
        model: ChatModel | ChatClient | Mapping[str, Any],
        role: str = UNDER_TEST,
        *,
        under_test: bool | None = None,
        priority: int | None = None,
    ) -> Chat:
        """A role's way to its model.

        model: an open model, a client, or a block of a suite. under_test: False makes every failure the evaluator's;
        default: True for ``doctor`` only. priority: the lowest is served first; default: judge, then patient, then others.
        Raises ``UserError`` where a cost limit is set and the model has no price.
        """
        if not isinstance(model, ChatModel):
            model = model_of(model) if isinstance(model, ChatClient) else self._opened(model)
        if model.client.capabilities.paid:
            self._need_price(model, role)
        return Chat(
            harness=self,
            endpoint=self._endpoint(model),
            model=model,
            role=role,
            under_test=role == UNDER_TEST if under_test is None else under_test,
            priority=PRIORITIES.get(role, 2) if priority is None else priority,
            budgets=[self.budget, *([self._roles[role]] if role in self._roles else [])],
        )

    def scope(self, name: str, limit: Limit | None = None) -> Scope:
        """One dialogue's budget and clock, by default the settings' ``dialogue:``; bind it by ``chat.within(scope)``."""
        return Scope(name, limit or self.settings.dialogue)

    def dialogue(self, name: str) -> AbstractContextManager[Scope]:
        """While inside, all chats of this task of the loop are charged to a dialogue's budget and clock."""
        return charged_to(self.scope(name))

    def catch_up(self) -> None:
        """Count what other processes of this run have spent since; call it while no call is in flight here."""
        spent = self._spent_before()
        self.budget.at_least(sum(spent.values(), Amount()))
        for role, budget in self._roles.items():
            budget.at_least(spent.get(role, Amount()))

    def _spent_before(self) -> dict[str, Amount]:
        """This process's part of what each role has spent, by the run's log of calls."""
        spent = self._ledger.spent() if self._ledger else {}
        return {role: _shared_amount(amount, self._share) for role, amount in spent.items()}

    def line(self) -> str:
        """What is going on, for a progress bar."""
        waiting = sum(endpoint.waiting for endpoint in self._endpoints.values())
        return self.totals.line(waiting, self.prices.currency if self.prices.models else "")

    async def close(self) -> None:
        """Close what belongs to the running loop, and end the store. The loop's end closes connections by itself."""
        for endpoint in self._endpoints.values():
            await endpoint.close()
        await asyncio.get_running_loop().run_in_executor(None, self.store.close)

    async def __aenter__(self) -> Harness:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _opened(self, block: Mapping[str, Any]) -> ChatModel:
        """The block's model; one block is opened once, however many units ask."""
        key = json.dumps(block, sort_keys=True, default=str)
        if key not in self._models:
            self._models[key] = open_model(block, self._base)
        return self._models[key]

    def _endpoint(self, model: ChatModel) -> Endpoint:
        key = (*model.client.identity.endpoint_key, model.keys.limits)
        return self._endpoints.setdefault(key, Endpoint(model.keys.limits))

    def _need_price(self, model: ChatModel, role: str) -> None:
        limits = [self.settings.budget, self.settings.dialogue, *self.settings.roles.values()]
        if any(limit.cost is not None for limit in limits) and self.prices.find(model.name) is None:
            where = self.settings.prices or "no price table is given"
            raise UserError(
                f"a cost limit is set, but the {role}'s model {model.name!r} has no price ({where}); add it under "
                "`models:` there, with 0 if it is free"
            )


def _shared(limit: Limit, share: float) -> Limit:
    def part(value: Any) -> Any:
        return None if value is None else type(value)(value * share)

    return Limit(
        cost=part(limit.cost), tokens=part(limit.tokens), calls=part(limit.calls), seconds=limit.seconds
    )


def _shared_amount(amount: Amount, share: float) -> Amount:
    """A process's part of what was spent before, rounded up: the parts of all processes are never less than the whole."""
    return Amount(math.ceil(amount.calls * share), math.ceil(amount.tokens * share), amount.cost * share)


__all__ = ["CacheMode", "Harness", "HarnessSettings", "Reply"]
