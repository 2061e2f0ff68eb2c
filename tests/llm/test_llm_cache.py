"""The cache: modes, several processes, broken files, equal calls at once."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from mock_server import reply, status

from medeval.llm import Harness, HarnessSettings, user
from medeval.llm.disk import Disk, Kept
from medeval.llm.errors import EndpointDown, NotRecorded
from medeval.llm.replies import Reply
from medeval.types import RunError, UserError


def calls(run, block, folder, mode="read-write", texts=("hi",), **settings):
    async def job():
        async with Harness(HarnessSettings(cache=mode, **settings), folder) as harness:
            chat = harness.chat(block)
            return [await chat.ask([user(text)]) for text in texts]

    return run(job)


@pytest.fixture
def counting(server, openai_block):
    server.on("m", lambda call: reply(f"answer {call.number}"))
    return openai_block("m")


@pytest.mark.parametrize(
    ("modes", "texts"),
    [
        (["read-write", "read-write"], ["answer 0", "answer 0"]),
        (["off", "off"], ["answer 0", "answer 1"]),
        (["read", "read"], ["answer 0", "answer 1"]),
        (["read-write", "read"], ["answer 0", "answer 0"]),
        (["read-write", "write", "read"], ["answer 0", "answer 1", "answer 1"]),
        (["write", "replay"], ["answer 0", "answer 0"]),
    ],
)
def test_each_mode_reads_and_writes_what_it_says(run, counting, tmp_path, modes, texts):
    assert [calls(run, counting, tmp_path, mode)[0].text for mode in modes] == texts


def test_replay_sends_nothing_and_says_what_is_missing(run, server, counting, tmp_path):
    calls(run, counting, tmp_path)
    with pytest.raises(NotRecorded, match="not in the cache"):
        calls(run, counting, tmp_path, "replay", ["something else"])
    assert server.calls["m"] == 1


def test_replay_without_a_file_is_the_users_mistake(run, counting, tmp_path):
    with pytest.raises(UserError, match="is not there"):
        calls(run, counting, tmp_path, "replay")


def test_another_namespace_asks_anew(run, server, counting, tmp_path):
    calls(run, counting, tmp_path)
    calls(run, counting, tmp_path, namespace="second look")
    assert server.calls["m"] == 2


def test_samples_do_not_collapse_and_a_seed_moves_with_them(run, server, openai_block, tmp_path):
    server.on("m", lambda call: reply(f"answer {call.number}"))

    async def job():
        async with Harness({}, tmp_path) as harness:
            chat = harness.chat(openai_block("m", seed=5))
            return [(await chat.ask([user("hi")], sample=i % 3)).text for i in range(6)]

    assert run(job) == ["answer 0", "answer 1", "answer 2"] * 2
    assert [call.body["seed"] for call in server.seen] == [5, 6, 7]


def test_failures_are_not_kept(run, server, openai_block, tmp_path):
    server.on("m", lambda call: status(500) if call.number < 2 else reply("good"))
    block = openai_block("m", limits={"attempts": 2})
    with pytest.raises(EndpointDown):
        calls(run, block, tmp_path)
    assert calls(run, block, tmp_path)[0].text == "good"


def test_equal_calls_at_once_are_one_call(run, server, openai_block, tmp_path):
    server.on("m", lambda call: reply(f"answer {call.number}", delay=0.1))

    async def job():
        async with Harness({}, tmp_path) as harness:
            chat = harness.chat(openai_block("m"))
            first = asyncio.create_task(chat.ask([user("hi")]))
            await asyncio.sleep(0.02)
            others = [asyncio.create_task(chat.ask([user("hi")])) for _ in range(3)]
            await asyncio.sleep(0.02)
            first.cancel()  # the one that asks is given up: another takes over
            return [(await other).text for other in others]

    assert len(set(run(job))) == 1
    assert server.calls["m"] <= 2


def test_a_broken_entry_is_a_miss_with_a_warning(run, server, counting, tmp_path, caplog):
    calls(run, counting, tmp_path)
    with sqlite3.connect(tmp_path / "cache.sqlite") as base:
        base.execute("UPDATE calls SET reply = ?", (b"rubbish",))
    assert calls(run, counting, tmp_path)[0].text == "answer 1"
    assert "cannot be read" in caplog.text


def test_a_file_that_is_no_cache_is_told(run, counting, tmp_path):
    (tmp_path / "cache.sqlite").write_text("not a database " * 100)
    with pytest.raises(UserError, match="cannot be used"):
        calls(run, counting, tmp_path)


def test_a_cache_that_cannot_be_written_ends_the_call_and_nobody_waits_for_ever(
    run, counting, tmp_path, monkeypatch
):
    def full(self, kept):
        list(kept)
        raise RunError("the chat cache cannot be written: database or disk is full")

    monkeypatch.setattr(Disk, "keep", full)
    with pytest.raises(RunError, match="disk is full"):
        calls(run, counting, tmp_path)


def test_several_processes_share_one_cache(tmp_path):
    path = tmp_path / "cache.sqlite"
    script = Path(__file__).with_name("cache_writer.py")
    writers = [subprocess.Popen([sys.executable, script, path, str(start)]) for start in (0, 50, 100)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    disk = Disk(path, None)
    assert [disk.find(f"key {i}") for i in (0, 120, 199)] == [Reply(text=f"reply {i}") for i in (0, 120, 199)]
    assert disk.find("key 200") is None


def test_the_first_of_two_replies_to_one_key_stays(tmp_path):
    disk = Disk(tmp_path / "cache.sqlite", None)
    disk.keep([Kept("k", "i", "{}", lambda: '{"text": "first"}')])
    disk.keep([Kept("k", "i", "{}", lambda: '{"text": "second"}')])
    assert disk.find("k").text == "first"
    disk.keep([Kept("k", "i", "{}", lambda: '{"text": "third"}', replace=True)])
    assert disk.find("k").text == "third"


def test_every_exchange_is_logged_with_the_servers_own_words(run, counting, tmp_path):
    calls(run, counting, tmp_path, texts=["one 😀", "two\0"])
    lines = [
        json.loads(line) for line in (tmp_path / "exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [line["request"]["messages"][0]["content"] for line in lines] == ["one 😀", "two\0"]
    assert lines[0]["reply"]["raw"]["choices"][0]["message"]["content"] == "answer 0"


def test_a_log_line_that_a_kill_has_torn_spoils_only_itself(run, counting, tmp_path):
    (tmp_path / "calls.jsonl").write_text('{"paid":true,"role":"doctor","tokens":10}\n{"paid":tr')
    calls(run, counting, tmp_path)
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert json.loads(lines[2])["tokens"] == 25


def test_the_cache_holds_plain_json_only(run, counting, tmp_path):
    calls(run, counting, tmp_path)
    with sqlite3.connect(tmp_path / "cache.sqlite") as base:
        (row,) = base.execute("SELECT request, reply FROM calls")
    assert [type(json.loads(zlib.decompress(blob))) for blob in row] == [dict, dict]
