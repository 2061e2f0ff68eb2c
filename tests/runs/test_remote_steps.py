"""What was paid for is not lost with a machine: steps of open dialogues, chat replies, prepared artifacts."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from remote_world import URL, Elsewhere

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
import chat_suite
from test_other_tasks import TURNS, numbers, suite

pytest.importorskip("fsspec", reason="in the remote extra")
DIALOGUES = 24


@pytest.fixture
def elsewhere(small):
    return Elsewhere(small)


def killed_after(elsewhere, calls, machine):
    """A run that is killed when its model was asked so often."""
    process = elsewhere.start("run", "suite.yaml", "-o", URL, "-q", "--no-report", machine=machine)
    while len(elsewhere.small.calls()) < calls and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_steps_of_open_dialogues_go_on_here_and_elsewhere(elsewhere):
    suite(elsewhere.small, "Interview", "Talker", count=DIALOGUES, options={"seconds": 0.5})
    expected = elsewhere.expected()
    whole = DIALOGUES * TURNS
    killed_after(elsewhere, whole // 2 + 4, machine="one")
    asked = len(elsewhere.small.calls())
    killed_after(elsewhere, whole * 3 // 4 + 4, machine="one")
    here = len(elsewhere.small.calls())
    done = elsewhere.run(machine="two")
    assert done.returncode == 0, done.stderr
    assert elsewhere.summary() == expected
    again = len(elsewhere.small.calls()) - whole
    # A turn of each open dialogue a kill, and what the last moment had not published.
    assert again <= 3 * DIALOGUES
    assert asked < here < len(elsewhere.small.calls()) < 2 * whole


@pytest.mark.slow
def test_a_prepared_artifact_comes_along_and_is_not_made_again(elsewhere):
    small = elsewhere.small
    suite(small, "Adapted", "Screener", datasets={"source": numbers(small, "source")}, source="source")
    expected = elsewhere.expected()
    assert elsewhere.run(machine="one").returncode == 0
    made = small.calls()
    again = elsewhere.run(machine="two")
    assert again.returncode == 0, again.stderr
    assert small.calls() == made
    assert elsewhere.summary() == expected
    target = sorted(path for path in (elsewhere.place / "artifacts").rglob("*") if path.is_file())[0]
    target.write_bytes(b"{")  # not what was committed: made again whole
    for room in ("records", "predictions"):
        for path in (elsewhere.place / room).iterdir():
            path.unlink()
    mended = elsewhere.run(machine="three")
    assert mended.returncode == 0, mended.stderr
    assert elsewhere.summary() == expected


def test_ctrl_c_publishes_what_was_finished(elsewhere):
    suite(elsewhere.small, "Interview", "Talker", count=DIALOGUES, options={"seconds": 0.3})
    process = elsewhere.start("run", "suite.yaml", "-o", URL, "-q", "--no-report")
    while len(elsewhere.small.calls()) < DIALOGUES + 4 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"what was finished is kept in {URL}" in err
    kept = "".join(path.read_text() for path in (elsewhere.place / "journal").iterdir()).splitlines()
    assert len(list(map(json.loads, kept))) >= DIALOGUES  # each turn that was answered
    assert not list((elsewhere.place / "locks").iterdir())


@pytest.mark.slow
def test_replies_that_were_paid_for_come_along_to_another_machine(elsewhere):
    pytest.importorskip("openai", reason="the SDK is in the llm extra")
    small = elsewhere.small
    with chat_suite.MockServer() as server:
        small.run(chat_suite.suite(small, server), out="plain")
        expected = (small.folder / "plain" / "summary.json").read_bytes()
        needed = sum(server.calls.values())
        server.calls.clear()
        chat_suite.suite(small, server, llm={"budget": {"calls": needed // 2}})
        stopped = elsewhere.run(machine="one")
        assert stopped.returncode == 3, stopped.stderr
        assert f"kept in {URL}" in stopped.stderr
        chat_suite.suite(small, server)
        done = elsewhere.run(machine="two")
        assert done.returncode == 0, done.stderr
        assert sum(server.calls.values()) == needed
        assert elsewhere.summary() == expected
        assert elsewhere.run(machine="three").returncode == 0
        assert sum(server.calls.values()) == needed
