"""The list of commits, and units that travel as bytes."""

from __future__ import annotations

import itertools
import uuid

import odd_store
import pytest

from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.remote.commits import CommitList
from medeval.runs.remote.store import Store
from medeval.runs.staging import files_of, forget, receive, staged
from medeval.types import RunError

pytest.importorskip("fsspec", reason="in the remote extra")
UNIT = UnitName("task", "data", "model", "", 0, ("case",))


@pytest.fixture
def store():
    return Store(f"memory://{uuid.uuid4().hex}/run", odd_store.QUICK)


def put(name):
    return (f"{name}.object", 3, name * 3)


def seen(store):
    commits = CommitList(store)
    commits.load()
    return {name: entry.sha256 for name, entry in commits.live().items()}


def test_puts_and_drops_of_a_commit_are_seen_together(store):
    one = CommitList(store, "one")
    one.commit({"a": put("a"), "b": put("b")}, [])
    assert seen(store) == {"a": "aaa", "b": "bbb"}
    garbage = one.commit({"ab": put("c")}, ["a", "b"])
    assert seen(store) == {"ab": "ccc"}
    assert sorted(garbage) == ["a.object", "b.object"]


def test_the_order_in_which_commits_are_read_does_not_matter(store):
    first = CommitList(store, "first")
    first.commit({"a": put("1"), "b": put("1")}, [])
    second = CommitList(store, "second")
    second.load()
    second.commit({"a": put("2")}, ["b"])
    first.commit({"c": put("3")}, [])
    rows = [store.read(f"commits/{name}") for name in store.names("commits")]
    for order in itertools.permutations(rows):
        other = Store(f"memory://{uuid.uuid4().hex}/run", odd_store.QUICK)
        for number, data in enumerate(order):
            other.put(f"commits/{number}.json", data)
        assert seen(other) == {"a": "222", "c": "333"}


def test_a_checkpoint_replaces_what_it_holds_and_nothing_else(store):
    one = CommitList(store, "one")
    for name in "abc":
        one.commit({name: put(name)}, [])
    other = CommitList(store, "other")
    other.commit({"d": put("d")}, [])
    one.checkpoint(keep_drops=True, force=True)
    assert len(store.names("commits")) == 2  # the other's, which the first had not read, stays
    assert set(seen(store)) == {"a", "b", "c", "d"}


def test_a_drop_outlives_a_checkpoint_beside_another_writer(store):
    """Else a commit that the checkpoint's writer had not seen would bring the file back."""
    old = CommitList(store, "old")
    old.commit({"a": put("a")}, [])
    late = store.read("commits/00000001-old.json")
    one = CommitList(store, "one")
    one.load()
    one.commit({}, ["a"])
    one.checkpoint(keep_drops=True, force=True)
    store.put("commits/late.json", late)
    assert seen(store) == {}


def test_many_commits_become_few_by_themselves(store):
    one = CommitList(store, "one")
    for number in range(80):
        one.commit({f"n{number}": put("x")}, [])
        one.checkpoint(keep_drops=False)
    assert len(store.names("commits")) < 20
    assert len(seen(store)) == 80


def test_files_of_a_prepared_artifact_are_of_one_making(store):
    one, other = CommitList(store, "one"), CommitList(store, "other")
    one.commit(
        {"artifacts/x/a": put("1"), "artifacts/x/b": put("1"), "artifacts/predictions/p": put("1")}, []
    )
    other.load()
    other.commit(
        {"artifacts/x/a": put("2"), "artifacts/x/c": put("2"), "artifacts/predictions/q": put("2")}, []
    )
    assert seen(store) == {
        "artifacts/x/a": "222", "artifacts/x/c": "222", "artifacts/predictions/p": "111", "artifacts/predictions/q": "222",
    }  # fmt: skip


def test_a_place_of_a_later_format_is_refused(store, monkeypatch):
    monkeypatch.setattr("medeval.runs.remote.commits.FORMAT", 99)
    CommitList(store, "new").commit({"a": put("a")}, [])
    monkeypatch.setattr("medeval.runs.remote.commits.FORMAT", 1)
    with pytest.raises(RunError, match="newer medeval"):
        CommitList(store).load()


# -- units that travel --------------------------------------------------------------------------------------------


def fill(folder, *names):
    for name in names:
        (folder.path / name).write_bytes(name.encode())


def names(stem=UNIT.stem):
    return [f"{room}/{stem}.parquet" for room in ("predictions", "records", "timings")] + [
        f"journal/{stem}-abc.jsonl"
    ]


def test_a_unit_travels_with_its_journal_and_leaves_nothing(tmp_path):
    home = RunFolder(tmp_path / "home")
    home.create()
    with staged() as scratch:
        fill(scratch, *names(), *names("another-unit"))
        files = files_of(scratch, UNIT)
        assert sorted(files) == sorted(names())
        receive(home, files, UNIT)
        forget(scratch, UNIT)
        assert files_of(scratch, UNIT) == {}
        assert (scratch.path / names("another-unit")[0]).exists()
    assert not scratch.path.exists()
    assert files_of(home, UNIT) == files


def test_records_are_written_last(tmp_path, monkeypatch):
    home = RunFolder(tmp_path / "home")
    home.create()
    order = []
    monkeypatch.setattr("medeval.runs.staging.writing", _noting(order))
    receive(home, dict.fromkeys(sorted(names(), reverse=True), b"x"))
    assert [path.parent.name for path in order] == ["journal", "predictions", "timings", "records"]


def _noting(order):
    from medeval.runs.files import writing

    return lambda path: (order.append(path), writing(path))[1]


def test_a_journal_that_the_worker_discarded_goes(tmp_path):
    home = RunFolder(tmp_path / "home")
    home.create()
    fill(home, names()[3], "journal/another-unit-abc.jsonl")
    receive(home, {names()[0]: b"x"}, UNIT)
    assert [path.name for path in (home.path / "journal").iterdir()] == ["another-unit-abc.jsonl"]


@pytest.mark.parametrize(
    "name", ["manifest.json", "../x", "records/../../x", "records/.tmp-x", "llm/cache.sqlite"]
)
def test_nothing_else_is_received(tmp_path, name):
    home = RunFolder(tmp_path)
    home.create()
    with pytest.raises(RunError, match="no file of a unit"):
        receive(home, {name: b"x"})
