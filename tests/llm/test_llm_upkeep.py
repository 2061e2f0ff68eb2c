"""``medeval cache stats`` and ``prune``."""

import sqlite3

import pytest
from typer.testing import CliRunner

from medeval.cli import app
from medeval.llm import Harness, user
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
