"""``medeval run --engine ray`` as a user gives it: a cluster of its own, Ctrl-C, ``kill -9``, a node that goes, wrong input."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from medeval.engine.cluster import _room, check_ray
from medeval.engine.options import RunOptions
from medeval.types import UserError

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'medeval-bench[ray]'"
)
RAY = ("run", "suite.yaml", "--no-report", "--engine", "ray", "--workers", "2")


def nodes(*resources):
    return [{"Alive": True, "Resources": r} for r in resources]


@pytest.mark.parametrize(
    ("resources", "gpus", "room"),
    [
        ([{"CPU": 8.0}], 0, 8),
        ([{"CPU": 8.0, "GPU": 2.0}], 1, 2),
        ([{"CPU": 8.0, "GPU": 2.0}], 0.5, 4),
        ([{"CPU": 8.0, "GPU": 2.0}], 0.4, 4),  # two shares of 0.4 fit into one GPU, not a third of both
        ([{"CPU": 3.0, "GPU": 2.0}], 0.25, 3),
        ([{"CPU": 64.0, "GPU": 4.0}, {"CPU": 64.0, "GPU": 3.0}], 2, 3),
        ([{"CPU": 8.0}], 1, 0),
    ],
)
def test_a_cluster_s_room_is_one_worker_a_cpu_and_a_share_of_a_gpu(resources, gpus, room):
    assert _room(nodes(*resources), gpus) == room


def test_a_node_that_is_gone_has_no_room():
    assert _room([{"Alive": False, "Resources": {"CPU": 8.0}}], 0) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"address": "auto"}, "--address and --gpus-per-worker are for --engine ray"),
        ({"gpus_per_worker": 1.0}, "--address and --gpus-per-worker are for --engine ray"),
        (
            {"engine": "ray", "gpus_per_worker": 1.5},
            "--gpus-per-worker 1.5: a share from 0 to 1, or a whole number",
        ),
        ({"engine": "ray", "gpus_per_worker": -1.0}, "--gpus-per-worker -1"),
        ({"engine": "rya"}, "--engine 'rya': did you mean 'ray'?"),
        ({"workers": 0}, "--workers 0: at least 1 is needed"),
    ],
)
def test_options_that_contradict_each_other_are_told(options, told):
    with pytest.raises(UserError) as caught:
        RunOptions(**options)
    assert told in str(caught.value)


def test_without_ray_the_extra_is_named_before_work_starts(small, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "medeval.engine.cluster.find_spec", lambda name: None if name == "ray" else real(name)
    )
    with pytest.raises(UserError, match=r"pip install 'medeval-bench\[ray\]'"):
        check_ray()
    small.suite()
    with pytest.raises(UserError, match="Ray"):
        small.run(engine="ray")
    assert small.calls() == []
    assert not (small.folder / "run").exists()


@needs_ray
def test_a_cluster_that_does_not_answer_is_told_at_once(small):
    small.suite()
    done = small.cli(*RAY, "-o", "run", "--address", "127.0.0.1:9", RAY_ADDRESS="")
    assert done.returncode == 2
    assert "--address 127.0.0.1:9: no Ray cluster can be reached there: " in done.stderr
    assert "Traceback" not in done.stderr
    assert small.calls() == []


@needs_ray
@pytest.mark.slow
def test_a_run_starts_a_cluster_of_its_own_says_nothing_of_it_and_ends_it(small):
    small.suite()
    assert small.cli("run", "suite.yaml", "--no-report", "-o", "local").returncode == 0
    done = small.cli(*RAY, "-o", "ray", "-q", RAY_ADDRESS="")
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert small.parts("ray") == small.parts("local")
    assert not workers_of(small)


def workers_of(small):
    """Processes of Ray's workers, by what their working directory is: an actor takes on the run's."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            if b"ray::Actor" in command and os.readlink(f"/proc/{name}/cwd") == str(small.folder):
                found.append(int(name))
        except OSError:
            continue
    return found


def begun(small, out, records, command=RAY, **more):
    """A run as a process, when so many units of it are finished."""
    process = subprocess.Popen(
        small.command(*command, "-o", out, "-q"), cwd=small.folder, text=True,
        env=small.environment(RAY_ADDRESS="", **more), stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while finished(small, out) < records and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


def finished(small, out):
    return len(list((small.folder / out / "records").glob("[!.]*.parquet")))


@needs_ray
@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_ends_the_workers(small):
    small.suite(models={"mine": small.model(does="hangs", at=4)})
    process = begun(small, "run", 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "what was finished is kept in run. The same command goes on from there." in stderr
    assert "Traceback" not in stderr
    assert finished(small, "run") >= 3
    gone_within(small, 10)


def gone_within(small, seconds):
    deadline = time.monotonic() + seconds
    while workers_of(small) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers_of(small)


@needs_ray
@pytest.mark.slow
def test_a_run_that_is_killed_leaves_no_worker_and_goes_on_to_the_same_bytes(small):
    small.suite(datasets={"pics": small.pictures(cases=30)}, models={"mine": small.model(does="slow", at=20)})
    assert small.cli("run", "suite.yaml", "--no-report", "-o", "unbroken", "-q").returncode == 0
    process = begun(small, "killed", 8)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    gone_within(small, 30)
    kept = finished(small, "killed")
    assert 8 <= kept < 30
    assert small.cli(*RAY, "-o", "killed", "-q", RAY_ADDRESS="").returncode == 0
    assert small.parts("killed") == small.parts("unbroken")


@needs_ray
@pytest.mark.slow
def test_a_node_that_goes_changes_nothing(small):
    """Two nodes of one CPU each; the one that the run itself is not attached to is taken away."""
    from ray.cluster_utils import Cluster

    small.suite(datasets={"pics": small.pictures(cases=12)}, models={"mine": small.model(does="slow", at=3)})
    small.run(out="local")
    memory = 80 * 2**20
    head = {"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        other = cluster.add_node(num_cpus=1, object_store_memory=memory)
        command = (*RAY, "--address", cluster.address)
        process = begun(small, "ray", 2, command)
        cluster.remove_node(other, allow_graceful=False)
        _, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, stderr
    finally:
        cluster.shutdown()
    assert small.parts("ray") == small.parts("local")
    events = [json.loads(line) for line in (small.folder / "ray" / "log.jsonl").read_text().splitlines()]
    assert [event for event in events if event["event"] == "lost"]
