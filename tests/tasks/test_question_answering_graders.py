"""Graders as models under test: HealthBench's meta-evaluation through the engine, with the official code's figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import medeval
from medeval.api import RunOptions
from medeval.dialogue.healthbench_meta import HealthBenchMeta
from medeval.metrics.agreement_points import pairwise_grades
from medeval.metrics.grading import GradePair
from medeval.metrics.registry import get_metric
from medeval.types import UserError

META = json.loads((Path(__file__).parents[1] / "parity" / "agreement" / "rubric_scores.json").read_text())[
    "grader_meta_evaluation"
]


def line(number, row, **changes):
    return {
        "prompt": [{"role": "user", "content": f"Case {number}."}],
        "completion": "met" if row["grader"] else "unmet",
        "rubric": f"criterion {number}",
        "binary_labels": row["physicians"],
        "anonymized_physician_ids": ["p1", "p2", "p3", "p4"][: len(row["physicians"])],
        "category": row["category"],
        "prompt_id": f"prompt {number // 2}",
        **changes,
    }


CLIENT = '''
import json, re
def grader(request):
    """Says what the answer says of itself."""
    turns = json.loads(re.search(r"\\[.*\\]", request.messages[1].text, re.S)[0])
    if "silent" in turns[-1]["text"]:
        return "I would rather not say."
    return {"data": {"explanation": "so it says", "criteria_met": turns[-1]["text"] == "met"}}
'''


def run(folder, lines, report=False, **task):
    (folder / "meta.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "client.py").write_text(CLIENT)
    data = {
        "name": "graders",
        "datasets": {"meta": {"format": "healthbench-meta", "file": "meta.jsonl"}},
        "models": {"g": {"client": "scripted", "function": "client.py:grader"}},
        "tasks": [{"task": "criteria-grading", **task}],
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(data))
    return medeval.run(folder / "suite.yaml", folder / "run", options=RunOptions(report=report))


def score(done, metric, by="", **group):
    rows = [r for r in done.summary()["scores"] if (r["metric"], r["by"], r["group"]) == (metric, by, group)]
    assert len(rows) == 1, rows
    return rows[0]


def test_a_grader_has_the_f1_of_the_official_code_overall_and_by_category(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(tmp_path, [line(n, row) for n, row in enumerate(META["rows"])], report=True)
    wanted = META["expected"]["pairwise_model_f1_balanced"]["value"]
    assert score(done, "grade_f1")["value"] == pytest.approx(wanted, abs=1e-12)
    assert score(done, "grade_f1")["low"] < wanted < score(done, "grade_f1")["high"]
    for category in {r["category"] for r in META["rows"]}:
        part = META["expected"][f"{category}: pairwise_model_f1_balanced"]["value"]
        assert score(done, "grade_f1", "category", category=category)["value"] == pytest.approx(
            part, abs=1e-12
        )
    page = (done.path / "report.html").read_text()
    assert "Graders among physicians" in page
    assert "physicians below" in page


def test_leniency_is_the_share_of_met_above_the_physicians(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line(n, {"grader": True, "physicians": [True, False], "category": "c"}) for n in range(6)]
    row = score(run(tmp_path, lines), "grade_bias")
    assert (row["value"], row["patients"]) == (0.5, 3)


def test_a_grader_that_gives_no_verdict_contradicts_every_physician(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"grader": n % 2 == 0, "physicians": [n % 2 == 0], "category": "c"} for n in range(8)]
    lines = [line(n, row) for n, row in enumerate(rows)]
    assert score(run(tmp_path, lines), "grade_f1")["value"] == 1
    lines[0]["completion"] = "silent"
    (tmp_path / "again").mkdir()
    done = run(tmp_path / "again", lines)
    row = score(done, "grade_f1")
    assert row["failed"] == {"unparsable": 1}
    assert row["value"] == pytest.approx((2 * 3 / 7 + 2 * 4 / 9) / 2)


def test_pooled_counts_give_the_f1_of_every_resample():
    generator = np.random.default_rng(1)
    pairs = [
        GradePair(
            bool(generator.integers(2)), tuple(map(bool, generator.integers(0, 2, generator.integers(1, 4))))
        )
        for _ in range(30)
    ]
    metric = get_metric("grade_f1")
    observed = [metric.observe(pair).statistic for pair in pairs]
    columns = {name: np.array([statistic[name] for statistic in observed]) for name in metric.statistic}
    weights = generator.multinomial(30, [1 / 30] * 30, size=10)
    for row, value in zip(weights, metric.reduce(columns, weights.astype(float)), strict=True):
        drawn = [pair for pair, times in zip(pairs, row, strict=True) for _ in range(times)]
        assert value == pytest.approx(
            pairwise_grades([p.met for p in drawn], [p.labels for p in drawn]).balanced("f1")
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"binary_labels": []}, "binary_labels"),
        ({"binary_labels": [True]}, "2 anonymized_physician_ids for 1 binary_labels"),
        ({"rubric": ""}, "rubric"),
        ({"prompt": [{"role": "x", "content": "y"}]}, "message 1: expected a role"),
        ({"completion": None}, "completion"),
    ],
)
def test_a_line_that_does_not_hold_is_told(tmp_path, change, told):
    path = tmp_path / "meta.jsonl"
    path.write_text(
        json.dumps(line(0, {"grader": True, "physicians": [True, False], "category": "c"}, **change))
    )
    with pytest.raises(UserError, match=r"meta\.jsonl:1") as error:
        len(HealthBenchMeta(file=path).index)
    assert told in str(error.value)
