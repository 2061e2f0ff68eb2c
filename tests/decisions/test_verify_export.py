from __future__ import annotations

import csv
import io
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from measured_world import World, values

from medeval.decisions.evidence import RunEvidence
from medeval.decisions.export import model_card, scores_csv
from medeval.decisions.verify import verify
from medeval.runs import Run
from medeval.types import RunError


@pytest.fixture
def copied(three: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three, tmp_path / "run"))


def test_an_untouched_run_is_good(three: Path, command: Callable) -> None:
    found = command("verify", three)
    assert found.exit_code == 0
    assert "no problems" in found.stdout


def test_every_kind_of_part_is_checked(copied: Path, command: Callable) -> None:
    part = next((copied / "records").iterdir())
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(bytes(data))
    next((copied / "predictions").iterdir()).unlink()
    (copied / "cases" / "more.parquet").write_bytes(b"x")
    summary = (copied / "summary.json").read_text()
    (copied / "summary.json").write_text(summary.replace('"n": 60', '"n": 61', 1))
    problems = "\n".join(verify(Run.open(copied)).problems)
    for words in (
        f"records/{part.name} was changed",
        "is missing",
        "more.parquet was added",
        "summary.json was changed",
    ):
        assert words in problems
    assert command("verify", copied).exit_code == 1


def test_a_torn_part_is_told(copied: Path) -> None:
    part = next((copied / "records").iterdir())
    part.write_bytes(part.read_bytes()[:100])
    assert any("cannot be read" in problem for problem in verify(Run.open(copied)).problems)


def test_a_run_that_was_never_sealed_is_told(copied: Path) -> None:
    (copied / "hashes.json").unlink()
    with pytest.raises(RunError, match="--rerun"):
        verify(Run.open(copied))


def test_a_rerun_gives_the_same_numbers(world: World, command: Callable) -> None:
    run = world.run("run", {"net": world.model("net", values(world.cases(), 0.8, 0))})
    found = command("verify", run, "--rerun")
    assert found.exit_code == 0
    assert "the same numbers again" in found.stdout


def test_a_rerun_that_differs_says_where(world: World, command: Callable) -> None:
    cases = world.cases()
    run = world.run("run", {"net": world.model("net", values(cases, 0.8, 0))})
    world.model("net", values(cases, 0.8, 1))
    found = command("verify", run, "--rerun")
    assert found.exit_code == 1
    assert "the numbers are not the same" in found.stdout
    assert '"quality"' in found.stderr


def test_a_model_card_holds_a_model_index(three: Path) -> None:
    run = RunEvidence.open(three)
    _, front, body = model_card(run, "good").split("---\n", 2)
    (model,) = yaml.safe_load(front)["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["dataset"]["name"]) == ("good", "hospital")
    row = next(r for r in run.scores if r["model"] == "good" and r["metric"] == "quality" and not r["by"])
    metric = next(m for m in result["metrics"] if m["type"] == "quality")
    assert (metric["value"], metric["args"]["low"], metric["args"]["patients"]) == (
        row["value"],
        row["low"],
        30,
    )
    assert body.count("| measured |") == 2


def test_the_csv_holds_every_score_at_full_precision(three: Path) -> None:
    run = RunEvidence.open(three)
    rows = list(csv.DictReader(io.StringIO(scores_csv(run))))
    assert [float(row["value"]) for row in rows] == [row["value"] for row in run.scores]
    assert {row["by"] for row in rows} == {"", "site"}


def test_each_model_gets_its_card_and_the_csv_is_a_file(
    three: Path, command: Callable, tmp_path: Path
) -> None:
    assert command("export", three, "--to", "model-card", "-o", tmp_path / "cards").exit_code == 0
    assert sorted(p.parent.name for p in (tmp_path / "cards").rglob("README.md")) == [
        "good",
        "middling",
        "poor",
    ]
    assert command("export", three, "--to", "csv", "-o", tmp_path / "s.csv").exit_code == 0
    assert (tmp_path / "s.csv").exists()


def test_mlflow_is_refused_clearly_where_it_is_not_installed(
    three: Path, command: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    found = command("export", three, "--to", "mlflow", "-o", tmp_path)
    assert found.exit_code == 2
    assert "pip install mlflow" in found.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [(("--to", "exel"), "known: csv, mlflow, model-card"), (("--to", "csv", "--model", "x"), "no model 'x'")],
)
def test_unknown_targets_are_told(three: Path, command: Callable, words: tuple[str, ...], told: str) -> None:
    found = command("export", three, *words)
    assert found.exit_code == 2
    assert told in found.stderr


def test_subgroups_and_sample_sizes_from_the_command_line(three: Path, command: Callable) -> None:
    found = command("subgroups", three, "--by", "site", "-m", "quality")
    for words in ("by site", "worst", "gap 0.", "p = "):
        assert words in found.stdout
    planned = command("plan", three, "-m", "quality")
    assert "good / middling" in planned.stdout
    assert command("plan", three, "-m", "quality", "--width", 0.02).exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("subgroups", "--by", "scaner", "-m", "quality"), "no column 'scaner'"),
        (("subgroups", "--by", "site", "-m", "dice"), "no score of 'dice'"),
        (("plan", "-m", "qualty"), "did you mean 'quality'"),
        (("plan", "-m", "quality", "--width", "-1"), "must be above 0"),
    ],
)
def test_columns_and_metrics_that_are_not_there_are_told(
    three: Path, command: Callable, words: tuple[str, ...], told: str
) -> None:
    found = command(words[0], three, *words[1:])
    assert found.exit_code == 2
    assert told in found.stderr


def test_mlflow_gets_one_run_a_model_with_names_that_it_takes(
    three: Path, command: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logged: list[tuple[str, float]] = []
    runs: list[str] = []

    def start_run(run_name: str) -> nullcontext:
        runs.append(run_name)
        return nullcontext()

    stand_in = SimpleNamespace(
        set_tracking_uri=lambda uri: None, set_experiment=lambda name: None, log_params=lambda params: None,
        log_metric=lambda name, value: logged.append((name, value)), start_run=start_run,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    assert command("export", three, "--to", "mlflow", "-o", tmp_path).exit_code == 0
    assert runs == ["good", "middling", "poor"]
    plain = [row for row in RunEvidence.open(three).scores if not row["by"]]
    assert [value for _, value in logged] == [row["value"] for row in plain]
    assert all(re.fullmatch(r"[\w\-. /]+", name) for name, _ in logged)
