"""What a new user gets wrong: exit code 2 and one message, never a traceback."""

from __future__ import annotations

import os
import subprocess

import pytest

MODELS = "models: {mine: {adapter: 'model.py:Model'}}\n"
TASKS = "tasks: [{task: prompted-segmentation}]\n"
DATA = "datasets: {brain: {format: mni152}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("datasets: !!python/object/apply:os.system ['touch owned']\n" + MODELS + TASKS, "!!python"),
        (DATA + "models:\n  a: {adapter: empty}\n  a: {adapter: oracle}\n" + TASKS, "models.a"),
        (DATA + DATA + MODELS + TASKS, "datasets"),
        (DATA + "models: {a: {adapter: rondom-walker}}\n" + TASKS, "did you mean 'random-walker'"),
        (DATA + MODELS + "tasks: [{task: prompted-segmentation, prompts: [5 cliks]}]\n", "5 cliks"),
        (DATA + MODELS + "tasks: [{task: prompted-segmentation, by: [organ]}]\n", "no case has 'organ'"),
        ("datasets: {d: {format: nnunet, root: nowhere}}\n" + MODELS + TASKS, "nowhere"),
        ("datasets: [\n", "suite.yaml:"),
        ("", "empty"),
    ],
)
def test_a_suite_that_does_not_hold_is_told(small, text, told):
    (small.folder / "suite.yaml").write_text(text)
    done = small.cli("run", "suite.yaml", "-o", "run")
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (small.folder / "owned").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "suite.yaml", "--shard", "5/4"], "K/N"),
        (["run", "suite.yaml", "--set", "models.mine.tolerence=3"], "tolerence"),
        (["run", "suite.yaml", "-o", "a-file"], "cannot be written"),
        (["run", "suite.yaml", "-o", "/proc/nowhere"], "cannot be written"),
        (["show", "a-folder"], "not a run folder"),
        (["score", "a-folder"], "not a run folder"),
        (["merge", "merged", "a-folder"], "not a run folder"),
        (["evaluate", "nowhere", "data"], "nowhere: no such folder"),
        (["evaluate", "data/images", "a-folder"], "no label maps"),
        (["init", "nnunet", "data"], "dataset.json"),
        (["init", "skimage", "data"], "has no folder"),
        (["list", "nothing"], "no list of 'nothing'"),
        (["run", "suite.yaml", "--set", "require=5"], "require: expected a list, got 5"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_told(small, words, told):
    small.suite()
    (small.folder / "a-file").write_text("")
    (small.folder / "a-folder").mkdir()
    done = small.cli(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def full_disk(small):
    """A file system of 400 kB; skipped where none can be mounted."""
    place = small.folder / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_keeps_what_was_finished(small, full_disk):
    small.suite(datasets={"pics": small.pictures(cases=40)})
    done = small.cli("run", "suite.yaml", "-o", "disk/run", "--no-report")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the disk is full. What was finished is kept" in done.stderr
    assert "Traceback" not in done.stderr
    finished = len(list((full_disk / "run" / "records").glob("[!.]*.parquet")))
    assert finished > 3
    subprocess.run(["mount", "-o", "remount,size=20m", str(full_disk)], check=True)
    calls = len(small.calls())
    assert small.cli("run", "suite.yaml", "-o", "disk/run", "--no-report", "-q").returncode == 0
    assert len(small.calls()) - calls <= 1 + 5 * (40 - finished)
    small.run(out="fresh")
    assert small.parts("disk/run") == small.parts("fresh")
