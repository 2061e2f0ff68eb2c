"""Many records: what is held of them, and that reading them column by column gives what reading them whole gives."""

from __future__ import annotations

import importlib.util
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import medeval
from medeval.engine.finish import finish
from medeval.engine.plan import Plan
from medeval.runs import columns, compact
from medeval.runs.columns import CaseColumns, RecordColumns
from medeval.runs.place import open_folder

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "perf" / "bench_scale.py"


@pytest.fixture(scope="module")
def world():
    """The benchmark's own records."""
    spec = importlib.util.spec_from_file_location("bench_scale", BENCH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_scale"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def written(world, tmp_path_factory):
    """A run of 2,000 records that lacks its summary."""
    folder = tmp_path_factory.mktemp("scale") / "run"
    world.write_run(folder, 2000, 1, 20)
    return folder


def places(folder):
    return list(open_folder(folder).units.places("records").values())


def cases(folder):
    return CaseColumns(open_folder(folder).cases("many"))


@pytest.fixture
def nothing_kept(monkeypatch):
    monkeypatch.setattr(columns, "WHOLE_BYTES", 0)
    monkeypatch.setattr(columns, "KEPT_BYTES", 0)


@pytest.mark.parametrize("order", [1, -1], ids=["sorted", "reversed"])
def test_columns_read_one_by_one_are_those_of_the_frame(written, nothing_kept, order):
    """The parts may lie in any order; the rows come sorted by key."""
    frame = medeval.Run.open(written).records()
    lazy = RecordColumns(places(written)[::order], cases(written))
    assert len(lazy) == len(frame)
    assert list(lazy.names) == list(frame.columns)
    for name in frame.columns:
        expected = frame[name].to_numpy()
        np.testing.assert_array_equal(pd.isna(lazy.array(name)), pd.isna(expected))
        there = ~pd.isna(expected)
        assert lazy.array(name).dtype == expected.dtype
        assert (lazy.array(name)[there] == expected[there]).all()
        assert (lazy.labels(name).array()[there] == expected[there]).all()
        assert (lazy.labels(name).codes[~there] == -1).all()
    pd.testing.assert_frame_equal(lazy.frame(), frame)


def test_the_same_columns_are_read_from_bundles(written, tmp_path, nothing_kept, monkeypatch):
    import shutil

    shutil.copytree(written, tmp_path / "run")
    monkeypatch.setattr(compact, "GROUP_ROWS", 1500)
    folder = open_folder(tmp_path / "run")
    compact.compact(folder, [p.units for p in Plan(medeval.Run(folder).suite()).cells], 0)
    assert len(folder.parts("records")) == 1
    some = places(folder.path)[:1]
    first, whole = RecordColumns(some, cases(written)), RecordColumns(places(folder.path), cases(written))
    pd.testing.assert_frame_equal(whole.frame(), medeval.Run.open(written).records())
    unit = set(first.labels("case").values)
    np.testing.assert_array_equal(
        first.array("dice"), whole.array("dice")[np.isin(whole.array("case"), list(unit))]
    )


def test_a_column_that_some_parts_lack_is_missing_there(written, tmp_path, nothing_kept):
    import pyarrow.parquet as pq

    found = []
    for number, place in enumerate(places(written)):
        table = pq.read_table(place.path)
        found.append(type(place)(tmp_path / f"{number}.parquet"))
        pq.write_table(table.drop_columns(["hd95"]) if number % 2 else table, found[-1].path)
    lazy = RecordColumns(found, cases(written))
    whole = medeval.Run.open(written).records()
    lacking = pa.concat_tables([pq.read_table(p.path) for p in found[1::2]])["case"].unique().to_pylist()
    expected = whole["hd95"].where(~whole["case"].isin(lacking)).to_numpy()
    np.testing.assert_array_equal(lazy.array("hd95"), expected)


def test_the_summary_does_not_depend_on_what_is_kept_in_memory(world, written, tmp_path, monkeypatch):
    import shutil

    found = []
    for name, size, loose in (("whole", 2**40, 512), ("lazy", 0, 512), ("bundled", 0, 0)):
        shutil.copytree(written, tmp_path / name)
        monkeypatch.setattr(columns, "WHOLE_BYTES", size)
        monkeypatch.setattr(columns, "KEPT_BYTES", size)
        monkeypatch.setattr(compact, "LOOSE", loose)
        finish(Plan(world.make_suite(tmp_path / name, 100, 1)), open_folder(tmp_path / name), report=False)
        found.append((tmp_path / name / "summary.json").read_bytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_memory_of_two_hundred_thousand_records_stays_small(world, tmp_path, monkeypatch):
    """Held at the peak by numpy and Python: below 400 bytes a record, whatever the number of columns."""
    rows = 200_000
    monkeypatch.setattr(columns, "WHOLE_BYTES", 0)
    monkeypatch.setattr(columns, "KEPT_BYTES", 2**23)
    monkeypatch.setattr(compact, "LOOSE", 0)
    world.write_run(tmp_path / "run", rows, 1, 20)
    plan = Plan(world.make_suite(tmp_path / "run", rows // 20, 1))
    tracemalloc.start()
    finish(plan, open_folder(tmp_path / "run"), report=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 * rows
