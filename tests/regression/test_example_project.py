"""examples/regression as a user runs it: worse masks fail, other noise passes, a slower predict fails the comparison."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "regression"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The example in a folder of its own, with a baseline of its own and its speed saved."""
    folder = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("example") / "project")
    stored = pytest_in(folder, "--medeval-update", "--benchmark-autosave")
    assert stored.returncode == 0, stored.stdout
    return folder


def pytest_in(folder, *words, **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *words]
    # as from a shell: a worker of xdist, which this test may be, measures no speed
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command, cwd=folder, env={**outside, **environment}, text=True, capture_output=True, timeout=120, check=False
    )  # fmt: skip


def test_other_noise_passes(project):
    done = pytest_in(project, "-k", "quality", NOISE_SEED="7")
    assert done.returncode == 0, done.stdout


def test_eroded_masks_fail_and_the_comparison_is_written(project):
    done = pytest_in(project, "-k", "quality", "--medeval-markdown", "told.md", ERODE="1")
    assert done.returncode == 1
    assert "worse than the baseline" in done.stdout
    told = (project / "told.md").read_text(encoding="utf-8")
    assert told.startswith("### medeval: 1 worse than the baseline")
    assert "❌" in told


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_no_seed_of_the_noise_fails(project, seed):
    done = pytest_in(project, "-k", "quality", NOISE_SEED=str(seed))
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_workers_of_xdist_write_one_report(project):
    pytest.importorskip("xdist")
    done = pytest_in(project, "-k", "quality", "-n", "2", "--medeval-markdown", "told-by-two.md")
    assert done.returncode == 0, done.stdout + done.stderr
    told = (project / "told-by-two.md").read_text(encoding="utf-8")
    assert told.startswith("### medeval: nothing is worse than the baseline")
    assert "✅" in told


def test_the_workflow_runs_what_pytest_knows(project):
    jobs = yaml.safe_load((EXAMPLE / "github-actions.yml").read_text())["jobs"]
    commands = [
        step["run"] for job in jobs.values() for step in job["steps"] if "pytest" in step.get("run", "")
    ]
    known = pytest_in(project, "--help").stdout
    options = {
        word.partition("=")[0] for command in commands for word in command.split() if word.startswith("--")
    }
    assert options >= {"--medeval-markdown", "--benchmark-compare-fail", "--benchmark-save"}
    assert [option for option in options if option not in known] == []


@pytest.mark.slow
def test_a_predict_of_twice_the_time_fails_the_comparison_of_speed(project):
    compare = ("-k", "speed", "--benchmark-compare", "--benchmark-compare-fail=median:50%")
    same = pytest_in(project, *compare)
    assert same.returncode == 0, same.stdout + same.stderr
    slow = pytest_in(project, *compare, SLOWER="2")
    assert slow.returncode != 0
    assert "Performance has regressed" in slow.stdout + slow.stderr


@pytest.mark.slow
def test_a_missing_baseline_says_how_to_store_one(project):
    shutil.rmtree(project / "baselines")
    done = pytest_in(project, "-k", "quality")
    assert done.returncode == 1
    assert "store one with `pytest --medeval-update`" in done.stdout


@pytest.mark.slow
def test_what_the_example_ships_passes_as_it_is():
    done = pytest_in(EXAMPLE, "-k", "quality")
    assert done.returncode == 0, done.stdout
