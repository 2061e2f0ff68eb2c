"""A run on ``memory://``: the same bytes as in a folder, read back by every verb, continued from nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import odd_store
import pytest
from typer.testing import CliRunner

import medeval
import medeval.api
from medeval.cli import app
from medeval.decisions.verify import verify
from medeval.runs.place import place_of
from medeval.types import RunError

fsspec = pytest.importorskip("fsspec", reason="in the remote extra")


@pytest.fixture
def url(monkeypatch, tmp_path):
    """A place of its own, seen from a machine without any copy."""
    odd_store.register()
    monkeypatch.setenv("MEDEVAL_CACHE", str(tmp_path / "machine-0"))
    return f"memory://{uuid.uuid4().hex}/run"


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """From now on another machine."""
    machines = iter(range(1, 100))
    return lambda: monkeypatch.setenv("MEDEVAL_CACHE", str(tmp_path / f"machine-{next(machines)}"))


def run(small, url, suite="suite.yaml", **options):
    from medeval.api import RunOptions

    return medeval.run(
        small.folder / suite if isinstance(suite, str) else suite,
        url,
        options=RunOptions(**{"report": False, **options}),
    )


def objects(url):
    """Name below the place -> bytes."""
    system, root = fsspec.core.url_to_fs(url)
    return {path[len(root) + 1 :]: system.cat_file(path) for path in system.find(root)}


def summary(run_):
    return (run_.path / "summary.json").read_bytes()


def test_the_same_bytes_as_in_a_folder_here_and_on_another_machine(small, url, elsewhere):
    small.suite()
    plain = small.run(out="plain")
    done = run(small, url)
    assert done.where == url
    assert summary(done) == summary(plain)
    asked = len(small.calls())
    elsewhere()
    again = run(small, url)
    assert summary(again) == summary(plain)
    assert len(small.calls()) == asked  # not even the model was built


def test_it_is_read_piece_by_piece(small, url, elsewhere):
    small.suite()
    plain = small.run(out="plain")
    run(small, url)
    elsewhere()
    seen = medeval.Run.open(url)
    assert seen.summary() == plain.summary()
    assert not list((seen.path / "records").iterdir())
    assert seen.records().equals(plain.records())
    assert not list((seen.path / "predictions").iterdir())
    assert [key for key, _ in seen.predictions()] == [key for key, _ in plain.predictions()]
    assert len(seen.timings()) == len(plain.timings())
    assert verify(seen).good


def test_every_verb_takes_a_url(small, url, elsewhere):
    small.suite(models={"mine": small.model(), "other": small.model(tolerance=60.0)})
    words = [
        ["run", "suite.yaml", "--out", url, "--no-report"],
        ["show", url],
        ["compare", url],
        ["compare", url, url, "--anyway"],
        ["table", url],
        ["verify", url],
        ["report", url, "--out", "page.html"],
        ["export", url, "--to", "csv", "--out", "scores.csv"],
        ["score", url, "--metrics", "hd95"],
        ["merge", "merged", url],
        ["merge", url.replace("/run", "/merged"), url],
    ]
    said = {}
    for command in words:
        elsewhere()
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output, done.exception)
        said[command[0]] = done.output
    assert f"run: {url}\n" in said["run"]
    assert "hd95" in medeval.Run.open(url).summary()["suite"]["tasks"][0]["metrics"]
    ours = medeval.Run.open(url.replace("/run", "/merged")).records()
    assert ours.equals(medeval.Run.open("merged").records())


def test_a_run_grows_in_its_place(small, url, elsewhere):
    small.suite()
    run(small, url)
    elsewhere()
    small.suite(models={"mine": small.model(), "more": small.model(tolerance=60.0)})
    grown = run(small, url)
    elsewhere()
    seen = medeval.Run.open(url)
    assert seen.summary() == grown.summary()
    assert set(seen.records()["model"]) == {"mine", "more"}


def test_batches_that_are_cut_otherwise_replace_the_old_ones_there_too(small, url, elsewhere):
    (small.folder / "pairs.py").write_text(
        "from medeval.tasks.prompted_segmentation.task import PromptedSegmentation\nfrom medeval.types import Unit\n"
        "class Pairs(PromptedSegmentation):\n    task: str = 'pairs'\n"
        "    def units(self, index):\n"
        "        for start in range(0, len(index), 2):\n            yield Unit(index.ids[start:start + 2])\n"
    )
    tasks, entry = [small.task(task="pairs.py:Pairs")], small.pictures(cases=6)
    run(small, url, small.suite(datasets={"pics": {**entry, "limit": 3}}, tasks=tasks))
    elsewhere()
    grown = run(small, url, small.suite(datasets={"pics": entry}, tasks=tasks))
    elsewhere()
    rooms = [name.partition("/")[0] for name in objects(url)]
    assert [rooms.count(room) for room in ("records", "predictions", "timings")] == [3, 3, 3]
    assert medeval.Run.open(url).records().equals(grown.records())


def test_bundles_take_the_place_of_their_parts(small, url, elsewhere, monkeypatch):
    from medeval.runs import compact

    small.suite(datasets={"pics": small.pictures(cases=12)})
    plain = small.run(out="plain")
    run(small, url)
    elsewhere()
    monkeypatch.setattr(compact.compact, "__defaults__", (4,))
    run(small, url)
    elsewhere()
    rooms = [name.partition("/")[0] for name in objects(url)]
    assert [rooms.count(room) for room in ("records", "predictions", "timings")] == [1, 1, 1]
    asked = len(small.calls())
    assert summary(run(small, url)) == summary(plain)
    assert len(small.calls()) == asked
    assert verify(medeval.Run.open(url)).good


def test_a_changed_model_is_refused_there_as_here(small, url, elsewhere):
    small.suite()
    run(small, url)
    elsewhere()
    small.suite(models={"mine": small.model(tolerance=60.0)})
    with pytest.raises(RunError, match="made otherwise"):
        run(small, url)


def test_nothing_is_left_over(small, url, elsewhere):
    """Every object is named by the one checkpoint, or is a plain copy for people; locks are given back."""
    small.suite()
    for _ in range(3):
        run(small, url, report=True)
        elsewhere()
    found = objects(url)
    commits = [name for name in found if name.startswith("commits/")]
    assert len(commits) == 1
    named = {row[1] for row in json.loads(found[commits[0]].split(b"\n")[0])["entries"]}
    assert set(found) - named - set(commits) == {"manifest.json", "summary.json", "report.html"}
    for plain in ("manifest", "summary", "report"):
        twin = next(data for name, data in found.items() if name.startswith(f"{plain}.") and name in named)
        assert twin == next(
            found[name] for name in found if name.startswith(f"{plain}.") and name not in named
        )


def test_a_report_is_not_written_where_nobody_would_find_it(small, url):
    small.suite()
    run(small, url)
    with pytest.raises(RunError, match="say with --out where on this machine"):
        medeval.api.report(url)


@pytest.mark.parametrize("last", ["..", "a b?c", ".hidden", "é"])
def test_the_copy_stays_below_the_cache(url, tmp_path, last):
    from medeval.runs.remote.copy import local_folder

    folder = local_folder(f"memory://bucket/{last}", "work")
    assert folder.parent.parent.parent == tmp_path / "machine-0" / "runs"
    assert folder.resolve().parent == folder.parent.resolve()


def test_no_run_there_is_told(url):
    with pytest.raises(RunError, match="not a run"):
        medeval.Run.open(url)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("s3://bucket/run/", "s3://bucket/run"),
        (Path("s3://bucket/run"), "s3://bucket/run"),
        ("abfs://box@account.dfs.core.windows.net/run", "abfs://box@account.dfs.core.windows.net/run"),
        ("file:///data/run", Path("/data/run")),
        (Path("file:///data/run"), Path("/data/run")),
        ("local://runs/mine", Path("runs/mine")),
        ("runs/mine", Path("runs/mine")),
        ("C:/runs", Path("C:/runs")),
        ("runs/a:b", Path("runs/a:b")),
    ],
)
def test_what_is_a_folder_and_what_is_a_url(given, place):
    assert place_of(given) == place


def test_a_folder_that_looks_like_a_url_is_a_folder(small):
    Path("memory:/run").mkdir(parents=True)
    assert place_of(Path("memory:/run")) == Path("memory:/run")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("ftp://me:hunter2secret@host/run", r"ftp://\*\*\*@host/run: a password in a URL"),
        ("simplecache::s3://bucket/run", "in a chain"),
        ("s3://", "names no folder"),
        ("nosuchthing://bucket/run", "Protocol not known"),
    ],
)
def test_a_url_that_cannot_be(given, told):
    with pytest.raises(RunError, match=told):
        medeval.Run.open(given)


def test_a_missing_package_is_named(monkeypatch):
    def lacking(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacking)
    with pytest.raises(RunError, match=r"s3:// needs another package: pip install s3fs"):
        medeval.Run.open("s3://bucket/run")


def test_file_urls_are_plain_folders(small):
    small.suite()
    done = run(small, f"file://{small.folder}/run")
    assert done.path == small.folder / "run"
    assert (done.path / "records").is_dir()


def test_a_plain_folder_takes_no_detour(small):
    small.suite()
    code = (
        "import sys, medeval; medeval.run('suite.yaml', 'run'); print('medeval.runs.remote' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=small.folder, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
