"""Encoding ahead in child processes, and when one of them is killed or dies of it."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest
from ahead_world import entry

from medeval.engine.reading import Ahead, Job
from medeval.runs.folder import UnitName


def run(small, out, *words, **environment):
    return small.cli("run", "suite.yaml", "-o", out, "-q", "--no-report", *words, **environment)


def suite(small, **options):
    small.suite(models={"mine": entry(small, **options)}, tasks=[small.task(prompts=["box", "3 clicks"])])


def test_two_workers_give_the_bytes_of_one_that_encodes_nothing_ahead(small):
    suite(small)
    assert run(small, "serial", AHEAD="0").returncode == 0
    assert run(small, "two", "--workers", "2", AHEAD="1").returncode == 0
    assert small.parts("two") == small.parts("serial")


@pytest.mark.parametrize("kill_at", [3, 6, 11])
def test_a_killed_run_goes_on_to_the_same_bytes(small, kill_at):
    suite(small)
    assert run(small, "whole", AHEAD="0").returncode == 0
    assert run(small, "killed", AHEAD="1", KILL_AT=str(kill_at)).returncode == -signal.SIGKILL
    assert run(small, "killed", AHEAD="1").returncode == 0
    assert small.parts("killed") == small.parts("whole")


@pytest.mark.slow
def test_a_worker_that_dies_of_the_next_image_costs_that_image_alone(small):
    suite(small, does="encode dies", at=3)
    assert run(small, "run", "--workers", "2", AHEAD="1").returncode != 0
    from medeval.runs.run import Run

    records = Run.open(small.folder / "run").records()
    assert set(records.query("case == 'p0-c03'")["status"]) == {"infrastructure"}
    assert "twice" in records.query("case == 'p0-c03'")["error"].iloc[0]
    assert set(records.query("case != 'p0-c03'")["status"]) <= {"ok", "carried", "undefined"}


class Reads:
    """Names of the cases that were read."""

    def __call__(self, case_id):
        return case_id


def upcoming(jobs):
    """What is known to come next while the first job's case is asked."""
    with ThreadPoolExecutor(1) as readers:
        ahead = Ahead(iter(jobs), readers, Reads(), 2)
        _, cases = next(iter(ahead))
        next(cases)
        read: Future | None = ahead.upcoming()
        return read and read.result()


def job(number, **changes):
    return replace(Job(UnitName("task", "data", "model", "", 0, (f"case {number}",))), **changes)


@pytest.mark.parametrize(
    ("following", "known"),
    [
        ([job(2)], "case 2"),
        ([], None),
        ([job(2, work="score")], None),  # nothing is asked of the model
        ([job(2, alone=True)], None),  # a worker died at it
    ],
    ids=["a job", "the last", "to be scored again", "to be done alone"],
)
def test_what_comes_next(following, known):
    assert upcoming([job(1), *following]) == known


def test_a_job_that_is_not_there_yet_is_not_waited_for():
    jobs = iter([job(1), job(2)])
    with ThreadPoolExecutor(1) as readers:
        ahead = Ahead(jobs, readers, Reads(), 1, more=lambda: False)
        _, cases = next(iter(ahead))
        next(cases)
        assert ahead.upcoming() is None
    assert next(jobs) == job(2)
