"""The page of the docs runs as it stands, and stays one page."""

import json
import re
from pathlib import Path

import pytest

import medeval
from medeval.api import RunOptions
from medeval.dialogue.agreement_sheets import read_sheet

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["questions", "agreement"])
def test_a_page_is_a_page(name):
    assert len((DOCS / f"{name}.md").read_text().splitlines()) <= 80


def test_the_suites_of_the_page_run(tmp_path):
    text = (DOCS / "questions.md").read_text()
    lines = re.search(r"```json\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "questions.jsonl").write_text(lines)
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ["q1", "q2"]
    done = {}
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
        path = tmp_path / f"suite{number}.yaml"
        path.write_text(block)
        run = medeval.run(path, tmp_path / f"run{number}", options=RunOptions(report=False))
        done |= {r["metric"]: r["value"] for r in run.summary()["scores"] if r["by"] == ""}
    assert done["answer_accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert done["answer_brier"] == pytest.approx(((0.2**2 + 2 * 0.8**2) / 3 + 0.1**2) / 2)
    assert done["rubric"] > 0.9


def test_the_sheet_of_the_page_is_read(tmp_path):
    text = (DOCS / "agreement.md").read_text()
    (tmp_path / "a.csv").write_text(re.search(r"```csv\n(.*?)```", text, re.DOTALL)[1])
    assert [(m.item, m.score, m.na) for m in read_sheet(tmp_path / "a.csv")] == [
        ("1.1", 1.0, False),
        ("1.2", None, True),
    ]
