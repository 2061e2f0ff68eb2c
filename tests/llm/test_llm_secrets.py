"""Keys stay out of every text."""

import base64
import json
import logging
import os
import pickle
from urllib.parse import quote

import pytest
from mock_server import reply, status

from medeval.llm import Harness, HarnessSettings, open_model, secrets, user, validate_block
from medeval.llm.errors import CallFailure
from medeval.plugins import OptionsError
from medeval.types import UserError

KEY = 'sk-planted/Key+with=odd"chars-0123456789'


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setattr(secrets, "_forms", {})
    monkeypatch.setattr(secrets, "_pattern", None)
    return secrets.from_environment("PLANTED_KEY")


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        quote(KEY, safe=""),
        json.dumps(KEY)[1:-1],
        base64.b64encode(f"user:{KEY}".encode()).decode(),
        base64.b64encode(KEY.encode()).decode(),
        f"{KEY[:8]}*****{KEY[-4:]}",
        f"{KEY[:8]}...",
    ],
    ids=["plain", "url", "json", "basic auth", "base64", "stars", "dots"],
)
def test_every_form_of_a_key_is_taken_out(form):
    told = secrets.redact(f"error: provided {form} is wrong")
    assert KEY not in told
    assert form not in told
    assert "[redacted]" in told
    assert told.startswith("error: provided ")


def test_texts_without_a_key_stay_as_they_are():
    text = "sk-plan is not the key, base64 cGxhbg== neither"
    assert secrets.redact(text) == text


def test_a_short_key_is_taken_out_only_where_it_stands_alone(monkeypatch):
    secrets.remember("abc12")
    assert secrets.redact("key abc12, not xabc12x") == "key [redacted], not xabc12x"


def test_placeholders_of_local_servers_are_no_secrets():
    secrets.remember("EMPTY")
    assert secrets.redact("EMPTY stomach") == "EMPTY stomach"


def test_a_secret_shows_nothing_and_is_not_pickled(planted):
    assert KEY not in f"{planted!r} {planted} {[planted]}"
    with pytest.raises(TypeError, match="does not leave"):
        pickle.dumps(planted)


def test_a_missing_key_names_the_variable(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UserError, match="NO_SUCH_KEY is not set"):
        secrets.from_environment("NO_SUCH_KEY")


@pytest.mark.parametrize(("text", "told"), [("", "nothing"), ("a\nb", "more lines")])
def test_a_key_file_must_hold_one_key(tmp_path, text, told):
    (tmp_path / "key").write_text(text)
    with pytest.raises(UserError, match=told):
        secrets.from_file(tmp_path / "key")


def test_a_key_file_that_others_can_read_is_warned_of(tmp_path, caplog):
    (tmp_path / "key").write_text("sk-file-key-123456\n")
    os.chmod(tmp_path / "key", 0o644)
    assert secrets.from_file(tmp_path / "key").reveal() == "sk-file-key-123456"
    assert "chmod 600" in caplog.text
    assert "sk-file" not in caplog.text


OPENAI = "medeval.llm.clients.openai:OpenAIClient"


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"api_key": KEY}, "keys never stand in a suite"),
        ({"api_key_env": KEY}, "environment variable"),
        ({"base_url": f"https://user:{quote(KEY)}@host/v1"}, "holds credentials"),
        ({"base_url": f"https://host/v1?key={quote(KEY)}"}, "holds credentials"),
        ({"headers_env": {"X-Key": KEY}}, "environment variable"),
    ],
    ids=["api_key", "key as variable", "user info", "query", "header"],
)
def test_a_key_in_the_block_is_refused_and_not_repeated(block, told):
    with pytest.raises(OptionsError) as refused:
        validate_block({"client": OPENAI, "model": "m", **block})
    assert told in str(refused.value)
    assert "planted" not in str(refused.value)


def everything_written(folder):
    import sqlite3
    import zlib

    texts = []
    for path in folder.rglob("*"):
        if path.is_file():
            texts.append(path.read_bytes().decode("utf-8", "replace"))
    with sqlite3.connect(folder / "cache.sqlite") as base:
        for row in base.execute("SELECT key, identity, request, reply FROM calls"):
            texts += [str(row[0]), str(row[1]), *(zlib.decompress(blob).decode() for blob in row[2:])]
    return "\n".join(texts)


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_the_server_echoes_reaches_no_reply_log_cache_or_error(
    server, openai_block, run, tmp_path, caplog, stream
):
    caplog.set_level(logging.DEBUG)
    server.on("echo", lambda call: reply(f"you sent {call.headers['authorization']} and {KEY[:8]}***"))
    server.on("wrong", lambda call: status(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"))
    blocks = [openai_block(model, api_key_env="PLANTED_KEY") for model in ("echo", "wrong")]

    async def job():
        async with Harness(HarnessSettings(), tmp_path) as harness:
            said = await harness.chat(blocks[0]).ask([user(f"my key is {KEY}")])
            with pytest.raises(CallFailure) as refused:
                await harness.chat(blocks[1]).ask([user("hello")])
            again = await harness.chat(blocks[0]).ask([user(f"my key is {KEY}")])
            model = open_model(blocks[0])
            return (
                said,
                again,
                refused.value,
                f"{harness.chat(model)!r} {model!r} {model.client!r} {model.block}",
            )

    said, again, refused, shown = run(job)
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert again.cached
    assert said.text == again.text == "you sent Bearer [redacted] and [redacted]"
    told = [
        repr(said),
        str(refused),
        repr(refused),
        str(refused.__cause__),
        shown,
        caplog.text,
        everything_written(tmp_path),
    ]
    assert [text for text in told if KEY in text or KEY[:8] in text] == []
