"""Replies that are whole and yet odd, and requests that a server takes only in another form."""

import pytest
from asking import asked
from mock_server import completion, http, reply, status

from medeval.llm import Harness, Outcome, system, user

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
