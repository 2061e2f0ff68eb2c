"""Objects out of model texts, and the ladder."""

import json
from typing import Literal

import pytest
from mock_server import reply, status
from pydantic import BaseModel, Field

from medeval.llm import Harness, Reply, user
from medeval.llm.errors import BadCall, RefusedReply, TruncatedReply, UnparsableReply
from medeval.llm.structured import form_of
from medeval.types import Status


class Verdict(BaseModel):
    """A judge's verdict."""

    model_config = {"extra": "forbid"}

    evidence: str
    score: Literal[1, 2, 3]
    note: str | None = None


GOOD = {"evidence": "turn 3", "score": 2, "note": None}
TEXT = json.dumps(GOOD)

TEXTS = {
    "whole": (TEXT, True),
    "byte-order mark": ("\ufeff" + TEXT, True),
    "fenced": (f"Here:\n```json\n{TEXT}\n```\nDone.", True),
    "in prose": (f"My verdict is {TEXT}, as asked.", True),
    "the last that validates": (f'The doctor wrote {{"score": 9}} but {TEXT}', True),
    "raw line break": ('{"evidence": "turn\n3", "score": 2}', True),
    "escape that JSON does not know": (r'{"evidence": "it\'s 5\% {", "score": 2}', True),
    "braces in a string": ('{"evidence": "}{", "score": 2}', True),
    "missing default": ('{"evidence": "x", "score": 2}', True),
    "text for a number": ('{"evidence": "x", "score": "2"}', False),
    "out of scale": ('{"evidence": "x", "score": 9}', False),
    "unknown key": ('{"evidence": "x", "score": 2, "bonus": 1}', False),
    "missing key": ('{"score": 2}', False),
    "duplicate key": ('{"evidence": "x", "score": 1, "score": 3}', False),
    "NaN": ('{"evidence": "x", "score": NaN}', False),
    "half": (TEXT[:-12], False),
    "inner object of a half": ('{"items": [' + TEXT + ", ", False),
    "array": (f"[{TEXT}]", True),
    "prose": ("I would give a 2.", False),
    "deep nesting": ("{" * 5000, False),
}  # fmt: skip


@pytest.mark.parametrize(("text", "good"), TEXTS.values(), ids=TEXTS)
def test_an_object_is_found_or_not_and_never_guessed(text, good):
    parsed = form_of(Verdict).parse(Reply(text=text))
    assert (parsed.value is not None) == good
    if good:
        assert parsed.value.score == 2
    else:
        assert parsed.wrong


def test_the_schema_is_strict_and_keeps_the_order_of_fields():
    schema = form_of(Verdict).schema
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["evidence", "score", "note"]
    assert "default" not in json.dumps(schema)


class Nested(BaseModel):
    """With definitions."""

    items: list[Verdict] = Field(min_length=1)


def test_a_nested_schema_is_strict_all_the_way_down():
    assert form_of(Nested).schema["$defs"]["Verdict"]["additionalProperties"] is False


def ask(run, block, form=Verdict, role="judge", folder=None):
    async def job():
        async with Harness({}, folder) as harness:
            return await harness.chat(block, role=role).ask_object([user("rate it")], form)

    return run(job)


def test_the_first_way_is_the_schema(server, openai_block, run):
    server.on("m", lambda call: reply(TEXT))
    got = ask(run, openai_block("m"))
    assert got.value == Verdict(**GOOD)
    assert got.data == GOOD
    asked = server.seen[0].body["response_format"]
    assert asked["json_schema"]["strict"] is True
    assert asked["json_schema"]["name"] == "Verdict"


def test_a_server_without_schemas_is_asked_by_tool_then_and_from_then_on(server, openai_block, run):
    def handler(call):
        if "response_format" in call.body:
            return status(400, "response_format is not supported", param="response_format")
        name = call.body["tool_choice"]["function"]["name"]
        return reply(
            None,
            "tool_calls",
            tool_calls=[{"id": "1", "type": "function", "function": {"name": name, "arguments": TEXT}}],
        )

    server.on("m", handler)

    async def job():
        async with Harness() as harness:
            chat = harness.chat(openai_block("m"), role="judge")
            return [await chat.ask_object([user(f"rate {i}")], Verdict) for i in range(3)]

    assert [got.value.score for got in run(job)] == [2, 2, 2]
    assert server.calls["m"] == 4


def test_a_server_with_neither_is_asked_in_the_prompt(server, openai_block, run):
    def handler(call):
        for name in ("response_format", "tools"):
            if name in call.body:
                return status(400, f"unknown parameter: {name}", param=name)
        assert "JSON schema" in call.body["messages"][-1]["content"]
        return reply(f"```json\n{TEXT}\n```")

    server.on("m", handler)
    assert ask(run, openai_block("m")).value.score == 2
    assert server.calls["m"] == 4  # schema, tool, json, text


def test_a_wrong_object_gets_one_repair_request_that_shows_what_was_wrong(server, openai_block, run):
    server.on("m", lambda call: reply('{"score": 7}' if call.number == 0 else TEXT))
    assert ask(run, openai_block("m")).value.score == 2
    repair = server.seen[1].body["messages"]
    assert [m["role"] for m in repair] == ["user", "assistant", "user"]
    assert "evidence: Field required" in repair[-1]["content"]


def test_after_the_repair_comes_a_recorded_error_with_all_that_was_said(server, openai_block, run):
    server.on("m", lambda call: reply(f"never {call.number}"))
    with pytest.raises(UnparsableReply) as failure:
        ask(run, openai_block("m"), role="doctor")
    assert failure.value.status is Status.UNPARSABLE
    assert failure.value.raw == ("never 0", "never 1")
    assert server.calls["m"] == 2


def test_a_judges_failure_is_never_the_doctors(server, openai_block, run):
    server.on("m", lambda call: reply("never"))
    with pytest.raises(UnparsableReply) as failure:
        ask(run, openai_block("m"), role="judge")
    assert failure.value.status is Status.EVALUATOR_FAILED


def test_half_a_json_is_asked_again_with_more_tokens_once(server, openai_block, run):
    server.on("m", lambda call: reply(TEXT[:-12], "length") if call.number == 0 else reply(TEXT))
    assert ask(run, openai_block("m", max_tokens=10)).value.score == 2
    assert [call.body["max_tokens"] for call in server.seen] == [10, 20]


def test_half_a_json_at_the_servers_own_limit_is_a_cut(server, openai_block, run):
    server.on("m", lambda call: reply(TEXT[:-12], "length"))
    with pytest.raises(TruncatedReply):
        ask(run, openai_block("m"))


def test_a_refusal_is_not_asked_again(server, openai_block, run):
    server.on("m", lambda call: reply(None, refusal="I cannot rate this."))
    with pytest.raises(RefusedReply, match="I cannot rate"):
        ask(run, openai_block("m"), role="doctor")
    assert server.calls["m"] == 1


def test_a_server_that_refuses_every_way_is_told(server, openai_block, run):
    server.on("m", lambda call: status(400, "tools and response_format are not supported", param="tools"))
    with pytest.raises(BadCall):
        ask(run, openai_block("m"))


def test_the_repaired_reply_comes_from_the_cache_the_second_time(server, openai_block, run, tmp_path):
    server.on("m", lambda call: reply("no") if call.number == 0 else reply(TEXT))
    first = ask(run, openai_block("m"), folder=tmp_path)
    again = ask(run, openai_block("m"), folder=tmp_path)
    assert server.calls["m"] == 2
    assert again.cached
    assert again.value == first.value
