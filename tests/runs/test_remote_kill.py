"""A run that lies elsewhere, cut at every point of publishing and continued on another machine."""

from __future__ import annotations

import random
import signal
import subprocess

import pytest
from remote_world import URL, Elsewhere

pytest.importorskip("fsspec", reason="in the remote extra")

CASES = 8
COMMAND = ("run", "suite.yaml", "-o", URL, "-q", "--no-report")
KILLS = {
    "half of a records part": "records/:2",
    "half of a commit": "commits/:1",
    "half of a later commit": "commits/:2",
    "the manifest's copy for people": "run/manifest.json:1",
    "half of the lock": "locks/:1",
}


@pytest.fixture
def elsewhere(small):
    small.suite(
        datasets={"pics": small.pictures(cases=CASES)},
        models={"mine": small.model(does="slow", at=2)},
    )
    return Elsewhere(small)


@pytest.mark.slow
@pytest.mark.parametrize("where", KILLS.values(), ids=KILLS.keys())
def test_killed_while_publishing_and_continued_on_another_machine(elsewhere, where):
    expected = elsewhere.expected()
    killed = elsewhere.run(machine="one", ODD_KILL_PUT=where)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = elsewhere.run(machine="two")
    assert done.returncode == 0, done.stderr
    assert elsewhere.summary() == expected


@pytest.mark.slow
def test_killed_at_any_moment_on_changing_machines(elsewhere):
    """The same machine finds what it had not published; another one finds what was committed."""
    expected = elsewhere.expected()
    rng = random.Random(0)
    for number in range(8):
        process = elsewhere.start(*COMMAND, machine=rng.choice("ab"), ODD_FAIL_EVERY=str(rng.choice([0, 5])))
        try:
            process.wait(1.5 + 2.5 * rng.random())
        except subprocess.TimeoutExpired:
            process.kill()
        _, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), (number, err)
    done = elsewhere.run(machine="c")
    assert done.returncode == 0, done.stderr
    assert elsewhere.summary() == expected
    assert elsewhere.calls() <= 2 * elsewhere.needed
