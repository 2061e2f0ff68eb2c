"""`medeval dataset build|stats|check` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from toy_volumes import volume
from typer.testing import CliRunner

from medeval.cli.dataset import app
from medeval.types import UserError

runner = CliRunner()


def run(*words):
    return runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def source(nnunet):
    return nnunet({"a": volume(1), "b": volume(2)})


@pytest.fixture
def out(source, tmp_path):
    done = run(
        "build", "sa-med2d", "--from", "nnunet", source, "--out", tmp_path / "out", "--workers", 1, "-q"
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "out"


def test_build_tells_what_it_kept_and_dropped(source, out):
    again = run("build", "sa-med2d", source, "--from", "nnunet", "-o", out, "-q", "--workers", 1)
    assert "of 2 volumes (2 kept from before)" in again.output
    assert "slices without a label" in again.output
    assert "build_log.json, dropped.jsonl" in again.output


def test_build_fails_with_1_when_a_volume_fails(source, tmp_path):
    (source / "labelsTr/b.nii.gz").write_bytes(b"no label")
    done = run("build", "sa-med2d", source, "--from", "nnunet", "-o", tmp_path / "o", "-q", "--workers", 1)
    assert done.exit_code == 1
    assert "failed: Toy--b" in done.output


def test_every_option_reaches_the_build(source, tmp_path):
    done = run(
        "build", "sa-med2d", source, "--from", "nnunet", "-o", tmp_path / "o", "--name", "Mine", "--modality", "mr_t2",
        "--axes", "zx", "--orientation", "upright", "--letters", "zyx", "--scope", "volume", "--percentiles", 1, 99,
        "--min-side", 0, "--min-area", 0.01, "--split", "none", "--zip", "-q",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    log = json.loads((tmp_path / "o/build_log.json").read_text())
    assert log["options by dataset"] == {
        "Mine": [
            {"axes": ["z", "x"], "orientation": "upright", "letters": "zyx", "scope": "volume", "percentiles": [1.0, 99.0],
             "window": None, "min_side": 0.0, "min_area": 0.01}
        ]
    }  # fmt: skip
    assert run("check", tmp_path / "o/SAMed2Dv1.zip", "-q").exit_code == 0


def test_a_dry_run_writes_nothing(source, tmp_path):
    done = run("build", "sa-med2d", source, "--from", "nnunet", "-o", tmp_path / "o", "--dry-run")
    assert "Toy (train): 2 cases, ct_00, 3 classes\n  0000 liver" in done.output
    assert not (tmp_path / "o").exists()


def test_check_exits_1_with_a_table_and_a_file_of_findings(out, tmp_path):
    assert run("check", out).exit_code == 0
    next((out / "masks").iterdir()).unlink()
    done = run("check", out, "--out", tmp_path / "found.jsonl")
    assert done.exit_code == 1
    assert "missing file" in done.output
    [line] = (tmp_path / "found.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "missing file"


def test_stats_print_tables_and_write_a_page_that_needs_nothing(out, tmp_path):
    done = run("stats", out, "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    assert "By modality" in done.output
    page = (tmp_path / "page.html").read_text()
    assert "By structure" in page
    assert "liver" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", "nowhere"], "no such folder or zip archive"),
        (["stats", "nowhere"], "no such folder or zip archive"),
        (["build", "sam", "x", "--from", "nnunet", "-o", "y"], "layout 'sam' is not built"),
        (["build", "sa-med2d", "nowhere", "--from", "nnunet", "-o", "y"], "no such folder"),
    ],
)
def test_wrong_input_is_a_message(words, says):
    done = run(*words)
    assert isinstance(done.exception, UserError)
    assert says in str(done.exception)


def test_a_page_that_cannot_be_written_is_a_message(out):
    done = run("stats", out, "--out", out / "nope/page.html", "-q")
    assert "cannot be written" in str(done.exception)


def test_help_pays_for_nothing_heavy():
    code = (
        "import sys, medeval.cli.dataset;"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'nibabel', 'scipy', 'PIL', 'jinja2', 'torch', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
