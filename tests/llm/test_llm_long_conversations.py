"""Limits that a conversation meets: the model's context, the dialogue's clock, the run's clock."""

import pytest
from asking import asked
from mock_server import reply, status

from medeval.llm import Harness, Limit, assistant, system, user
from medeval.llm.errors import ContextTooLong, DialogueTimeout, RunTimeout
from medeval.types import Status


def too_long(limit):
    def handler(call):
        size = sum(len(m["content"]) for m in call.body["messages"])
        if size > limit:
            return status(
                400, f"This model's maximum context length is {limit}", code="context_length_exceeded"
            )
        return reply(f"saw {len(call.body['messages'])}")

    return handler


LONG = [
    system("rules"),
    user("My chest hurts."),
    *[m for i in range(8) for m in (assistant(f"q{i}" + "." * 100), user(f"a{i}" + "." * 100))],
]


def test_a_conversation_that_is_too_long_is_the_models_limit(server, openai_block, run):
    server.on("m", too_long(600))
    with pytest.raises(ContextTooLong) as failure:
        asked(run, openai_block("m"), LONG)
    assert failure.value.status is Status.MODEL_FAILED


def test_the_oldest_exchanges_are_left_out_where_the_block_says_so(server, openai_block, run):
    server.on("m", too_long(900))
    got = asked(run, openai_block("m", history="drop-oldest"), LONG)
    sent = server.seen[-1].body["messages"]
    assert got.trimmed == 12
    assert [m["content"][:2] for m in sent] == ["ru", "My", "q6", "a6", "q7", "a7"]
    assert "12 messages after this one are left out" in sent[1]["content"]


def test_what_must_stay_can_still_be_too_long(server, openai_block, run):
    server.on("m", too_long(100))
    with pytest.raises(ContextTooLong):
        asked(run, openai_block("m", history="drop-oldest"), LONG)


def test_a_dialogue_that_takes_too_long_is_the_models_timeout(server, openai_block, run):
    server.on("m", lambda call: reply("slow", delay=0.2))

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m")).within(harness.scope("case 1", Limit(seconds=0.5)))
            for turn in range(10):
                await chat.ask([user(f"{turn}")])

    with pytest.raises(DialogueTimeout, match=r"case 1's 0.5 s are over") as failure:
        run(job)
    assert (failure.value.status, failure.value.stops_run) == (Status.TIMEOUT, False)


def test_a_run_that_is_over_its_time_stops_cleanly(server, openai_block, run):
    server.on("m", lambda call: reply("slow", delay=5.0))
    with pytest.raises(RunTimeout) as failure:
        asked(run, openai_block("m"), settings={"budget": {"seconds": 0.3}})
    assert (failure.value.status, failure.value.stops_run) == (Status.BUDGET, True)
