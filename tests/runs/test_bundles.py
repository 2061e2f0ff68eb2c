"""Parts bundled at the end of a run: nothing is lost, nothing is asked twice, whatever happens in between."""

from __future__ import annotations

import pandas as pd
import pytest

import medeval
from medeval.decisions.verify import verify
from medeval.engine.merge import merge
from medeval.engine.plan import Shard
from medeval.runs import compact
from medeval.runs.bundles import ENDING
from medeval.runs.parts import write_part
from medeval.runs.place import open_folder
from medeval.types import RunError

ROOMS = ("records", "predictions", "timings")


@pytest.fixture
def bundling(monkeypatch):
    """Bundle whatever a run leaves, three units a bundle, two or three rows a row group."""
    monkeypatch.setattr(compact, "LOOSE", 0)
    monkeypatch.setattr(compact, "BUNDLE_UNITS", 3)
    monkeypatch.setattr(compact, "GROUP_ROWS", 2)
    return monkeypatch


def seen(folder):
    """All that can be read of a run: records, timings, predictions, the scores."""
    run = medeval.Run.open(folder)
    outputs = [(stem, out.case_id, out.key, out.value.mask.sum()) for stem, out in run.predictions()]
    return run.records(), len(run.timings()), outputs, run.summary()


def same(first, second):
    """True when two runs tell the same, their clocks apart."""
    pd.testing.assert_frame_equal(first[0], second[0])
    assert first[1:] == second[1:]


def forms(folder, room="records"):
    """(parts of their own, bundles) in a room."""
    names = [path.name for path in (folder / room).glob("[!.]*.parquet")]
    return sum(not name.endswith(ENDING) for name in names), sum(name.endswith(ENDING) for name in names)


def test_a_bundled_run_reads_and_verifies_as_the_loose_one(small, bundling):
    small.suite()
    bundling.setattr(compact, "LOOSE", 512)
    small.run(out="loose")
    bundling.setattr(compact, "LOOSE", 0)
    small.run(out="bundled")
    count = forms(small.folder / "loose")[0]
    for room in ROOMS:
        assert forms(small.folder / "loose", room) == (count, 0)
        assert forms(small.folder / "bundled", room) == (0, -(-count // 3))
    same(seen(small.folder / "loose"), seen(small.folder / "bundled"))
    assert (small.folder / "loose" / "summary.json").read_bytes() == (
        small.folder / "bundled" / "summary.json"
    ).read_bytes()
    assert verify(medeval.Run.open(small.folder / "bundled")).good


def test_nothing_is_bundled_below_the_limit_nor_is_a_large_part(small, bundling):
    bundling.setattr(compact, "LOOSE", 512)
    small.run(small.suite())
    assert forms(small.folder / "run")[1] == 0
    bundling.setattr(compact, "LOOSE", 0)
    bundling.setattr(compact, "SMALL_BYTES", 10)
    small.run(small.suite())
    assert forms(small.folder / "run")[1] == 0


def test_a_bundled_run_goes_on_without_asking_again(small, bundling):
    small.suite()
    small.run()
    asked, before = len(small.calls()), seen(small.folder / "run")
    small.run()
    assert len(small.calls()) == asked
    same(before, seen(small.folder / "run"))


def test_a_bundled_run_grows(small, bundling):
    small.suite(datasets={"pics": small.pictures(cases=4)})
    small.run()
    small.suite(datasets={"pics": small.pictures(cases=7)})
    small.run()
    small.run(out="at once")
    pd.testing.assert_frame_equal(seen(small.folder / "run")[0], seen(small.folder / "at once")[0])
    assert len(small.work()) == 7


def test_a_bundled_run_is_scored_again_from_its_bundled_predictions(small, bundling):
    small.suite()
    small.run()
    asked = len(small.calls())
    bundles = {path.name for path in (small.folder / "run" / "records").iterdir()}
    small.suite(tasks=[small.task(metrics=["dice", "hd95"])])
    run = small.run()
    assert len(small.calls()) == asked
    assert {work for work, *_ in small.work(since=0)} == {"predict", "score"}
    assert run.records()["hd95"].notna().any()
    assert not bundles & {path.name for path in (small.folder / "run" / "records").iterdir()}


class Killed(BaseException):
    """A kill, as far as the files are concerned."""


@pytest.mark.parametrize("at", range(1, 12))
def test_killed_at_any_step_of_bundling_the_run_is_whole(small, bundling, at):
    """Each renaming and each removal is a step; before any of them the process may die."""
    small.suite()
    bundling.setattr(compact, "LOOSE", 512)
    small.run(out="loose")
    expected = seen(small.folder / "loose")
    folder = open_folder(small.folder / "loose")
    cells = _cells(folder)
    steps = iter(range(1, 1000))

    def dying(action):
        def act(*args, **kwargs):
            if next(steps) == at:
                raise Killed
            return action(*args, **kwargs)

        return act

    with bundling.context() as patch:
        patch.setattr(compact, "writing", dying(compact.writing))
        patch.setattr(type(folder), "drop", dying(type(folder).drop))
        with pytest.raises(Killed):
            compact.compact(folder, cells, 0)
    same(expected, seen(small.folder / "loose"))
    asked = len(small.calls())
    bundling.setattr(compact, "LOOSE", 0)
    small.run(out="loose")
    same(expected, seen(small.folder / "loose"))
    assert len(small.calls()) == asked
    assert forms(small.folder / "loose")[0] == 0


def _cells(folder):
    """The units of each cell, as a plan would list them."""
    from medeval.engine.plan import Plan

    return [planned.units for planned in Plan(medeval.Run(folder).suite()).cells]


def test_a_unit_that_was_done_again_counts_before_the_bundle_that_held_it(small, bundling):
    small.suite()
    before = len(small.run().records())
    folder = open_folder(small.folder / "run")
    unit = _cells(folder)[0][0]
    place = folder.units.place("records", unit)
    newer = folder.units.table("records", place).to_pylist()
    schema = folder.units.table("records", place).schema
    write_part(
        folder.part("records", unit), [{**row, "notes": "newer"} for row in newer], schema, {"cases": {}}
    )
    frame = medeval.Run.open(folder.path).records()
    assert (frame["notes"] == "newer").sum() == len(newer)
    assert len(frame) == before
    folder.units.refresh()
    compact.compact(folder, _cells(folder), 0)
    assert forms(folder.path)[0] == 0
    assert (medeval.Run.open(folder.path).records()["notes"] == "newer").sum() == len(newer)
    assert folder.unit_meta(unit) == {"cases": {}}


def test_removed_units_are_nowhere(small, bundling):
    small.suite()
    small.run()
    folder = open_folder(small.folder / "run")
    units = _cells(folder)[0]
    gone, kept = [unit.stem for unit in units[::2]], [unit.stem for unit in units[1::2]]
    compact.remove(folder, gone)
    for room in ROOMS:
        assert list(folder.units.places(room)) == sorted(kept)


def test_bundled_shards_merge_to_the_bundled_run_also_twice_and_after_growth(small, bundling):
    small.suite(datasets={"pics": small.pictures(cases=7)})
    whole = small.run(out="whole")
    shards = [small.folder / f"shard{k}" for k in (1, 2)]
    for k, shard in enumerate(shards, start=1):
        small.run(out=shard.name, shard=Shard(k, 2))
    for _ in range(2):
        merged = merge(small.folder / "merged", shards)
        pd.testing.assert_frame_equal(merged.records(), whole.records())
        assert merged.summary() == whole.summary()
        assert forms(merged.path)[0] == 0


def test_a_torn_bundle_is_named_and_scored_again_from_the_kept_predictions(small, bundling):
    small.suite()
    small.run()
    asked, before = len(small.calls()), seen(small.folder / "run")
    path = next((small.folder / "run" / "records").glob(f"*{ENDING}"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=path.name):
        medeval.Run.open(small.folder / "run").records()
    assert not verify(medeval.Run.open(small.folder / "run")).good
    small.run()
    assert len(small.calls()) == asked
    same(before, seen(small.folder / "run"))
    assert verify(medeval.Run.open(small.folder / "run")).good
