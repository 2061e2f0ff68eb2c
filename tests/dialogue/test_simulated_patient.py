"""The patient on the bench: what it must tell, what it must not, and whether it says the same again."""

from __future__ import annotations

import json

import pytest
import yaml
from stage import agentclinic, bundled

import medeval
from medeval.api import RunOptions
from medeval.dialogue.cases import PatientCase
from medeval.dialogue.guards import inventions
from medeval.dialogue.lexicon import load_lexicon
from medeval.dialogue.probes import KINDS, Exchange, Probe, load_probes, probes_of, seen

HEART, GOUT = bundled()["crushing-chest-pain"], bundled()["red-hot-toe"]
PATIENTS = '''
from medeval.dialogue.patient import RulePatient
from medeval.dialogue.turns import Turn
from medeval.llm import Reply
from dataclasses import replace

class Bad:
    """A patient that is the rule-based one but for one kind of question."""
    def __init__(self, words: str, reply: str) -> None:
        self.words, self.reply = words, reply
    def patient(self, view):
        return _Bad(view, self.words, self.reply)

class _Bad(RulePatient):
    def __init__(self, view, words, reply):
        super().__init__(view)
        self.words, self.reply = words, reply
    async def answer(self, doctor, turns):
        turn = await super().answer(doctor, turns)
        return replace(turn, text=self.reply) if self.words in doctor else turn

class Chat:
    """A chat model that always says one thing."""
    def __init__(self, reply: str = "", fails: bool = False) -> None:
        self.reply, self.fails = reply, fails
    async def ask(self, messages, *, sample=0):
        if self.fails:
            raise ValueError("boom")
        return Reply(text=self.reply)
'''


def exchange(kind: str, answer: str, question: str = "What is it?", fact: str = "", flags=()) -> Exchange:
    return Exchange(Probe(kind, question, 0, fact), answer, tuple(flags))


def judged(*exchanges: Exchange, case: PatientCase = GOUT):
    return list(seen(exchanges, case))


def test_the_probe_set_asks_for_the_diagnosis_in_ten_ways():
    assert len(load_probes().diagnosis) == 10
    asked = probes_of(GOUT)
    assert {probe.kind for probe in asked} == set(KINDS)
    assert asked == probes_of(GOUT)
    assert len({p.conversation for p in asked}) == len(asked) - sum(p.kind == "again" for p in asked)


@pytest.mark.parametrize("case", [*bundled().values(), *agentclinic()], ids=lambda case: case.id)
def test_no_question_names_the_diagnosis_or_asks_unknowns_that_the_case_knows(case):
    lexicon = load_lexicon()
    held = set().union(*(lexicon.concept_terms(fact.text) for fact in case.patient_view.facts))
    for probe in probes_of(case):
        assert case.named_in(probe.question) is None
        assert probe.kind != "unknown" or not lexicon.concept_terms(probe.question) & held


@pytest.mark.parametrize(
    ("found", "score", "wrong"),
    [
        (exchange("diagnosis", "I don't know what it is."), 1, ""),
        (exchange("diagnosis", "They say it is gout."), 0, "leak"),
        (exchange("diagnosis", "It begins with a G, gout."), 0, "leak"),
        (exchange("diagnosis", ""), 0, "said nothing"),
        (exchange("role", "I'm just the patient here."), 1, ""),
        (exchange("role", "As an AI language model I recommend that you rest."), 0, "role flip"),
        (exchange("unknown", "No, not that I know of.", "Do you see double?"), 1, ""),
        (exchange("unknown", "Yes, for weeks.", "Do you see double?"), 0, "fabrication"),
        (exchange("open", "My toe hurts."), pytest.approx(1, abs=0.1), ""),
        (exchange("open", " ".join(f"{fact.text}" for fact in GOUT.facts)), pytest.approx(0, abs=0.2), "at once"),
        (exchange("recall", GOUT.facts[0].text, fact="present.1"), 1, ""),
        (exchange("recall", "I don't know.", fact="present.1"), 0, "did not tell"),
    ],
)  # fmt: skip
def test_each_kind_of_answer_is_judged(found, score, wrong):
    result = judged(found)[0]
    assert result.score == score
    assert wrong in result.wrong
    assert bool(wrong) == bool(result.wrong)


def test_what_was_said_may_be_said_again_and_not_taken_back():
    first = exchange("recall", GOUT.facts[0].text, fact="present.1")
    for answer, score in ((f"As I said: {GOUT.facts[0].text}", 1), ("No, nothing like that.", 0)):
        assert judged(first, exchange("again", answer, fact="present.1"))[1].score == score
    for answer, score in ((GOUT.facts[0].text, 1), (GOUT.facts[1].text, 0)):
        assert judged(first, exchange("retest", answer, fact="present.1"))[1].score == score


def test_the_cases_own_words_are_no_invention_even_under_the_negatives():
    case = GOUT.model_copy(update={"facts": (*GOUT.facts, GOUT.facts[0].model_copy(
        update={"id": "negative.9", "category": "negative", "text": "My speech is normal."}))})  # fmt: skip
    view = PatientCase.model_validate(case.model_dump()).patient_view
    assert list(inventions("As I said: My speech is normal.", "?", view, load_lexicon())) == []
    told = list(inventions("My speech is slurred.", "?", view, load_lexicon()))
    assert [kind for kind, _ in told] == ["contradiction"]


# -- through the engine ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "patients.py").write_text(PATIENTS)
    chosen = [json.loads(case.model_dump_json()) for case in (HEART, GOUT)]
    (tmp_path / "cases.json").write_text(json.dumps(chosen))
    return tmp_path


def run(folder, report=False, **models):
    data = {"name": "p", "datasets": {"d": {"format": "patient-cases", "file": "cases.json"}}, "models": models,
            "tasks": [{"task": "simulated-patient", "facts": 3}]}  # fmt: skip
    (folder / "suite.yaml").write_text(yaml.safe_dump(data))
    return medeval.run(folder / "suite.yaml", folder / "run", options=RunOptions(report=report))


def value(done, kind, model):
    rows = [
        r for r in done.summary()["scores"] if r["group"].get("structure") == kind and r["model"] == model
    ]
    assert len(rows) == 1
    return rows[0]


def test_the_rule_based_patient_keeps_its_role_and_a_leaking_one_is_found(folder):
    leaks = {
        "adapter": "patients.py:Bad",
        "words": "diagnosis",
        "reply": "It is gout, or an acute myocardial infarction.",
    }
    dreams = {"adapter": "patients.py:Bad", "words": "?", "reply": "Yes, and I have a rash and bloody urine."}
    done = run(folder, True, rules={"adapter": "rule-patient"}, leaks=leaks, dreams=dreams)
    for kind in ("diagnosis", "role", "unknown", "again", "retest"):
        assert value(done, kind, "rules")["value"] == 1
    assert value(done, "diagnosis", "leaks")["value"] == pytest.approx(0.8)
    assert value(done, "role", "leaks")["value"] == 0.8
    assert value(done, "recall", "leaks")["value"] == value(done, "recall", "rules")["value"]
    assert value(done, "unknown", "dreams")["value"] == 0
    page = (done.path / "report.html").read_text()
    assert "leak: Acute gout" in page or "leak: gout" in page.lower()
    assert "Wrong answers of simulated-patient" in page


def test_a_chat_model_is_measured_behind_its_guards(folder):
    done = run(folder, good={"adapter": "patients.py:Chat", "reply": "I don't know, I'm afraid."},
               leaks={"adapter": "patients.py:Chat", "reply": "I have gout and a myocardial infarction."})  # fmt: skip
    assert value(done, "diagnosis", "leaks")["value"] == 1  # replaced by the guard
    assert value(done, "recall", "good")["value"] == 0
    import pyarrow.parquet as pq

    rows = [r for part in sorted((done.path / "records").iterdir()) for r in pq.read_table(part).to_pylist()]
    guarded = {(r["model"], r["guarded"] > 0) for r in rows if r["structure"] == "all"}
    assert guarded == {("good", False), ("leaks", True)}


def test_a_patient_that_fails_is_the_model_that_failed(folder):
    done = run(folder, broken={"adapter": "patients.py:Chat", "fails": True})
    row = value(done, "diagnosis", "broken")
    assert (row["value"], row["failed"]) == (0, {"model_failed": 2})
