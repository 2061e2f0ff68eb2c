"""Nothing is lost on a crash, nothing computed twice, and the bytes are those of an unbroken run."""

from __future__ import annotations

import signal

import pytest

KILLED_AT = (41, 37, 45, 33, 49, 39, 43, 35, 47, 31)
CASES = 100
A_UNIT = 5  # calls: encode, box, three clicks
IN_FLIGHT = 3  # one is predicted, two wait to be written


def plant_damage(small, out):
    """A torn records part, a torn predictions part, stray temporary files and a stray folder."""
    folder = small.folder / out
    for kind in ("records", "predictions"):
        whole = sorted((folder / kind).glob("[!.]*.parquet"))
        whole[0].write_bytes(whole[0].read_bytes()[: whole[0].stat().st_size // 2])
        (folder / kind / f".tmp-1-abc-{whole[0].name}").write_bytes(b"PAR1 torn")
    (folder / ".tmp-1-abc-summary.json").write_text("{")
    (folder / "artifacts" / ".tmp-abc-made").mkdir()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_killed_ten_times_and_continued_equals_the_unbroken_run(small, workers):
    small.suite(datasets={"pics": small.pictures(cases=CASES)})
    assert small.cli("run", "suite.yaml", "-o", "unbroken", "-q").returncode == 0
    unbroken = len([call for call in small.calls() if call != "build"])
    (small.folder / "calls.txt").unlink()

    command = ("run", "suite.yaml", "-o", "killed", "-q", "--no-report", "--workers", workers)
    for kill_at in KILLED_AT:
        done = (
            small.cli(*command, KILL_AT=str(kill_at))
            if workers == "1"
            else killed_parent(small, command, kill_at)
        )
        assert done.returncode == -signal.SIGKILL
    plant_damage(small, "killed")
    assert small.cli(*command).returncode == 0

    assert small.parts("killed") == small.parts("unbroken")
    assert not list((small.folder / "killed").rglob(".tmp-*"))
    calls = len([call for call in small.calls() if call != "build"])
    torn = 1  # the unit whose records and predictions are both torn, at most
    in_flight = IN_FLIGHT * int(workers)
    assert calls <= unbroken + A_UNIT * (in_flight * len(KILLED_AT) + torn)
    assert unbroken + A_UNIT * (IN_FLIGHT * len(KILLED_AT) + torn) < unbroken + sum(
        KILLED_AT
    )  # starting over


def killed_parent(small, command, kill_at):
    """The parent of worker processes, killed when they have made so many calls."""
    import os
    import subprocess
    import time

    before = len(small.calls())
    process = subprocess.Popen(
        small.command(*command),
        cwd=small.folder,
        env=small.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    while len(small.calls()) < before + kill_at and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return process


def test_steps_of_another_model_are_not_replayed(small):
    """A journal left by a killed unit belongs to the model, protocol and case content that it was made under."""
    from medeval.runs.folder import RunFolder, UnitName

    unit = UnitName("task", "data", "model", "", 0, ("case",))
    folder = RunFolder(small.folder)
    assert folder.journal(unit, ["one"]) != folder.journal(unit, ["other"])


def test_a_part_that_was_torn_is_made_again_from_the_kept_predictions(small):
    small.suite()
    small.run()
    before, calls = small.parts(), len(small.calls())
    part = sorted((small.folder / "run" / "records").glob("*.parquet"))[2]
    part.write_bytes(part.read_bytes()[:100])
    small.run()
    assert small.parts() == before
    assert len(small.calls()) == calls  # not even the model was built again
