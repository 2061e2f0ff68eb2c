"""The task through the engine: suites in YAML, records, failures and whose they are, a report with the dialogues."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from stage import bundled, talk

import medeval
from medeval import plugins
from medeval.api import RunOptions
from medeval.dialogue.dataset import BUNDLED
from medeval.types import UserError

pytestmark = pytest.mark.usefixtures("registered")
DOCS = Path(__file__).parents[2] / "docs" / "mini_cex.md"

DOCTORS = '''
from medeval.llm import Reply
from medeval.llm.errors import EndpointDown, RefusedReply

class Doctor:
    """Refuses, raises, or has no server, at its second turn of the cases that ``at`` names."""
    def __init__(self, does: str = "", at: str = "toe") -> None:
        self.does, self.at = does, at
    async def ask(self, messages, *, sample=0):
        text = messages[1]["content"]
        if self.at in text and len(messages) > 2 and sample == 0:
            if self.does == "refuses":
                return Reply(refusal="I must not")
            if self.does == "raises":
                raise ValueError("boom")
            if self.does == "down":
                raise EndpointDown("no server")
        if len(messages) < 4:
            return "When did it start?"
        return "FINAL DIAGNOSIS: 1. Gout"
'''
JUDGE = '''
from medeval.llm import Capabilities, ClientIdentity, Reply

class Broken:
    """A judge whose replies hold no object."""
    identity = ClientIdentity("test", "broken")
    capabilities = Capabilities(forms=("text",), cacheable=False, paid=False)
    async def complete(self, request):
        return Reply(text="I would rather not say.")
'''


ENTRIES = """[medeval.tasks]
mini-cex = medeval.tasks.mini_cex:MiniCex
[medeval.datasets]
patient-cases = medeval.dialogue.dataset:PatientCases
[medeval.metrics]
rubric = medeval.metrics.rubric
[medeval.adapters]
scripted-doctor = medeval.dialogue.scripted:ScriptedDoctor
dialogues = medeval.dialogue.finished:FinishedDialogues
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The entry points, whether or not this checkout is installed with them: equal claims are one."""
    info = tmp_path / "site" / "dialogue_room-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dialogue-room\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    plugins.refresh()
    yield
    monkeypatch.undo()
    plugins.refresh()


def suite(folder, **parts):
    (folder / "doctors.py").write_text(DOCTORS)
    (folder / "judge.py").write_text(JUDGE)
    cases = [json.loads(case.model_dump_json()) for case in bundled().values()]
    (folder / "cases.json").write_text(
        json.dumps([c for c in cases if c["id"] in ("red-hot-toe", "always-hot", "thirsty-teenager")])
    )
    data = {
        "name": "small",
        "datasets": {"mine": {"format": "patient-cases", "file": "cases.json"}},
        "models": {"good": {"adapter": "scripted-doctor"}},
        "tasks": [{"task": "mini-cex", "samples": 2}],
        **parts,
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def run(folder, out="run", report=False, **parts):
    return medeval.run(suite(folder, **parts), folder / out, options=RunOptions(report=report))


def score(done, item, **wanted):
    rows = [
        r
        for r in done.summary()["scores"]
        if r["group"].get("structure") == item and all(r[k] == v for k, v in wanted.items())
    ]
    assert len(rows) == 1, rows
    return rows[0]


def records(done):
    import pyarrow.parquet as pq

    return [
        row for part in sorted((done.path / "records").iterdir()) for row in pq.read_table(part).to_pylist()
    ]


def test_a_suite_of_scripted_doctors_ranks_them_and_shows_their_dialogues(tmp_path):
    styles = ("good", "curt", "unsafe", "mute")
    models = {style: {"adapter": "scripted-doctor", "style": style} for style in styles}
    done = run(tmp_path, report=True, models=models, datasets={"mine": {"format": "patient-cases"}},
               tasks=[{"task": "mini-cex", "samples": 1, "rubric": "mini-cex-llm-extended"}])  # fmt: skip
    totals = [score(done, "total", model=style) for style in styles]
    assert all(a["low"] > b["high"] for a, b in pairwise(totals))
    assert totals[0]["n"] == len(bundled())
    assert score(done, "top-1", model="good")["value"] == 1
    calm = sum(not case.red_flags for case in bundled().values())
    assert score(done, "x3.4", model="good")["undefined"] == {"the case has no red flags": calm}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What you have been describing" in page
    assert "mini-cex-llm-extended" in page


def test_records_hold_items_evidence_and_how_the_dialogue_went(tmp_path):
    rows = records(run(tmp_path))
    assert len(rows) == 3 * 2 * (8 + 4 + 3)
    total = next(
        r for r in rows if r["structure"] == "total" and r["case"] == "red-hot-toe" and r["sample"] == 1
    )
    assert (total["stop"], total["rank"], total["leak"], total["fabrication"]) == ("doctor_final", 1, 0, 0)
    assert json.loads(total["diagnoses"]) == ["Acute gout"]
    assert 0.5 < total["coverage"] <= 1
    assert [speaker for _, speaker, _ in json.loads(total["transcript"])][:2] == ["patient", "doctor"]
    item = next(r for r in rows if r["structure"] == "1.1" and r["case"] == "red-hot-toe")
    assert item["rubric"] == item["raw"] == 1
    assert json.loads(item["evidence"])[0]["found"]
    evidence = len(json.loads(item["evidence"]))
    assert json.loads(item["judges"]) == [{"judge": "rules", "score": 1.0, "evidence": evidence}]


def test_the_run_ends_in_the_same_bytes_again(tmp_path):
    first, second = run(tmp_path, "a"), run(tmp_path, "b")
    for part in (first.path / "records").iterdir():
        assert part.read_bytes() == (second.path / "records" / part.name).read_bytes()
    assert first.summary()["scores"] == second.summary()["scores"]


@pytest.mark.parametrize(
    ("does", "status", "value"),
    [("refuses", "refused", 0.0), ("raises", "model_failed", 0.0), ("down", "infrastructure", None)],
)
def test_a_doctors_failure_is_the_doctors_and_of_its_sample_alone(tmp_path, does, status, value):
    done = run(tmp_path, models={"d": {"adapter": "doctors.py:Doctor", "does": does}})
    rows = {(r["case"], r["sample"]): r for r in records(done) if r["structure"] == "total"}
    assert rows["red-hot-toe", 0]["status"] == status
    assert rows["red-hot-toe", 0]["rubric"] == value
    assert [r["status"] for key, r in rows.items() if key != ("red-hot-toe", 0)] == ["ok"] * 5
    counted = score(done, "top-1")
    assert counted["n"] == (6 if value == 0 else 5)
    assert counted["value"] == pytest.approx(1 / counted["n"])
    assert counted["failed"] == {status: 1}


def test_a_judge_that_fails_leaves_the_score_between_bounds_and_blames_nobody(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(
        tmp_path, tasks=[{"task": "mini-cex", "samples": 1, "judges": [{"client": "judge.py:Broken"}]}]
    )
    rows = records(done)
    assert {r["status"] for r in rows if r["structure"] == "1.1"} == {"evaluator_failed"}
    assert "judge" in next(r["error"] for r in rows if r["structure"] == "1.1")
    assert {r["status"] for r in rows if r["structure"] == "top-1"} == {"ok"}
    row = score(done, "total")
    assert row["value"] is None
    assert row["missing"] == 3
    assert score(done, "top-1")["value"] == 1


def test_a_panel_of_rules_and_a_broken_model_needs_enough_judges(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judges = ["rules", {"client": "judge.py:Broken"}]
    done = run(tmp_path, tasks=[{"task": "mini-cex", "samples": 1, "judges": judges, "min_valid": 1}])
    assert score(done, "total")["value"] == 1
    row = next(r for r in records(done) if r["structure"] == "2.1")
    assert [sorted(j) for j in json.loads(row["judges"])] == [
        ["evidence", "judge", "score"],
        ["error", "judge"],
    ]


def test_finished_dialogues_are_judged_with_no_doctor_at_hand(tmp_path):
    talks = []
    for case in bundled().values():
        role = {"doctor": "assistant", "patient": "user", "examiner": "tool"}
        messages = [{"role": role[t.speaker], "content": t.text} for t in talk(case, style="curt").turns]
        talks.append(json.dumps({"case": case.id, "messages": messages}))
    (tmp_path / "talks.jsonl").write_text("\n".join(t for t in talks if "always-hot" not in t))
    done = run(tmp_path, models={"theirs": {"adapter": "dialogues", "file": "talks.jsonl"}, "curt": {"adapter": "scripted-doctor", "style": "curt"}},
               tasks=[{"task": "mini-cex", "samples": 1}])  # fmt: skip
    assert score(done, "total", model="theirs")["missing"] == 1
    for item in ("1.2", "2.1", "top-1"):
        assert score(done, item, model="theirs")["value"] == score(done, item, model="curt")["value"]


def test_another_rubric_scores_the_kept_dialogues_again_and_asks_no_doctor(tmp_path):
    first = run(tmp_path)
    done = run(tmp_path, tasks=[{"task": "mini-cex", "samples": 2, "rubric": "mini-cex-abim"}])
    events = [json.loads(line) for line in (done.path / "log.jsonl").read_text().splitlines()]
    assert {e["work"] for e in events if e["event"] == "unit"} >= {"score"}
    assert sum(e["event"] == "unit" and e["work"] == "predict" for e in events) == 3
    assert score(done, "abim.interview")["value"] == 1
    assert first.path == done.path


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ({"rubric": "mini-cex-lm"}, "did you mean 'mini-cex-llm'"),
        ({"max_turns": 0}, "max_turns"),
        ({"system": "{disease}"}, "system prompt"),
        ({"judges": []}, "judges"),
        ({"patient": "human"}, "patient"),
        ({"rubric_file": "none.yaml"}, "none.yaml"),
    ],
)
def test_a_task_that_cannot_run_is_told_of_before_anything_runs(tmp_path, task, told):
    with pytest.raises(UserError, match=told):
        run(tmp_path, tasks=[{"task": "mini-cex", **task}])


def test_the_page_of_the_docs_runs_as_it_stands(tmp_path):
    text = DOCS.read_text()
    assert len(text.splitlines()) <= 60
    blocks = re.findall(r"`(\S+)`:.*?```(?:json|yaml)\n(.*?)```", text, re.DOTALL)
    for name, block in blocks:
        (tmp_path / name).write_text(block)
    assert [name for name, _ in blocks] == ["case.json", "rubric.yaml", "suite.yaml"]
    done = medeval.run(tmp_path / "suite.yaml", tmp_path / "run")
    assert score(done, "v1", model="good")["value"] == 1
    assert score(done, "2.1", model="good")["value"] == 1
    assert score(done, "2.1", model="rude")["value"] == 0
    assert score(done, "v3", model="good")["value"] == 1
    assert score(done, "top-1", model="good")["value"] == 1


def test_the_bundled_cases_are_packaged():
    assert sorted(path.suffix for path in BUNDLED.iterdir()) == [".json"] * 5
    assert len(bundled()) == 40
