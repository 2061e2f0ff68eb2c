"""``medeval report``: the same report again, and one to send outside; and that ``--help`` tells every command."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from medeval.cli import app
from medeval.types import UserError


@pytest.fixture
def finished(small):
    """A run of 24 pictures of 12 patients, with its report."""
    small.run(small.suite(datasets={"pics": small.pictures(cases=24, patients=12)}), report=True)
    return small.folder / "run"


def command(*words):
    """(exit code, what was printed) of ``medeval WORDS`` in this process; a ``UserError`` is exit code 2."""
    done = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(done.exception, UserError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_report_is_written_again_here_or_elsewhere_and_asks_no_model(small, finished):
    before = (finished / "report.html").read_text()
    (finished / "report.html").unlink()
    asked = small.calls()
    assert command("report", "run") == (0, "report: run/report.html\n")
    assert command("report", "run", "--out", "mine.html")[0] == 0
    assert (finished / "report.html").read_text() == (small.folder / "mine.html").read_text() == before
    assert small.calls() == asked


def test_a_shared_report_says_what_it_withholds(finished):
    code, told = command("report", "run", "--share")
    assert code == 0
    assert told.startswith("report: run/shared.html\n")
    assert "withheld: scores of fewer than 10, or from which one would follow: " in told
    page = (finished / "shared.html").read_text()
    assert "What this shared version leaves out" in page
    assert "data:image" not in page
    assert not re.search(r"p[0-9]+-c[0-9]+", page)
    assert re.search(r"p[0-9]+-c[0-9]+", (finished / "report.html").read_text())


def test_pictures_other_limits_numbers_for_names_and_json(small, finished):
    assert command("report", "run", "--share", "--pixels", "-o", "pixels.html")[0] == 0
    assert "data:image" in (small.folder / "pixels.html").read_text()
    assert (
        command("report", "run", "--share", "--format", "json", "--min-cell", "5", "--anonymise-names")[0]
        == 0
    )
    data = json.loads((finished / "shared.json").read_text())
    assert data["shared"]["min_cell"] == 5
    assert {(row["model"], row["dataset"]) for row in data["scores"]} == {("model 1", "dataset 1")}
    assert {row["group"].get("structure") for row in data["scores"]} == {None, "disk", "bar"}


def test_sharing_needs_neither_data_nor_model_and_pictures_need_the_data(small, finished):
    code_, kept = (small.folder / name for name in ("model.py", "kept.py"))
    shutil.rmtree(small.folder / "data")
    code_.rename(kept)
    assert command("report", "run", "--share")[0] == 0
    kept.rename(code_)
    code, told = command("report", "run", "--share", "--pixels")
    assert code == 2
    assert "data" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pixels",), "go with --share"),
        (("--min-cell", "5"), "go with --share"),
        (("--format", "json"), "go with --share"),
        (("--share", "--format", "pdf"), "known: html, json"),
        (("--share", "--min-cell", "1"), "or equal to 2"),
        (("--share", "-o", "nowhere/x.html"), "cannot be written"),
    ],
)
def test_what_does_not_fit_is_refused(finished, words, message):
    code, told = command("report", "run", *words)
    assert code == 2
    assert message in told


def test_a_folder_without_a_run_or_a_run_without_a_summary_is_told(small, finished):
    assert command("report", "data")[0] == 2
    (finished / "summary.json").unlink()
    for more in ((), ("--share",)):
        code, told = command("report", "run", *more)
        assert code == 2
        assert "no summary yet" in told


def test_help_lists_every_command_with_what_it_does():
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    listed = dict(re.findall(r"^  ([a-z-]+)  +(\S.*)$", done.output.partition("Commands:")[2], re.MULTILINE))
    names = {c.name or c.callback.__name__.strip("_") for c in app.registered_commands} | {g.name for g in app.registered_groups}  # fmt: skip
    assert set(listed) == names >= {"run", "report", "show", "compare", "check"}
    for name, told in listed.items():
        own = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
        assert own.exit_code == 0
        first = told.rstrip(".").split("...")[0][:60].strip()
        assert first in " ".join(own.output.split()), name
