"""A place that cannot be trusted: cut uploads, lost accesses, listings that lag, damaged objects, other writers."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import odd_store
import pytest
from remote_world import URL, Elsewhere

import medeval
from medeval.api import RunOptions, Shard
from medeval.types import RunError

pytest.importorskip("fsspec", reason="in the remote extra")
CASES = 6


@pytest.fixture
def odd(small, monkeypatch):
    """Runs of this process lie on the file system that misbehaves."""
    odd_store.register()
    small.suite(datasets={"pics": small.pictures(cases=CASES)})
    world = Elsewhere(small)
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    return world


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """From now on this machine."""
    return lambda name: monkeypatch.setenv("MEDEVAL_CACHE", str(tmp_path / name))


def run(odd, **options):
    return medeval.run(odd.small.folder / "suite.yaml", URL, options=RunOptions(report=False, **options))


def damage(folder: Path, how):
    """Spoils one object of the folder."""
    path = sorted(folder.iterdir())[1]
    how(path)


@pytest.mark.parametrize("every", [3, 7])
def test_accesses_that_fail_now_and_then_are_tried_again(odd, machine, monkeypatch, every):
    expected = odd.expected()
    monkeypatch.setenv("ODD_FAIL_EVERY", str(every))
    run(odd)
    machine("two")
    run(odd)
    monkeypatch.delenv("ODD_FAIL_EVERY")
    assert odd.summary() == expected
    assert odd.calls() == odd.needed


def test_a_listing_that_lags_costs_work_and_changes_nothing(odd, machine, monkeypatch):
    expected = odd.expected()
    run(odd)
    monkeypatch.setenv("ODD_LAG", "60")
    machine("two")
    run(odd)  # it sees no commit of the first
    assert odd.calls() == 2 * odd.needed
    assert odd.summary() == expected
    monkeypatch.delenv("ODD_LAG")
    machine("three")
    done = run(odd)  # now all are seen
    assert odd.calls() == 2 * odd.needed
    assert odd.summary() == expected
    assert len(done.records()) == len(medeval.Run.open("plain").records())


@pytest.mark.parametrize(
    "how",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes()[::-1]),
        lambda path: path.unlink(),
    ],
    ids=["cut", "same size, other bytes", "gone"],
)
def test_a_records_object_that_is_not_what_was_committed_is_made_again(odd, machine, how):
    expected = odd.expected()
    run(odd)
    damage(odd.place / "records", how)
    machine("two")
    with pytest.raises(
        RunError, match=r"records/.* is not there as it was committed; give the run's command again"
    ):
        medeval.Run.open(URL).records()
    run(odd)
    assert odd.calls() == odd.needed  # scored again from the kept predictions
    assert odd.summary() == expected
    machine("three")
    assert len(medeval.Run.open(URL).records()) == len(medeval.Run.open("plain").records())


def test_what_is_lost_and_no_longer_asked_for_is_dropped(odd, machine):
    odd.small.suite(models={"mine": odd.small.model(), "more": odd.small.model(tolerance=60.0)})
    run(odd)
    for path in (odd.place / "records").glob("*-more-*"):
        path.unlink()
    machine("two")
    odd.small.suite()
    run(odd)
    machine("three")
    assert set(medeval.Run.open(URL).records()["model"]) == {"mine"}


def test_a_cut_commit_counts_as_none(odd, machine):
    expected = odd.expected()
    run(odd)
    for commit in (odd.place / "commits").iterdir():
        commit.write_bytes(commit.read_bytes()[:-80])
    machine("two")
    with pytest.raises(RunError, match="not a run"):
        medeval.Run.open(URL)
    run(odd)
    assert odd.summary() == expected


def test_without_a_network_the_work_is_kept_and_published_later(odd, machine, monkeypatch):
    expected = odd.expected()
    down = odd.small.folder / "down"
    monkeypatch.setenv("ODD_DOWN", str(down))
    odd.small.suite(datasets={"pics": odd.small.pictures(cases=CASES)}, models={"mine": odd.small.model()})
    model = odd.small.folder / "model.py"
    text = model.read_text()
    model.write_text(text.replace('called(f"encode', f'open({str(down)!r}, "w"); called(f"encode'))
    with pytest.raises(RunError, match=r"no route to host") as told:
        run(odd)
    assert "kept in " + str(odd.small.folder / "one" / "runs") in str(told.value)
    assert "the same command on this machine publishes it" in str(told.value)
    asked = odd.calls()
    assert asked == odd.needed
    down.unlink()
    run(odd)
    assert odd.calls() == asked
    machine("two")
    seen = medeval.Run.open(URL)
    assert len(seen.records()) == len(medeval.Run.open("plain").records())
    assert seen.summary()["scores"] == json.loads(expected)["scores"]


def test_a_place_that_cannot_be_reached_is_told_before_any_work(odd, monkeypatch):
    down = odd.small.folder / "down"
    down.touch()
    monkeypatch.setenv("ODD_DOWN", str(down))
    with pytest.raises(RunError, match=r"odd://bucket/run: .*no route to host"):
        run(odd)
    assert odd.small.calls() == []


def test_secrets_stand_in_no_message(odd, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted/0123456789")

    def leak(self):
        raise PermissionError("signature of planted/0123456789 does not match")

    monkeypatch.setattr(odd_store.OddStore, "_fails", leak)
    with pytest.raises(RunError, match="PermissionError") as told:
        run(odd)
    assert "planted" not in str(told.value)


def test_nothing_of_the_environment_is_published(odd, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted/0123456789")
    run(odd)
    files = [path for path in odd.root.rglob("*") if path.is_file()]
    assert files
    assert not any(b"planted" in path.read_bytes() for path in files)


def test_a_working_copy_that_lost_files_drops_nothing_in_the_place(odd):
    """A cleaner of temporary folders is no user who removes parts."""
    expected = odd.expected()
    done = run(odd)
    for path in [*sorted((done.path / "records").iterdir())[:2], *(done.path / "predictions").iterdir()]:
        path.unlink()
    run(odd)
    assert odd.calls() == odd.needed
    assert odd.summary() == expected
    assert len(list((odd.place / "predictions").iterdir())) == CASES


def test_an_older_copy_gives_way_to_what_another_machine_has_published(odd, machine):
    run(odd)
    machine("two")
    odd.small.suite(models={"mine": odd.small.model(), "more": odd.small.model(tolerance=60.0)})
    expected = run(odd).summary()
    asked = len(odd.small.calls())
    machine("one")
    assert run(odd).summary() == expected
    assert len(odd.small.calls()) == asked
    shutil.rmtree(odd.small.folder / "one")
    assert run(odd).summary() == expected
    assert len(odd.small.calls()) == asked


@pytest.mark.slow
def test_two_shards_are_written_into_one_place_at_the_same_time(odd, machine):
    expected = odd.expected()
    both = [
        odd.start("run", "suite.yaml", "-o", URL, "-q", "--shard", f"{n}/2", machine=f"shard {n}")
        for n in (1, 2)
    ]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert odd.calls() == odd.needed
    machine("three")
    with pytest.raises(
        RunError, match="only shards of one; the same `medeval run` without --shard sums them up"
    ):
        medeval.Run.open(URL)
    run(odd)
    assert odd.calls() == odd.needed
    assert odd.summary() == expected


def test_a_shard_goes_on_where_it_was_elsewhere(odd, machine):
    run(odd, shard=Shard(1, 2))
    asked = odd.calls()
    machine("two")
    run(odd, shard=Shard(1, 2))
    assert odd.calls() == asked


def hold(odd, role="whole", **changes):
    """Somebody's lock; gives a function that shows a sign of life."""
    path = odd.place / "locks" / f"{role}.json"
    path.parent.mkdir(parents=True, exist_ok=True)

    def beat():
        now = time.time()
        about = {
            "token": "t",
            "copy": "c",
            "host": "node7",
            "pid": 12,
            "user": "ann",
            "since": now,
            "beat": now,
        }
        path.write_text(json.dumps({**about, **changes}))

    beat()
    return beat


def test_a_place_that_somebody_writes_is_refused_by_name(odd, monkeypatch):
    beat = hold(odd)
    waited = time.sleep
    monkeypatch.setattr("medeval.runs.remote.lease.time.sleep", lambda seconds: (waited(seconds), beat()))
    with pytest.raises(RunError, match=r"being written by ann on node7 \(process 12, since .*\)"):
        run(odd)
    assert odd.small.calls() == []


@pytest.mark.parametrize(
    "changes", [{}, {"beat": 0.0}, {"beat": time.time() + 1e6}], ids=["new", "old", "clock ahead"]
)
def test_a_lock_without_a_sign_of_life_is_taken_over_with_a_note(odd, capsys, changes):
    hold(odd, **changes)
    done = odd.cli("run", "suite.yaml", "-o", URL, "--no-report")
    assert done.returncode == 0, done.stderr
    assert "taken over from ann on node7" in done.stderr
    assert not list((odd.place / "locks").iterdir())


@pytest.mark.parametrize(("role", "refused"), [("shard-2-of-2", False), ("shard-1-of-2", True), ("shard-1-of-3", True), ("whole", True)])  # fmt: skip
def test_which_writers_go_side_by_side(odd, monkeypatch, role, refused):
    beat = hold(odd, role)
    waited = time.sleep
    monkeypatch.setattr("medeval.runs.remote.lease.time.sleep", lambda seconds: (waited(seconds), beat()))
    if refused:
        with pytest.raises(RunError, match="being written by ann"):
            run(odd, shard=Shard(1, 2))
    else:
        run(odd, shard=Shard(1, 2))


def test_a_run_that_was_taken_over_stops_and_keeps_its_work(odd):
    model = odd.small.folder / "model.py"
    lock = odd.place / "locks" / "whole.json"
    other = json.dumps({"token": "other", "host": "node8", "user": "bob", "pid": 3, "since": 0.0})
    model.write_text(
        model.read_text().replace(
            'called(f"encode', f'open({str(lock)!r}, "w").write({other!r}); time.sleep(0.4); called(f"encode'
        )
    )
    with pytest.raises(RunError, match="taken over by bob on node8"):
        run(odd)
    assert json.loads(lock.read_text())["token"] == "other"  # and is left to them
