"""A killed run of questions goes on where it stopped: no reply is asked for twice but those in flight, and the bytes are the same."""

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml

CLIENT = """
import os, signal

def says(request):
    with open("calls", "a") as file:
        file.write(f"{request.messages[-1].text.splitlines()[0]} {request.sample}\\n")
    if os.environ.get("KILL_AT") and sum(1 for _ in open("calls")) == int(os.environ["KILL_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return "Answer: B"
"""


@pytest.mark.slow
def test_a_killed_run_asks_nothing_twice_and_ends_in_the_same_bytes(tmp_path):
    (tmp_path / "client.py").write_text(CLIENT)
    rows = [{"question": f"Number {n}?", "options": ["a", "b"], "answer": "AB"[n % 2]} for n in range(20)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    suite = {
        "name": "killed",
        "datasets": {"q": {"format": "questions", "file": "q.jsonl"}},
        "models": {"m": {"client": "scripted", "function": "client.py:says"}},
        "tasks": [{"task": "question-answering", "samples": 2}],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))

    def run(out, **more):
        command = [sys.executable, "-m", "medeval.cli", "run", "suite.yaml", "-o", out, "-q", "--no-report"]
        return subprocess.run(command, cwd=tmp_path, env={**os.environ, **more}, check=False).returncode

    assert run("run", KILL_AT="25") == -signal.SIGKILL
    assert run("run") == 0
    assert 40 <= len((tmp_path / "calls").read_text().splitlines()) <= 42
    assert run("unbroken") == 0
    for part in (tmp_path / "unbroken" / "records").iterdir():
        assert part.read_bytes() == (tmp_path / "run" / "records" / part.name).read_bytes()
    assert (tmp_path / "run" / "summary.json").read_bytes() == (
        tmp_path / "unbroken" / "summary.json"
    ).read_bytes()
