"""``medeval table``: numbers equal summary.json, best and second marked, each format opens."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from measured_world import World, values

from medeval.decisions.evidence import RunEvidence
from medeval.decisions.formats import TEXTS, latex, tex
from medeval.decisions.layout import Layout, lay_out
from medeval.decisions.leaderboard import leaderboard
from medeval.types import RunError


def laid(folder: Path, **layout: Any):
    return lay_out(RunEvidence.open(folder), Layout(**layout))


def test_every_number_of_the_csv_is_the_summarys(three: Path, command: Callable) -> None:
    found = command("table", three, "--rows", "model", "--columns", "site", "-m", "quality", "-f", "csv")
    frame = pd.read_csv(io.StringIO(found.stdout))
    rows = [r for r in RunEvidence.open(three).scores if r["by"] == "site" and r["metric"] == "quality"]
    assert len(frame) == len(rows) == 6
    for row in rows:
        line = frame[(frame["model"] == row["model"]) & (frame["column"] == row["group"]["site"])].iloc[0]
        assert (line["value"], line["low"], line["high"], line["n"]) == (
            row["value"],
            row["low"],
            row["high"],
            row["n"],
        )


def test_the_standard_deviation_is_that_of_the_records(three: Path) -> None:
    (table,) = laid(three)
    records = RunEvidence.open(three).run.records()
    cells = {labels[0]: cells[0] for labels, cells in table.rows}
    for model, part in records.groupby("model"):
        assert cells[model].sd == pytest.approx(part["quality"].std(ddof=1))


def test_best_second_and_what_is_significantly_worse_are_marked(three: Path) -> None:
    (table,) = laid(three)
    marks = {labels[0]: [(cell.mark, cell.significant) for cell in cells] for labels, cells in table.rows}
    assert marks["good"] == [("best", False)] * 2  # quality, where more is better, and loss, where less is
    assert marks["middling"] == [("second", True)] * 2
    assert marks["poor"] == [("", True)] * 2
    assert [direction for _, direction, _ in table.columns] == ["higher", "lower"]
    assert "opposite direction" in table.note


def test_a_tagged_baseline_is_no_winner(world: World) -> None:
    cases = world.cases()
    models = {
        "oracle": world.model("oracle", dict.fromkeys(cases, 1.0), baseline=True),
        "net": world.model("net", values(cases, 0.8, 0)),
        "old": world.model("old", values(cases, 0.6, 1)),
    }
    (table,) = laid(world.run("run", models), metrics=["quality"])
    assert {labels[0]: cells[0].mark for labels, cells in table.rows} == {
        "oracle": "",
        "net": "best",
        "old": "second",
    }
    assert "tagged baselines left out" in table.note


def test_what_is_no_axis_becomes_a_table_of_its_own(world: World) -> None:
    models = {"net": world.model("net", values(world.cases(), 0.8, 0))}
    run = world.run("run", models, task={"settings": ["box", "point"]})
    assert [table.title for table in laid(run)] == ["prompt box", "prompt point"]
    (one,) = laid(run, columns="prompt", metrics=["quality"])
    assert [label for label, _, _ in one.columns] == ["box", "point"]
    (box,) = laid(run, where={"prompt": "box"})
    assert "prompt box" in box.note


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        ({"rows": "modl"}, "did you mean 'model'"),
        ({"columns": "scanner"}, "no facet .* and no group"),
        ({"where": {"dataset": "hospitl"}}, "did you mean 'hospital'"),
        ({"where": {"color": "red"}}, "no facet of the table"),
        ({"metrics": ["dice"]}, "has none here"),
        ({"rows": "model", "columns": "model"}, "the same thing twice"),
    ],
)
def test_what_the_run_has_not_is_told(three: Path, layout: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError, match=told):
        laid(three, **layout)


def test_latex_has_booktabs_and_balanced_columns(three: Path) -> None:
    text = latex(laid(three, columns="site", metrics=["quality"]), "mean [ci]")
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {2}
    assert re.search(r"good & \\textbf\{0\.\d+ \[0\.\d+, 0\.\d+\]\}", text)
    assert text.count("{") == text.count("}")
    assert re.search(r"\\begin\{tabular\}\{lcc\}", text)


def test_latex_compiles(three: Path, tmp_path: Path) -> None:
    engine = next(
        (name for name in ("tectonic", "pdflatex", "xelatex", "lualatex") if shutil.which(name)), None
    )
    if engine is None:
        pytest.skip("no LaTeX engine is installed; the structure is checked by the test above")
    body = latex(laid(three), "mean±sd")
    path = tmp_path / "table.tex"
    path.write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    done = subprocess.run([engine, path.name], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:]


def test_nothing_in_a_name_is_a_command_or_markup() -> None:
    assert tex(r"a_b & 50% \input{x}") == r"a\_b \& 50\% \textbackslash{}input\{x\}"


def test_html_escapes_and_nests(world: World) -> None:
    models = {"<b>net&": world.model("net", values(world.cases(), 0.8, 0)),
              "other": world.model("other", values(world.cases(), 0.7, 1))}  # fmt: skip
    page = TEXTS["html"](laid(world.run("run", models)), "mean±sd")
    assert "<b>net&" not in page
    assert "&lt;b&gt;net&amp;" in page
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("meta",):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert not open_tags


def test_markdown_has_one_width(three: Path) -> None:
    text = TEXTS["md"](laid(three), "mean±sd")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {4}
    assert re.search(r"\*\*0\.\d+ ± 0\.\d+\*\*", text)


def test_word_needs_python_docx_or_writes_the_table(three: Path, command: Callable, tmp_path: Path) -> None:
    target = tmp_path / "t.docx"
    found = command("table", three, "-f", "docx", "-o", target)
    try:
        from docx import Document
    except ImportError:
        assert found.exit_code == 2
        assert "pip install python-docx" in found.stderr
        return
    (table,) = Document(str(target)).tables
    assert [row.cells[0].text for row in table.rows] == ["model", "good", "middling", "poor"]


def test_word_is_refused_clearly_without_python_docx(
    three: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    found = command("table", three, "-f", "docx")
    assert found.exit_code == 2
    assert "pip install python-docx" in found.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-f", "xls"), "known: latex, csv, md, html, docx"),
        (("--cell", "median"), "known: mean±sd"),
        (("--where", "dataset"), "write FACET=VALUE"),
    ],
)
def test_wrong_options_are_told(three: Path, command: Callable, words: tuple[str, ...], told: str) -> None:
    found = command("table", three, *words)
    assert found.exit_code == 2
    assert told in found.stderr


def test_a_leaderboard_has_three_ranks_with_their_stability(
    three: Path, command: Callable, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    found = command("table", three, "--leaderboard", "--figure", tmp_path / "blobs.svg")
    assert [line.split()[0] for line in found.stdout.splitlines()[3:6]] == ["good", "middling", "poor"]
    for word in ("mean-then-rank", "rank-then-mean", "significance", "Kendall tau", "1 [1, 1]"):
        assert word in found.stdout
    assert (tmp_path / "blobs.svg").read_text().startswith("<?xml")


def test_figures_are_vector_files(three: Path, command: Callable) -> None:
    found = command("table", three, "--leaderboard", "--figure", "blobs.png")
    assert found.exit_code == 2
    assert ".pdf or .svg" in found.stderr


def test_a_ranking_with_missing_values_must_say_what_they_count(world: World, command: Callable) -> None:
    cases = world.cases()
    lacking = {case: -1.0 if case.startswith("p00") else 0.8 for case in cases}
    models = {"a": world.model("a", values(cases, 0.8, 0)), "b": world.model("b", lacking)}
    run = world.run("run", models)
    found = command("table", run, "--leaderboard", "-m", "loss")
    assert found.exit_code == 2
    assert "--missing worst" in found.stderr
    assert "1 left out" in command(
        "table", run, "--leaderboard", "-m", "loss", "--missing", "omit"
    ).stdout.replace("2 left", "1 left")


def test_ranks_on_one_patient_have_no_interval(world: World) -> None:
    cases = world.cases(1, 4)
    models = {n: world.model(n, values(cases, level, 0)) for n, level in (("a", 0.8), ("b", 0.6))}
    board = leaderboard(RunEvidence.open(world.run("run", models)), "measured", "hospital", "quality")
    table = board.table()
    assert [row["mean-then-rank"] for row in table.rows] == ["1", "2"]
    assert "one patient: no interval" in table.note
