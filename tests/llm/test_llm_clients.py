"""Scripted, replayed and human clients, and what they have in common with all others."""

import io
import json

import pytest
import yaml
from mock_server import reply

from medeval.llm import (
    ChatClient,
    ChatRequest,
    Finish,
    Harness,
    Kind,
    Outcome,
    Reply,
    assistant,
    model_of,
    open_model,
    system,
    user,
)
from medeval.llm.clients.human import HumanClient
from medeval.llm.clients.replay import ReplayClient
from medeval.llm.clients.scripted import ScriptedClient
from medeval.llm.errors import (
    BadCall,
    EndpointDown,
    EndpointRefuses,
    ModelRaised,
    NotRecorded,
    TransportError,
)
from medeval.types import UserError

SCRIPTED = "medeval.llm.clients.scripted:ScriptedClient"
SCRIPT = {
    "rules": [
        {"when": "allerg|react", "reply": "Penicillin gave me a rash."},
        {"when": "samples", "reply": ["one", "two"]},
        {"turn": 0, "reply": "Good morning."},
    ],
    "replies": ["never: turn 0 has a rule", "Second."],
    "otherwise": "I do not know.",
}


def ask(run, block, messages, sample=0, folder=None):
    async def job():
        async with Harness({}, folder) as harness:
            return await harness.chat(block).ask(messages, sample=sample)

    return run(job)


@pytest.mark.parametrize("client", [ScriptedClient(otherwise="x"), HumanClient(), ReplayClient("x")])
def test_every_client_keeps_the_protocol(client):
    assert isinstance(client, ChatClient)
    assert json.loads(client.identity.text)["provider"]


@pytest.mark.parametrize(
    ("messages", "sample", "said"),
    [
        ([user("Any ALLERGIES?")], 0, "Penicillin gave me a rash."),
        ([user("hello")], 0, "Good morning."),
        ([user("hello"), assistant("Good morning."), user("and?")], 0, "Second."),
        ([user("a"), assistant("b"), user("c"), assistant("d"), user("e")], 0, "I do not know."),
        ([user("samples"), assistant("b"), user("samples")], 3, "two"),
    ],
)
def test_a_script_answers_by_rule_then_by_turn_then_otherwise(run, tmp_path, messages, sample, said):
    (tmp_path / "script.yaml").write_text(yaml.safe_dump(SCRIPT))
    block = {"client": SCRIPTED, "script": str(tmp_path / "script.yaml")}
    assert ask(run, block, messages, sample).text == said


def test_what_a_script_says_does_not_depend_on_earlier_calls(run):
    block = {"client": SCRIPTED, "replies": ["first", "second"]}

    async def job():
        async with Harness() as harness:
            chat = harness.chat(block)
            return [(await chat.ask([user("hi")])).text for _ in range(3)]

    assert run(job) == ["first"] * 3


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"refusal": "no"}, Outcome.REFUSED),
        ({"text": "half", "finish": "length"}, Outcome.TRUNCATED),
        ({"text": "<think>hm"}, Outcome.UNCLOSED_THOUGHT),
        ({"text": ""}, Outcome.EMPTY),
        ({"tool_calls": [{"name": "t", "arguments": {"a": 1}}]}, Outcome.OK),
        ({"data": {"score": 1}}, Outcome.OK),
    ],
)
def test_a_script_can_end_in_every_way(run, said, outcome):
    assert ask(run, {"client": SCRIPTED, "otherwise": said}, [user("hi")]).outcome is outcome


def test_a_scripted_error_passes_after_its_times(run):
    block = {
        "client": SCRIPTED,
        "limits": {"backoff": 0.0},
        "otherwise": {"error": "rate_limited", "times": 2, "text": "good"},
    }
    got = ask(run, block, [user("hi")])
    assert (got.text, got.attempts) == ("good", 3)
    with pytest.raises(EndpointDown):
        ask(run, {**block, "otherwise": {"error": "server"}}, [user("hi")])


def test_a_script_without_a_reply_says_so(run):
    with pytest.raises(BadCall, match="no reply to 'hi'"):
        ask(run, {"client": SCRIPTED, "rules": [{"when": "x", "reply": "y"}]}, [user("hi")])


def by_length(request):
    if request.messages[-1].text == "raise":
        raise ZeroDivisionError("oops")
    return f"{len(request.messages)} messages"


def test_a_function_can_be_the_script(run):
    block = {"client": SCRIPTED, "function": f"{__file__}:by_length"}
    assert ask(run, block, [system("x"), user("y")]).text == "2 messages"
    with pytest.raises(ModelRaised, match="ZeroDivisionError: oops"):
        ask(run, block, [user("raise")])


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ({"rules": [{"when": "(", "reply": "x"}]}, "no regular expression"),
        ({"rules": [{"wen": "a", "reply": "x"}]}, "unknown option 'wen'; did you mean 'when'"),
        ({"rules": [{"when": "a"}]}, "missing option 'reply'"),
    ],
)
def test_a_wrong_script_names_file_and_key(tmp_path, script, told):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(script))
    with pytest.raises(UserError) as error:
        ScriptedClient(script=tmp_path / "s.yaml")
    assert told in str(error.value)
    assert "s.yaml" in str(error.value)


def test_a_script_is_one_thing():
    with pytest.raises(UserError, match="one of"):
        ScriptedClient()
    with pytest.raises(UserError, match="one of"):
        ScriptedClient(replies=["x"], function="a:b")


def test_another_script_is_another_identity():
    assert ScriptedClient(otherwise="a").identity.text != ScriptedClient(otherwise="b").identity.text


# -- replay -----------------------------------------------------------------------------------------------------


REPLAY = "medeval.llm.clients.replay:ReplayClient"


def dialogue(run, block, folder):
    async def job():
        async with Harness({}, folder) as harness:
            chat, messages = harness.chat(block), [user("hi")]
            for turn in range(3):
                got = await chat.ask(messages)
                messages += [got.message(), user(f"and {turn}?")]
            return [m.text for m in messages]

    return run(job)


def test_a_recorded_run_comes_back_the_same_and_calls_nobody(run, server, openai_block, tmp_path):
    server.on("m", lambda call: reply(f"<think>hm</think>reply {call.number} 😀\0"))
    first = dialogue(run, openai_block("m"), tmp_path / "llm")
    again = dialogue(run, {"client": REPLAY, "recording": str(tmp_path)}, tmp_path / "second")
    assert again == first
    assert server.calls["m"] == 3


def test_a_call_that_was_not_recorded_is_an_error(run, server, openai_block, tmp_path):
    dialogue(run, openai_block("m"), tmp_path)
    with pytest.raises(NotRecorded, match="no reply to 'new'") as failure:
        ask(run, {"client": REPLAY, "recording": str(tmp_path)}, [user("new")])
    assert failure.value.stops_run


def test_a_recording_of_two_models_needs_a_name(run, openai_block, tmp_path):
    for model in ("a", "b"):
        ask(run, openai_block(model), [user("hi")], folder=tmp_path)
    block = {"client": REPLAY, "recording": str(tmp_path)}
    with pytest.raises(NotRecorded, match="replies of a, b; name one"):
        ask(run, block, [user("hi")])
    assert ask(run, {**block, "model": "b"}, [user("hi")]).text == "reply 1 of b"


def test_a_missing_recording_is_told(run, tmp_path):
    with pytest.raises(EndpointRefuses, match="no such file"):
        ask(run, {"client": REPLAY, "recording": str(tmp_path / "none")}, [user("hi")])


# -- human ------------------------------------------------------------------------------------------------------


def human(run, typed, messages):
    client = HumanClient("Dr A")
    client.input, client.output = io.StringIO(typed), io.StringIO()
    got = ask(run, model_of(client), messages)
    return got, client.output.getvalue()


def test_a_person_sees_what_is_new_and_types_until_an_empty_line(run):
    messages = [system("rules"), user("old"), assistant("mine"), user("new \x1b[31m")]
    got, shown = human(run, "\nline one\nline two\n\nnot this\n", messages)
    assert got.text == "line one\nline two"
    assert got.finish is Finish.STOP
    assert "[user] new \\u001b[31m" in shown
    assert "old" not in shown


def test_the_end_of_the_input_ends_the_dialogue(run):
    with pytest.raises(BadCall, match="has ended"):
        human(run, "", [user("hi")])
    assert human(run, "last words", [user("hi")])[0].text == "last words"


# -- an object of one's own -------------------------------------------------------------------------------------


class Mine(ScriptedClient):
    """A client written by a user: one method."""

    def __init__(self) -> None:
        super().__init__(otherwise="x")

    async def complete(self, request: ChatRequest) -> Reply:
        if request.messages[-1].text == "down":
            raise TransportError(Kind.SERVER, "down")
        return Reply(text="mine")


def test_a_client_of_ones_own_has_the_whole_harness(run):
    assert ask(run, model_of(Mine(), temperature=0.5), [user("hi")]).text == "mine"
    assert ask(run, {"client": f"{__file__}:Mine"}, [user("hi")]).text == "mine"
    assert open_model({"client": f"{__file__}:Mine", "seed": 1}).keys.sampling.seed == 1
