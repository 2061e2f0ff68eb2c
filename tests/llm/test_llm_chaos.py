"""A server that fails: what is tried again, what is given up, and whose failure it is."""

import asyncio
import time

import pytest
from asking import asked, at_first
from mock_server import Answer, delta, http, reply, status, stream

from medeval.llm import Harness, user
from medeval.llm.errors import BadCall, EndpointDown, EndpointRefuses
from medeval.types import Status

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
