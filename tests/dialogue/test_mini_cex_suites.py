"""Suites with chat models: they validate, hold dialogues now and judge them later, and judge what others have held."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from stage import bundled, talk

import medeval
from medeval.api import RunOptions
from medeval.suite import Suite

SUITES = ("mini-cex-demo", "mini-cex-openai", "mini-cex-vllm")
CASES = ("red-hot-toe", "always-hot", "thirsty-teenager")
PARTIES = '''
import os
from medeval.llm import Capabilities, ClientIdentity, Reply
from judges import Judge

def noted(who):
    with open(os.environ["CALLS"], "a") as file:
        file.write(who + "\\n")

class Doctor:
    """A chat model that asks two questions and concludes; it can be out of reach."""
    capabilities = Capabilities(cacheable=False, paid=False)
    identity = ClientIdentity("test", "doctor")
    async def complete(self, request):
        noted("doctor")
        if os.environ.get("DOCTOR") == "gone":
            raise AssertionError("the doctor must not be asked")
        asked = sum(m.role == "assistant" for m in request.messages)
        return Reply(text=["Thank you for coming. When did it start?", "Any allergies?"][asked] if asked < 2
                     else "FINAL DIAGNOSIS:\\n1. Gout")

class Counting(Judge):
    async def complete(self, request):
        noted("judge")
        return await super().complete(request)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    (tmp_path / "calls").touch()
    (tmp_path / "parties.py").write_text(PARTIES)
    shutil.copy(Path(__file__).parent / "judges.py", tmp_path / "judges.py")
    cases = [json.loads(bundled()[name].model_dump_json()) for name in CASES]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    return tmp_path


def calls(folder):
    told = (folder / "calls").read_text().split()
    return {who: told.count(who) for who in ("doctor", "judge")}


def suite(folder, models=None, **task):
    data = {
        "name": "parties",
        "datasets": {"d": {"format": "patient-cases", "file": "cases.json"}},
        "models": models or {"doctor": {"client": "parties.py:Doctor"}},
        "tasks": [{"task": "mini-cex", "samples": 2, "judges": [{"client": "parties.py:Counting", "score": 1}], **task}],
    }  # fmt: skip
    (folder / "suite.yaml").write_text(yaml.safe_dump(data))
    return folder / "suite.yaml"


def total(done, model="doctor"):
    rows = [
        r for r in done.summary()["scores"] if r["group"].get("structure") == "total" and r["model"] == model
    ]
    return rows[0] if rows else None


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_validates_with_a_key_that_is_only_named(name, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    loaded = Suite.load(name)
    told = "\n".join(map(str, medeval.api.describe(loaded)))
    assert loaded.name == name
    assert "sk-not-a-key" not in told
    assert {task.task for task in loaded.tasks} == {"mini-cex"}


def test_the_doctor_speaks_first_and_the_judge_later(folder, monkeypatch):
    made = medeval.run(suite(folder), folder / "run", options=RunOptions(score=False))
    held = calls(folder)
    assert held == {"doctor": 3 * 2 * 3, "judge": 0}
    assert not list((made.path / "records").iterdir())
    assert total(made) is None
    medeval.run(suite(folder), folder / "run", options=RunOptions(score=False))
    assert calls(folder) == held  # nothing is left to ask
    monkeypatch.setenv("DOCTOR", "gone")
    done = medeval.score(made.path)
    assert calls(folder) == {**held, "judge": 3 * 2 * 4}
    assert total(done)["n"] == 6
    assert total(done)["failed"] == {}
    at_once = medeval.run(suite(folder, {"doctor": {"adapter": "scripted-doctor"}}), folder / "other")
    assert total(at_once)["n"] == 6


def test_what_was_judged_later_is_what_would_have_been_judged_at_once(folder):
    later = medeval.run(suite(folder), folder / "later", options=RunOptions(score=False))
    medeval.score(later.path)
    once = medeval.run(suite(folder), folder / "once")
    for part in (once.path / "records").iterdir():
        assert part.read_bytes() == (later.path / "records" / part.name).read_bytes()
    assert total(later) == total(once)


def test_asking_without_keeping_or_scoring_is_refused():
    with pytest.raises(medeval.types.UserError, match="leave nothing"):
        RunOptions(score=False, keep_predictions=False)


def test_dialogues_held_elsewhere_are_judged_by_a_chat_model_and_no_doctor_is_asked(folder):
    role = {"doctor": "assistant", "patient": "user", "examiner": "tool"}
    lines = []
    for name in CASES:
        turns = talk(bundled()[name]).turns
        messages = [{"role": "system", "content": "You are a doctor."}]
        messages += [{"role": role[turn.speaker], "content": turn.text} for turn in turns]
        lines += [json.dumps({"case": name, "sample": n, "messages": messages}) for n in (0, 1)]
    (folder / "talks.jsonl").write_text("\n".join(lines))
    theirs = {"theirs": {"adapter": "dialogues", "file": "talks.jsonl"}}
    done = medeval.run(suite(folder, theirs), folder / "run")
    assert calls(folder) == {"doctor": 0, "judge": 3 * 2 * 4}
    assert total(done, "theirs")["n"] == 6
    top = [r for r in done.summary()["scores"] if r["group"].get("structure") == "top-1"]
    assert top[0]["value"] == 1
