"""Messages, keys, replies: data in and out."""

import pytest

from medeval.llm import (
    ChatRequest,
    Finish,
    Message,
    Outcome,
    Picture,
    Reply,
    Sampling,
    Tool,
    Usage,
    to_messages,
    user,
)
from medeval.llm.errors import EmptyReply, RefusedReply, TruncatedReply
from medeval.llm.messages import ToolCall
from medeval.llm.requests import ObjectForm
from medeval.types import DataError, Status

BASE = ChatRequest((user("hi"),), Sampling(temperature=0.0))


def test_the_key_of_a_request_stays_what_it_is():
    """Golden values: a change here empties everyone's cache, so raise ``requests.PROTOCOL`` when it must change."""
    assert BASE.canonical == (
        '{"messages":[{"content":"hi","role":"user"}],"protocol":1,"sample":0,"sampling":{"temperature":0.0}}'
    )
    assert BASE.key('{"model":"m"}') == "aea7c2cc6817a956362e25893b11f872a9841c386565eab78b7c26d23028c6b9"


DIFFERENT = {
    "message": ChatRequest((user("ho"),), Sampling(temperature=0.0)),
    "role": ChatRequest((Message("system", "hi"),), Sampling(temperature=0.0)),
    "picture": ChatRequest((user("hi", Picture(b"x")),), Sampling(temperature=0.0)),
    "other picture": ChatRequest((user("hi", Picture(b"y")),), Sampling(temperature=0.0)),
    "temperature": ChatRequest((user("hi"),), Sampling(temperature=0.5)),
    "unset": ChatRequest((user("hi"),)),
    "seed": ChatRequest((user("hi"),), Sampling(temperature=0.0, seed=1)),
    "extra": ChatRequest((user("hi"),), Sampling(temperature=0.0, extra_body={"top_k": 5})),
    "template": ChatRequest(
        (user("hi"),), Sampling(temperature=0.0, template_args={"enable_thinking": False})
    ),
    "sample": ChatRequest((user("hi"),), Sampling(temperature=0.0), sample=1),
    "attempt": ChatRequest((user("hi"),), Sampling(temperature=0.0), attempt=1),
    "namespace": ChatRequest((user("hi"),), Sampling(temperature=0.0), namespace="n"),
    "tool": ChatRequest((user("hi"),), Sampling(temperature=0.0), tools=(Tool("t", "", {}),)),
    "form": ChatRequest((user("hi"),), Sampling(temperature=0.0), object_form=ObjectForm("F", {})),
}


def test_everything_that_determines_a_reply_is_in_the_key():
    keys = [BASE.key("i"), BASE.key("j"), *(request.key("i") for request in DIFFERENT.values())]
    assert len(set(keys)) == len(keys)


def test_numbers_of_one_value_have_one_key():
    assert ChatRequest((user("hi"),), Sampling(temperature=0)).key("i") == BASE.key("i")


@pytest.mark.parametrize(
    ("given", "sent"),
    [("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "😀"), ("nul\0 שלום 😀", "nul\0 שלום 😀")],
    ids=["lone surrogate", "surrogate pair", "NUL, RTL, emoji"],
)
def test_texts_are_sent_as_they_are_but_for_lone_surrogates(given, sent):
    assert user(given).content == sent
    assert ChatRequest((user(given),)).key("i")


@pytest.mark.parametrize(
    "wrong", [{"role": "doctor", "content": "x"}, {"role": "user"}, {"role": "user", "content": 3}]
)
def test_what_is_no_message_is_told_with_its_position(wrong):
    with pytest.raises(DataError, match="message 1: expected"):
        to_messages([{"role": "user", "content": "x"}, wrong])


def test_a_picture_goes_over_the_wire_and_its_hash_into_the_key():
    message = user("what is this?", Picture(b"bytes", "image/png"))
    assert message.wire["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert Picture(b"bytes").sha256 in message.canonical
    assert "base64" not in message.canonical


@pytest.mark.parametrize(
    ("reply", "outcome", "error", "status"),
    [
        (Reply(text="x"), Outcome.OK, None, None),
        (Reply(text="half", finish=Finish.LENGTH), Outcome.TRUNCATED, TruncatedReply, Status.UNPARSABLE),
        (Reply(thinking="hm", unclosed=True), Outcome.UNCLOSED_THOUGHT, TruncatedReply, Status.UNPARSABLE),
        (Reply(refusal="no"), Outcome.REFUSED, RefusedReply, Status.REFUSED),
        (Reply(text="so", finish=Finish.CONTENT_FILTER), Outcome.CONTENT_FILTERED, RefusedReply, Status.REFUSED),
        (Reply(text=" \n"), Outcome.EMPTY, EmptyReply, Status.UNPARSABLE),
        (Reply(tool_calls=(ToolCall("1", "t", "{}"),)), Outcome.OK, None, None),
    ],
)  # fmt: skip
def test_each_way_of_not_answering_is_a_status_of_its_own(reply, outcome, error, status):
    assert reply.outcome is outcome
    if error is None:
        assert reply.require() is reply
    else:
        with pytest.raises(error) as failure:
            reply.require()
        assert failure.value.status is status


def test_a_reply_survives_being_written_down():
    reply = Reply(
        text="a\0😀", finish=Finish.LENGTH, usage=Usage(3, 4, 1, 2, True), thinking="hm", tool_calls=(ToolCall("1", "t", "{}"),),
        data={"a": 1}, model="m", latency=0.5, attempts=2, cost=0.1, dropped=("seed",), trimmed=2, key="k",
    )  # fmt: skip
    assert Reply.from_plain(reply.to_plain()) == reply


def test_the_thinking_never_enters_the_history():
    assert "secret" not in str(Reply(text="said", thinking="secret").message().wire)
