"""What goes over the wire to OpenAI-compatible servers, in all forms."""

import pytest
from mock_server import delta, reply, stream

from medeval.llm import Finish, Harness, Picture, Tool, user
from medeval.llm.messages import Message


def ask(run, block, messages=None, **more):
    async def job():
        async with Harness() as harness:
            return await harness.chat(block).ask(messages or [user("hi")], **more)

    return run(job)


def test_only_what_is_set_is_sent(server, openai_block, run):
    ask(run, openai_block("m"))
    assert server.seen[0].body == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_all_that_is_set_is_sent(server, openai_block, run):
    block = openai_block(
        "m", temperature=0.5, top_p=0.9, max_tokens=7, seed=3, stop=["END"], extra_body={"top_k": 4},
        template_args={"enable_thinking": False},
    )  # fmt: skip
    ask(run, block)
    body = {k: v for k, v in server.seen[0].body.items() if k not in ("model", "messages")}
    assert body == {
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3, "stop": ["END"], "top_k": 4,
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip


def test_pictures_are_sent_as_data(server, openai_block, run):
    ask(run, openai_block("m"), [user("what is this?", Picture(b"x", "image/jpeg", "low"))])
    assert server.seen[0].body["messages"][0]["content"][1] == {
        "type": "image_url", "image_url": {"url": "data:image/jpeg;base64,eA==", "detail": "low"},
    }  # fmt: skip


TOOL = Tool("order_test", "Order a test.", {"type": "object", "properties": {"name": {"type": "string"}}})
CALL = {"id": "c1", "type": "function", "function": {"name": "order_test", "arguments": '{"name": "ECG"}'}}


def test_a_tool_is_called_and_its_result_sent_back(server, openai_block, run):
    server.on(
        "m", lambda call: reply(None, "tool_calls", tool_calls=[CALL]) if call.number == 0 else reply("sinus")
    )
    first = ask(run, openai_block("m"), tools=[TOOL], tool_choice="order_test")
    assert (first.finish, first.tool_calls[0].name, first.tool_calls[0].arguments) == (
        Finish.TOOL_CALLS,
        "order_test",
        '{"name": "ECG"}',
    )
    result = Message("tool", "sinus rhythm", tool_call_id="c1")
    assert ask(run, openai_block("m"), [user("hi"), first.message(), result], tools=[TOOL]).text == "sinus"
    sent = server.seen[1].body["messages"]
    assert sent[1]["tool_calls"] == [CALL]
    assert sent[2] == {"role": "tool", "content": "sinus rhythm", "tool_call_id": "c1"}


def test_a_stream_gives_the_same_reply(server, openai_block, run):
    parts = [{"index": 0, "id": "c1", "function": {"name": "order_test", "arguments": '{"na'}},
             {"index": 0, "function": {"arguments": 'me": "ECG"}'}}]  # fmt: skip
    chunks = [
        delta("", reasoning_content="h"), delta(None, reasoning_content="m"), delta("good"),
        *(delta(None, tool_calls=[part]) for part in parts), delta(None, "tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}},
    ]  # fmt: skip
    server.on("m", lambda call: stream(chunks))
    got = ask(run, openai_block("m", stream=True))
    assert (got.text, got.thinking, got.tool_calls[0].arguments) == ("good", "hm", '{"name": "ECG"}')
    assert (got.usage.input, got.usage.cached, got.finish, got.model) == (
        3,
        1,
        Finish.TOOL_CALLS,
        "mock-2026-01-01",
    )
    assert server.seen[0].body["stream_options"] == {"include_usage": True}


def test_the_azure_form_asks_the_deployment(server, openai_block, run, monkeypatch):
    monkeypatch.setenv("AZURE_KEY", "azure-key-0123456789")
    block = openai_block(
        "my-deployment",
        azure_endpoint=server.url.removesuffix("/v1"),
        api_version="2024-10-21",
        api_key_env="AZURE_KEY",
    )
    del block["base_url"]
    assert ask(run, block).text
    call = server.seen[0]
    assert call.headers["api-key"] == "azure-key-0123456789"
    assert (
        call.headers[":path"] == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    )


def test_headers_come_from_the_environment(server, openai_block, run, monkeypatch):
    monkeypatch.setenv("GATEWAY", "gateway-secret-0123")
    ask(run, openai_block("m", headers_env={"X-Gateway": "GATEWAY"}))
    assert server.seen[0].headers["x-gateway"] == "gateway-secret-0123"


def test_the_sdks_own_environment_does_not_change_where_we_ask(server, openai_block, run, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-this-server-0123")
    ask(run, openai_block("m"))
    assert server.seen[0].headers["authorization"] == "Bearer EMPTY"


@pytest.mark.parametrize("role", ["judge", "doctor"])
def test_each_role_has_its_own_block(server, openai_block, run, role):
    async def job():
        async with Harness() as harness:
            for name in ("judge", "doctor"):
                await harness.chat(openai_block(f"m-{name}", temperature=0.1), role=name).ask([user("hi")])

    run(job)
    (call,) = [call for call in server.seen if call.model == f"m-{role}"]
    assert call.body["temperature"] == 0.1
