"""A server that misbehaves in every way: what becomes of the call, after how many tries."""

import asyncio
import time

import pytest
from mock_server import Answer, completion, delta, http, reply, status, stream

from medeval.llm import Harness, Limit, Outcome, assistant, system, user
from medeval.llm.errors import (
    BadCall,
    ContextTooLong,
    DialogueTimeout,
    EndpointDown,
    EndpointRefuses,
    RunTimeout,
)
from medeval.types import Status


def asked(run, block, messages=None, settings=None, role="doctor"):
    async def job():
        async with Harness(settings or {}) as harness:
            return await harness.chat(block, role=role).ask(messages or [user("hi")])

    return run(job)


def at_first(bad, then=None):
    return lambda call: bad if call.number == 0 else then or reply("good")


HTML = http(200, b"<html>gateway</html>", {"content-type": "text/html"})
HALF_BODY = Answer(
    [b'HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"choices": ['],
    cut=True,
)
PASSING = {
    "429": status(429),
    "429 + Retry-After": status(429, headers={"retry-after": "0.05"}),
    "429 + retry-after-ms": status(429, headers={"retry-after-ms": "50"}),
    "408": status(408),
    "409": status(409),
    "500": status(500),
    "502 with HTML": http(502, b"<html>bad gateway</html>", {"content-type": "text/html"}),
    "529": status(529),
    "malformed JSON": http(200, b'{"choices": [}'),
    "half a JSON": http(200, b'{"choices": [{"message": {"content": "he'),
    "HTML as 200": HTML,
    "empty choices": http(200, b'{"choices": []}'),
    "null": http(200, b"null"),
    "a list": http(200, b"[]"),
    "200 with an error": http(200, b'{"error": {"message": "overloaded"}}'),
    "reset before a byte": Answer([b""], cut=True),
    "reset in the body": HALF_BODY,
    "connection closed": Answer([], then=["close"]),
}


@pytest.mark.parametrize("bad", PASSING.values(), ids=PASSING)
def test_a_passing_failure_is_tried_again(server, openai_block, run, bad):
    server.on("m", at_first(bad))
    got = asked(run, openai_block("m"))
    assert (got.text, got.attempts, server.calls["m"]) == ("good", 2, 2)


STREAMS = {
    "reset in the middle": stream([delta("he")], done=False, cut=True),
    "ends without a finish": stream([delta("he")], done=False),
    "no JSON": stream([delta("he"), "{not json}"]),
    "an error event": stream([delta("he"), {"error": {"message": "overloaded"}}]),
    "no event at all": stream([]),
}


@pytest.mark.parametrize("bad", STREAMS.values(), ids=STREAMS)
def test_a_broken_stream_is_tried_again(server, openai_block, run, bad):
    whole = stream(
        [
            delta("go"),
            delta("od"),
            delta(None, "stop"),
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        ]
    )
    server.on("m", at_first(bad, whole))
    got = asked(run, openai_block("m", stream=True))
    assert (got.text, got.attempts, got.usage.total, got.usage.estimated) == ("good", 2, 5, False)


def test_a_hang_ends_at_the_time_limit_and_is_tried_again(server, openai_block, run):
    server.on("m", lambda call: reply("good", delay=3.0 if call.number == 0 else 0.0))
    begin = time.monotonic()
    got = asked(run, openai_block("m", limits={"timeout": 0.3}))
    assert (got.text, got.attempts) == ("good", 2)
    assert time.monotonic() - begin < 2.9


def test_a_slow_drip_does_not_outlast_the_time_limit(server, openai_block, run):
    head = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\r\n"
    drip = Answer([head, *[b" "] * 60], pause=0.1)
    server.on("m", at_first(drip))
    begin = time.monotonic()
    assert asked(run, openai_block("m", limits={"timeout": 0.4})).text == "good"
    assert time.monotonic() - begin < 3.0


def test_a_server_that_never_recovers_is_given_up_as_infrastructure(server, openai_block, run):
    server.on("m", lambda call: status(500, "broken"))
    with pytest.raises(
        EndpointDown, match=r"HTTP 500: broken \(3 tries: server, server, server\)"
    ) as failure:
        asked(run, openai_block("m", limits={"attempts": 3}))
    assert failure.value.status is Status.INFRASTRUCTURE
    assert server.calls["m"] == 3


def test_the_deadline_of_a_call_ends_its_tries(server, openai_block, run):
    server.on("m", lambda call: status(500))
    block = openai_block("m", limits={"backoff": 0.2, "max_backoff": 0.2, "deadline": 0.3, "attempts": 100})
    with pytest.raises(EndpointDown):
        asked(run, block)
    assert server.calls["m"] < 30


def test_a_retry_after_of_a_quarter_of_an_hour_is_not_waited_for(server, openai_block, run):
    server.on("m", lambda call: status(429, headers={"retry-after": "900"}))
    with pytest.raises(EndpointDown):
        asked(run, openai_block("m"))
    assert server.calls["m"] == 1


LASTING = {
    "wrong key": (status(401, "Incorrect API key"), EndpointRefuses, "the key is missing, wrong"),
    "not allowed": (status(403), EndpointRefuses, "not allowed"),
    "unknown model": (
        status(404, "The model `m` does not exist", code="model_not_found"),
        EndpointRefuses,
        "no such model",
    ),
    "no quota": (
        status(429, "You exceeded your quota", code="insufficient_quota"),
        EndpointRefuses,
        "quota is used up",
    ),
    "bad request": (status(400, "messages: wrong"), BadCall, "messages: wrong"),
    "unprocessable": (status(422, "bad"), BadCall, "bad"),
}


@pytest.mark.parametrize(("bad", "kind", "told"), LASTING.values(), ids=LASTING)
def test_a_lasting_failure_is_asked_once(server, openai_block, run, bad, kind, told):
    server.on("m", lambda call: bad)
    with pytest.raises(kind, match=told):
        asked(run, openai_block("m"))
    assert server.calls["m"] == 1


def test_after_a_wrong_key_nothing_more_is_sent(server, openai_block, run):
    server.on("m", lambda call: status(401))

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m"))
            failures = [
                await asyncio.gather(chat.ask([user(f"{i}")]), return_exceptions=True) for i in range(20)
            ]
            return [failure for (failure,) in failures]

    failures = run(job)
    assert all(
        isinstance(f, EndpointRefuses) and f.stops_run and f.status is Status.INFRASTRUCTURE for f in failures
    )
    assert server.calls["m"] == 1


def test_a_missing_key_is_told_before_anything_is_sent(server, openai_block, run, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(EndpointRefuses, match="NO_SUCH_KEY is not set"):
        asked(run, openai_block("m", api_key_env="NO_SUCH_KEY"))
    assert server.calls["m"] == 0


def test_a_server_that_is_gone_is_left_alone_after_some_calls(openai_block, run):
    block = openai_block("m", limits={"attempts": 1, "give_up_after": 3}) | {
        "base_url": "http://127.0.0.1:9/v1"
    }

    async def job():
        async with Harness() as harness:
            chat = harness.chat(block)
            return [await asyncio.gather(chat.ask([user(f"{i}")]), return_exceptions=True) for i in range(5)]

    failures = [failure for (failure,) in run(job)]
    assert [type(f) for f in failures] == [EndpointDown] * 3 + [EndpointRefuses] * 2
    assert "3 calls in a row" in str(failures[-1])


ODD = {
    "refusal": (completion(None, refusal="I cannot help."), Outcome.REFUSED, ""),
    "content filter": (completion("so", "content_filter"), Outcome.CONTENT_FILTERED, "so"),
    "length": (completion("half a sen", "length"), Outcome.TRUNCATED, "half a sen"),
    "unclosed thought": (completion("<think>hmm", "length"), Outcome.UNCLOSED_THOUGHT, ""),
    "thought in a field, cut": (completion("", "length", reasoning_content="hmm"), Outcome.UNCLOSED_THOUGHT, ""),
    "thought in a field": (completion("yes", reasoning="hmm"), Outcome.OK, "yes"),
    "null content": (completion(None), Outcome.EMPTY, ""),
    "no finish reason": (completion("yes", None), Outcome.OK, "yes"),
    "parts": (completion([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]), Outcome.OK, "yes"),
    "emoji, RTL, NUL": (completion("😀 שלום \0"), Outcome.OK, "😀 שלום \0"),
    "lone surrogate": (completion("a\ud800"), Outcome.OK, "a\ufffd"),
    "100 KB": (completion("x" * 100_000), Outcome.OK, "x" * 100_000),
}  # fmt: skip


@pytest.mark.parametrize(("body", "outcome", "text"), ODD.values(), ids=ODD)
def test_every_complete_reply_has_its_outcome_and_comes_back_from_the_cache_the_same(
    server, openai_block, run, tmp_path, body, outcome, text
):
    import json

    server.on("m", lambda call: http(200, json.dumps(body).encode()))

    async def job():
        async with Harness({}, tmp_path) as harness:
            chat = harness.chat(openai_block("m"))
            return [await chat.ask([user("😀 שלום \0")]) for _ in range(2)]

    first, again = run(job)
    assert (first.outcome, first.text) == (outcome, text)
    if outcome is Outcome.CONTENT_FILTERED:  # a filter may be in another mood: never kept
        assert (server.calls["m"], again.cached, again.text) == (2, False, text)
    else:
        assert (server.calls["m"], again.cached) == (1, True)
        assert again.over(cached=False) == first


def test_usage_that_a_server_does_not_tell_is_guessed_and_marked(server, openai_block, run):
    import json

    server.on("m", lambda call: http(200, json.dumps(completion("four letters", usage=False)).encode()))
    got = asked(run, openai_block("m"))
    assert got.usage.estimated
    assert got.usage.input > 0
    assert got.usage.output == 4


def test_an_azure_content_filter_is_a_reply_not_an_error(server, openai_block, run):
    server.on(
        "m",
        lambda call: status(
            400, "The response was filtered due to the content management policy", code="content_filter"
        ),
    )
    assert asked(run, openai_block("m")).outcome is Outcome.CONTENT_FILTERED


def test_a_parameter_that_the_server_refuses_is_dropped_once_and_told(server, openai_block, run):
    def handler(call):
        if "temperature" in call.body:
            return status(
                400,
                "Unsupported value: 'temperature' does not support 0",
                param="temperature",
                code="unsupported_value",
            )
        return reply("good")

    server.on("m", handler)

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m", temperature=0))
            return [await chat.ask([user(f"{i}")]) for i in range(3)]

    assert [got.dropped for got in run(job)] == [("temperature",)] * 3
    assert server.calls["m"] == 4


def test_the_other_name_of_max_tokens_is_found_out(server, openai_block, run):
    def handler(call):
        if "max_tokens" in call.body:
            return status(
                400,
                "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                param="max_tokens",
            )
        return reply(str(call.body["max_completion_tokens"]))

    server.on("m", handler)
    got = asked(run, openai_block("m", max_tokens=77))
    assert (got.text, got.dropped) == ("77", ())


def test_a_server_without_a_system_role_gets_it_in_the_first_message(server, openai_block, run):
    def handler(call):
        roles = [m["role"] for m in call.body["messages"]]
        return reply("|".join(roles)) if "system" not in roles else status(400, "System role not supported")

    server.on("m", handler)
    got = asked(run, openai_block("m"), [system("Be brief."), user("a"), user("b")])
    assert got.text == "user"
    assert server.seen[-1].body["messages"][0]["content"] == "Be brief.\n\na\n\nb"


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
