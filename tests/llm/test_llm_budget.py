"""Calls, tokens, money: reserved before, settled after, stopped cleanly, continued later."""

import asyncio
import datetime
import json

import pytest
from mock_server import reply

from medeval.llm import Harness, HarnessSettings, Limit, Price, Prices, Usage, estimate_dialogue, user
from medeval.llm.errors import BudgetSpent, DialogueBudgetSpent
from medeval.llm.ledger import Ledger
from medeval.types import Status, UserError


def outcomes(run, block, budget, count=20, folder=None, role="doctor", at_once=False, **settings):
    """'ok' or the failure of each of ``count`` calls, and the harness's totals."""

    async def job():
        async with Harness(HarnessSettings(budget=budget, **settings), folder) as harness:
            chat = harness.chat(block, role=role)
            asks = [lambda i=i: chat.ask([user(f"{i:<80}")]) for i in range(count)]
            if at_once:
                return await asyncio.gather(*(ask() for ask in asks), return_exceptions=True), harness
            return [(await asyncio.gather(ask(), return_exceptions=True))[0] for ask in asks], harness

    return run(job)


@pytest.fixture
def block(server, openai_block):
    server.on("m", lambda call: reply("good"))  # 25 tokens
    return openai_block("m", max_tokens=10, limits={"connections": 64, "start": 64})


@pytest.mark.parametrize("limit", [Limit(calls=0), Limit(tokens=0)])
def test_a_budget_of_zero_sends_nothing(run, server, block, limit):
    got, _ = outcomes(run, block, limit, 3)
    assert all(
        isinstance(failure, BudgetSpent) and failure.status is Status.BUDGET and failure.stops_run
        for failure in got
    )
    assert server.calls["m"] == 0


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "all at once"])
@pytest.mark.parametrize(("limit", "calls"), [(Limit(calls=7), 7), (Limit(tokens=7 * 25 + 10), 7)])
def test_a_budget_is_used_and_not_overspent(run, server, block, limit, calls, at_once):
    got, harness = outcomes(run, block, limit, at_once=at_once)
    assert server.calls["m"] == calls
    assert sum(isinstance(one, BudgetSpent) for one in got) == 20 - calls
    assert harness.budget.spent.calls == calls


def test_what_was_spent_counts_when_the_run_is_continued(run, server, block, tmp_path):
    outcomes(run, block, Limit(calls=5), 20, tmp_path)
    outcomes(run, block, Limit(calls=5), 20, tmp_path)
    assert server.calls["m"] == 5
    got, harness = outcomes(run, block, Limit(calls=8), 20, tmp_path)
    assert server.calls["m"] == 8
    assert sum(not isinstance(one, Exception) for one in got) == 8  # 5 from the cache
    assert harness.totals.cached == 5


def test_cached_replies_cost_nothing(run, server, block, tmp_path):
    outcomes(run, block, Limit(), 5, tmp_path)
    got, _ = outcomes(run, block, Limit(calls=5), 5, tmp_path)
    assert [one.text for one in got] == ["good"] * 5
    assert server.calls["m"] == 5


PRICES = "currency: EUR\nas_of: 2026-01-31\nmodels:\n  m: {input: 100000, output: 200000}\n"  # 3 EUR a call


def test_money_is_counted_from_the_price_table(run, server, block, tmp_path):
    (tmp_path / "prices.yaml").write_text(PRICES)
    got, harness = outcomes(run, block, Limit(cost=11.0), prices=tmp_path / "prices.yaml")
    assert got[0].cost == pytest.approx(3.0)
    assert server.calls["m"] == 3
    assert "9.00 EUR" in harness.line()


def test_a_cost_limit_without_a_price_does_not_start(block):
    with pytest.raises(UserError, match="'m' has no price"):
        Harness({"budget": {"cost": 1}}).chat(block)


def test_a_roles_budget_is_its_own(run, server, block):
    got, _ = outcomes(run, block, Limit(), 5, role="judge", roles={"judge": Limit(calls=2)})
    assert sum(isinstance(one, BudgetSpent) for one in got) == 3
    got, _ = outcomes(run, block, Limit(), 5, role="doctor", roles={"judge": Limit(calls=2)})
    assert not any(isinstance(one, Exception) for one in got)


def test_a_dialogues_budget_ends_that_dialogue_only(run, server, block):
    async def job():
        async with Harness(HarnessSettings(dialogue=Limit(calls=2))) as harness:
            ends = []
            for name in ("a", "b"):
                chat = harness.chat(block).within(harness.scope(name))
                for i in range(3):
                    try:
                        await chat.ask([user(f"{name} {i}")])
                    except DialogueBudgetSpent as failure:
                        ends.append((name, i, failure.stops_run))
            return ends

    assert run(job) == [("a", 2, False), ("b", 2, False)]


def test_a_share_of_the_budget_is_for_one_of_several_processes(run, server, block):
    async def job():
        async with Harness({"budget": {"calls": 8}}, share=0.5) as harness:
            return harness.budget.limit.calls

    assert run(job) == 4


def test_what_was_spent_before_is_shared_as_the_budget_is(run, tmp_path):
    lines = [json.dumps({"role": "judge", "paid": True, "usage": {}}) for _ in range(6)]
    (tmp_path / "calls.jsonl").write_text("\n".join([*lines, ""]))

    async def job():
        async with Harness({"budget": {"calls": 8}}, tmp_path, share=0.5) as harness:
            return harness.budget.limit.calls - harness.budget.spent.calls

    assert run(job) == 1


def test_what_another_process_spends_counts_once_one_looks(run, server, block, tmp_path):
    """The run's own process was there first; a worker with half of the budget spends three of four calls."""

    async def job():
        async with Harness({"budget": {"calls": 4}, "cache": "off"}, tmp_path) as run_:
            async with Harness({"budget": {"calls": 8}, "cache": "off"}, tmp_path, share=0.5) as worker:
                for n in range(3):
                    await worker.chat(block, role="judge").ask([user(f"{n}")])
            assert run_.budget.spent.calls == 0
            run_.catch_up()
            run_.catch_up()
            assert run_.budget.spent.calls == 3
            await run_.chat(block).ask([user("last")])
            with pytest.raises(BudgetSpent):
                await run_.chat(block).ask([user("one too many")])
        async with Harness({"budget": {"calls": 8}, "cache": "off"}, tmp_path, share=0.5) as worker:
            return worker.budget.spent.calls

    assert run(job) == 3  # halves of three and of one, rounded up


@pytest.mark.parametrize(
    ("written", "calls"),
    [
        ([b'{"role": "judge", "paid": true}\n'], [1]),
        ([b'{"role": "judge", "paid": true}'], [1]),
        ([b'{"role": "judge", "pa', b'id": true}\n'], [0, 1]),
        ([b'{"role": "judge", "pa', b'\n{"role": "judge", "paid": true}\n'], [0, 1]),
        ([b'{"role": "judge", "paid": true}', b'\n{"role": "judge", "paid": true}\n'], [1, 2]),
        ([b'{"role": "judge", "paid": false}\n[]\n', b""], [0, 0]),
    ],
)
def test_a_ledger_reads_each_line_once_when_it_is_whole(tmp_path, written, calls):
    ledger = Ledger(tmp_path / "calls.jsonl")
    assert ledger.spent() == {}
    for piece, count in zip(written, calls, strict=True):
        with (tmp_path / "calls.jsonl").open("ab") as file:
            file.write(piece)
        assert sum(amount.calls for amount in ledger.spent().values()) == count


@pytest.mark.parametrize(
    ("model", "price"),
    [("gpt-4o", 1.0), ("gpt-4o-mini", 2.0), ("gpt-4o-mini-2024", 2.0), ("gpt-4o-2024", 3.0), ("other", None)],
)
def test_the_most_exact_price_is_taken(model, price):
    table = Prices.of({"models": {"gpt-4o": {"input": 1, "output": 1}, "gpt-4o-mini*": {"input": 2, "output": 1},
                                  "gpt-4o*": {"input": 3, "output": 1}}})  # fmt: skip
    found = table.find(model)
    assert (found and found.input) == price


def test_cached_input_has_its_own_price():
    price = Price(input=2.0, output=10.0, cached_input=1.0)
    assert price.cost(Usage(1_000_000, 100_000, cached=500_000)) == pytest.approx(1.0 + 0.5 + 1.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: {m: {input: -1, output: 1}}", "models.m.input"),
        ("models: {m: {inptu: 1, output: 1}}", "did you mean 'input'"),
        ("models: [", "no YAML"),
        ("- 1", "expected a mapping"),
    ],
)
def test_a_wrong_price_table_names_file_and_key(tmp_path, text, told):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=r"p\.yaml") as error:
        Prices.load(tmp_path / "p.yaml")
    assert told in str(error.value)


def test_a_date_in_the_table_may_be_a_date():
    assert Prices.of({"as_of": datetime.date(2026, 1, 31)}).as_of == "2026-01-31"


def test_the_estimate_of_a_dialogue_is_what_it_sends():
    """Three turns of 10 tokens on a prompt of 100: prompts of 110, 130 and 150 tokens."""
    assert estimate_dialogue(3, 100, 10) == Usage(110 + 130 + 150, 30, estimated=True)
