"""kill -9 in the middle of dialogues: nothing that was complete is paid for twice."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mock_server import reply

SCRIPT = Path(__file__).parent / "killed_dialogues.py"
DIALOGUES, TURNS, KILLS = 6, 5, 4


def answer(call):
    """A reply that depends on the conversation alone, after 30 ms."""
    return reply(hashlib.sha256(json.dumps(call.body["messages"]).encode()).hexdigest()[:8], delay=0.03)


def start(folder, server, keeps):
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), server.url, keeps])


def wait_for_calls(server, process, number):
    until = time.monotonic() + 60
    while server.calls["m"] < number and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)


@pytest.mark.parametrize("keeps", ["journal", "cache"])
def test_a_killed_run_continues_at_the_turn_it_had_reached(server, tmp_path, keeps):
    pytest.importorskip("openai", reason="the SDK is in the llm extra")
    server.on("m", answer)
    unbroken = start(tmp_path / "unbroken", server, keeps)
    assert unbroken.wait(60) == 0
    assert server.calls["m"] == DIALOGUES * TURNS
    server.calls.clear()

    folder = tmp_path / "killed"
    for kill in range(KILLS):
        process = start(folder, server, keeps)
        wait_for_calls(server, process, 5 * (kill + 1))
        process.kill()
        process.wait(60)
    last = start(folder, server, keeps)
    assert last.wait(60) == 0

    assert (folder / "told.json").read_text() == (tmp_path / "unbroken" / "told.json").read_text()
    assert DIALOGUES * TURNS <= server.calls["m"] <= DIALOGUES * TURNS + KILLS * DIALOGUES
