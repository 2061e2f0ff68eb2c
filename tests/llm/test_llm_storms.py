"""Many calls at once: what a crowded server teaches, what cancelled calls give back, what is told meanwhile."""

import asyncio

from asking import at_first
from mock_server import reply, status

from medeval.llm import Harness, user


def test_a_storm_of_429s_above_four_at_once_is_learnt_from_and_all_calls_succeed(server, openai_block, run):
    server.on("m", lambda call: status(429) if server.in_flight > 4 else reply("good", delay=0.02))

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m", limits={"connections": 64, "start": 32, "attempts": 30}))
            got = await asyncio.gather(*(chat.ask([user(f"{i}")]) for i in range(120)))
            (endpoint,) = harness._endpoints.values()
            return got, (await endpoint.limiter()).rates.adaptive.limit

    got, limit = run(job)
    assert {reply.text for reply in got} == {"good"}
    assert limit < 32


def test_a_burst_is_one_connection_pool_below_its_limit(server, openai_block, run):
    server.on("m", lambda call: reply("good", delay=0.05))

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m", limits={"connections": 10, "start": 10}))
            await asyncio.gather(*(chat.ask([user(f"{i}")]) for i in range(60)))

    run(job)
    assert server.most_in_flight <= 10


def test_slots_come_back_when_calls_are_cancelled(server, openai_block, run):
    server.on(
        "m", lambda call: reply("slow", delay=0.0 if call.body["messages"][0]["content"] == "last" else 5.0)
    )

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m", limits={"connections": 2}))
            tasks = [asyncio.create_task(chat.ask([user(f"{i}")])) for i in range(6)]
            await asyncio.sleep(0.3)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return await chat.ask([user("last")]), harness.totals.in_flight

    last, in_flight = run(job)
    assert (last.text, in_flight) == ("slow", 0)


def test_nothing_is_left_open_when_the_loop_ends(server, openai_block, recwarn):
    async def job():
        return await Harness().chat(openai_block("m")).ask([user("hi")])

    for _ in range(3):  # three loops, three pools
        assert asyncio.run(job()).text
    assert [str(w.message) for w in recwarn if "unclosed" in str(w.message).lower()] == []


def test_the_progress_line_tells_what_waits_and_why(server, openai_block, run):
    server.on("m", at_first(status(500, headers={"retry-after": "0.3"})))

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m"))
            task = asyncio.create_task(chat.ask([user("hi")]))
            lines = set()
            while not task.done():
                lines.add(harness.line())
                await asyncio.sleep(0.01)
            return lines, harness.line()

    lines, last = run(job)
    assert any("backing off: 1 after server" in line for line in lines)
    assert "1 answered" in last
