"""``medeval cache stats`` and ``prune``."""

import sqlite3
import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from medeval.cli import app
from medeval.llm import Harness, user
from medeval.llm.cache_lock import alone
from medeval.llm.clients.base import Capabilities, ClientIdentity
from medeval.llm.replies import Reply, Usage
from medeval.llm.upkeep import DAY, cache_of, held, prune
from medeval.types import UserError


class Parrot:
    """Repeats what it hears."""

    capabilities = Capabilities()

    def __init__(self, model):
        self.identity = ClientIdentity("parrot", model)

    async def complete(self, request):
        return Reply(text=request.messages[-1].text, usage=Usage(3, 2))


@pytest.fixture
def cache(tmp_path, run):
    """Three replies of ``old-1``, kept ten days ago, and two of ``new``."""

    async def ask():
        async with Harness(folder=tmp_path / "run" / "llm") as harness:
            for model, count in (("old-1", 3), ("new", 2)):
                for number in range(count):
                    await harness.chat(Parrot(model)).ask([user(f"hello {number}")])

    run(ask)
    path = tmp_path / "run" / "llm" / "cache.sqlite"
    base = sqlite3.connect(path)
    base.execute("UPDATE calls SET created = created - ? WHERE identity LIKE '%old-1%'", (10 * DAY,))
    base.commit()
    base.close()
    return path


def count(cache):
    return {row.model: row.replies for row in held(cache)}


def test_a_cache_is_found_by_its_file_or_its_run(cache, tmp_path):
    assert cache_of(cache) == cache_of(tmp_path / "run") == cache_of(tmp_path / "run" / "llm") == cache
    with pytest.raises(UserError, match="no chat cache there"):
        cache_of(tmp_path)


def test_what_is_held_is_told_by_model(cache):
    assert count(cache) == {"old-1": 3, "new": 2}
    old = next(row for row in held(cache) if row.model == "old-1")
    assert (old.provider, old.tokens, old.broken) == ("parrot", 15, 0)
    assert old.size > 0


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"older_than": 5}, {"new": 2}),
        ({"older_than": 20}, {"old-1": 3, "new": 2}),
        ({"model": "old-*"}, {"new": 2}),
        ({"model": "new"}, {"old-1": 3}),
        ({"model": "new", "older_than": 5}, {"old-1": 3, "new": 2}),
        ({"broken": True}, {"old-1": 3, "new": 2}),
        ({"older_than": 0}, {}),
    ],
)
def test_prune_removes_what_meets_all_conditions(cache, conditions, left):
    kept = count(cache)
    gone = prune(cache, **conditions, dry_run=True)
    assert count(cache) == kept
    assert prune(cache, **conditions) == gone == sum(kept.values()) - sum(left.values())
    assert count(cache) == left


def test_broken_replies_are_counted_and_go_alone(cache):
    base = sqlite3.connect(cache)
    base.execute("UPDATE calls SET reply = x'00' WHERE identity LIKE '%new%'")
    base.commit()
    base.close()
    assert [row.broken for row in held(cache) if row.model == "new"] == [2]
    assert prune(cache, broken=True) == 2
    assert count(cache) == {"old-1": 3}


def test_without_a_condition_nothing_goes(cache):
    with pytest.raises(UserError, match="say what may go"):
        prune(cache)


def test_a_file_that_is_no_cache_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("no cache at all, but long enough for a header of SQLite " * 20)
    with pytest.raises(UserError, match="cannot be used as a chat cache"):
        held(tmp_path / "notes.txt")


def test_the_commands(cache):
    told = CliRunner().invoke(app, ["cache", "stats", str(cache)])
    assert told.exit_code == 0
    assert "old-1" in told.output
    told = CliRunner().invoke(app, ["cache", "prune", str(cache), "--model", "old-*"])
    assert "3 replies removed" in told.output


def test_what_a_run_uses_is_not_pruned(cache, run):
    """Not while a harness is open, though none of its calls is in flight; counting is always allowed."""

    async def meanwhile():
        async with Harness(folder=cache.parent) as harness:
            with pytest.raises(UserError, match="a run is using this chat cache; nothing was removed"):
                prune(cache, model="new")
            assert prune(cache, model="new", dry_run=True) == 2
            assert (await harness.chat(Parrot("new")).ask([user("hello 0")])).cached

    run(meanwhile)
    assert count(cache) == {"old-1": 3, "new": 2}
    assert prune(cache, model="new") == 2


def test_two_runs_share_a_cache_and_the_last_one_frees_it(cache):
    first, second = Harness(folder=cache.parent), Harness(folder=cache.parent)
    first.store.close()
    with pytest.raises(UserError, match="is using"):
        prune(cache, model="new")
    second.store.close()
    assert prune(cache, model="new") == 2


def test_a_run_that_begins_meanwhile_waits_for_the_pruning(cache):
    begun = threading.Event()

    def begin():
        harness = Harness(folder=cache.parent)
        begun.set()
        harness.store.close()

    waiting = threading.Thread(target=begin)
    with alone(cache):
        waiting.start()
        assert not begun.wait(0.2)
    assert begun.wait(10)
    waiting.join()


def test_a_killed_run_frees_its_cache(cache):
    script = "import sys, time; from medeval.llm.cache_lock import share; from pathlib import Path; " \
             "held = share(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", script, str(cache)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="is using"):
        prune(cache, model="new")
    process.kill()
    process.wait()
    process.stdout.close()
    assert prune(cache, model="new") == 2
