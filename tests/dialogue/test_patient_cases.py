"""Cases: the bundled ones, users' own, AgentClinic's; and that no diagnosis can reach the patient."""

import dataclasses
import json
import re

import pytest
from stage import agentclinic, bundled

from medeval.dialogue.cases import CATEGORIES, PatientCase, as_json, load_cases
from medeval.dialogue.dataset import PatientCases
from medeval.dialogue.files import DialogueFileError
from medeval.dialogue.text import fold, holds_phrase, holds_terms
from medeval.types import DatasetError

SMALL = {
    "id": "sore-throat",
    "chief_complaint": "My throat hurts.",
    "demographics": "20-year-old man",
    "facts": {"present": ["It began on Monday."], "allergy": ["I am allergic to penicillin."]},
    "tests": {"Rapid strep test": "Positive"},
    "diagnosis": "Streptococcal pharyngitis",
}


def written(tmp_path, entry, name="case.json"):
    path = tmp_path / name
    path.write_text(entry if isinstance(entry, str) else json.dumps(entry))
    return path


def strings(value):
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value):
        yield from strings([getattr(value, field.name) for field in dataclasses.fields(value)])
    elif hasattr(value, "model_dump"):
        yield from strings(value.model_dump())
    elif isinstance(value, dict):
        yield from strings([*value, *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from strings(part)


@pytest.mark.parametrize("case", bundled().values(), ids=bundled())
def test_a_bundled_case_is_whole_and_marked_as_written_for_this_project(case):
    assert case.source == "written for medeval"
    assert {"present", "past", "medication", "allergy", "family", "social", "wish"} <= {
        f.category for f in case.facts
    }
    assert len(case.facts) >= 15
    assert case.tests
    assert case.plan.treatment
    assert not case.hidden
    assert [name for name in case.diagnosis.also if re.fullmatch(r"[A-Z]\d{2}(\.\d)?", name)]  # ICD-10
    assert PatientCase.model_validate_json(as_json(case)) == case


@pytest.mark.parametrize("case", bundled().values(), ids=bundled())
def test_what_harms_a_bundled_cases_patient_names_nothing_that_is_planned(case):
    right = [
        term
        for entry in (*case.plan.tests, *case.plan.treatment, *case.escalation)
        for term in entry.split("|")
    ]
    harms = [term for entry in case.harms for term in entry.split("|")]
    assert harms
    assert not [(h, r) for h in harms for r in right if holds_terms(h, r) or holds_terms(r, h)]


def test_the_bundled_cases_are_of_many_fields_and_no_two_have_one_diagnosis():
    names = [fold(name) for case in bundled().values() for name in case.diagnosis.names]
    assert len(names) == len(set(names))
    chapters = {
        name[0] for case in bundled().values() for name in case.diagnosis.also if re.match(r"[A-Z]\d\d", name)
    }
    assert len(chapters) >= 14  # of ICD-10


@pytest.mark.parametrize("case", [*bundled().values(), *agentclinic()], ids=lambda case: case.id)
def test_no_string_of_the_reference_reaches_the_patient(case):
    view = list(strings(case.patient_view))
    for name in case.diagnosis.names:
        assert not [text for text in view if holds_phrase(text, name)]
    hidden = [finding.result for finding in case.tests.values() if len(finding.result) > 20]
    assert not set(hidden) & set(view)
    assert {field.name for field in dataclasses.fields(case.patient_view)}.isdisjoint(
        {"diagnosis", "tests", "plan", "harms"}
    )


def test_every_agentclinic_case_is_read_and_split_into_facts():
    if not agentclinic():
        pytest.skip("../shared/data/agentclinic is not there")
    assert len(agentclinic()) == 60
    assert len({case.id for case in agentclinic()}) == 60
    first = agentclinic()[0]
    assert (first.id, first.diagnosis.name, first.chief_complaint) == (
        "agentclinic-0001",
        "Myasthenia gravis",
        "Double vision",
    )
    assert "No chest pain" in [f.text for f in first.facts if f.category == "negative"]
    assert first.tests["Electromyography"].result.startswith("Decreased")
    assert min(len(case.facts) for case in agentclinic()) >= 5
    assert agentclinic()[53].diagnosis.also == ("BPPV",)


def test_a_statement_that_names_the_diagnosis_is_withheld(tmp_path):
    record = {"OSCE_Examination": {
        "Objective_for_Doctor": "Diagnose gout.",
        "Patient_Actor": {"Demographics": "60-year-old man", "History": "He has toe pain. His doctor told him it is gout.",
                          "Symptoms": {"Primary_Symptom": "Toe pain"}},
        "Correct_Diagnosis": "Gout"}}  # fmt: skip
    case = load_cases(written(tmp_path, record, "a.jsonl"))[0]
    assert case.withheld == ("His doctor told him it is gout.",)
    assert case.objective == ""
    assert [fact.text for fact in case.facts] == ["I have toe pain."]


def test_an_own_case_in_short_form_is_read(tmp_path):
    case = load_cases(written(tmp_path, SMALL))[0]
    assert [fact.id for fact in case.facts] == ["present.1", "allergy.1"]
    assert case.diagnosis.names == ("Streptococcal pharyngitis",)
    assert case.tests["Rapid strep test"].result == "Positive"


def test_a_folder_of_cases_and_a_list_of_them_are_read(tmp_path):
    written(tmp_path, [SMALL, {**SMALL, "id": "second"}], "two.json")
    written(tmp_path, json.dumps({**SMALL, "id": "third"}) + "\n\n", "one.jsonl")
    assert [case.id for case in load_cases(tmp_path)] == ["third", "sore-throat", "second"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"diagnosis": None}, "case.json, case 1: diagnosis: "),
        ({"chief_complaint": "I have streptococcal pharyngitis."}, "chief_complaint names the diagnosis"),
        ({"facts": {"symptoms": ["x"]}}, "facts.symptoms: unknown category; .*present"),
        ({"diagnosys": "x"}, "diagnosys"),
        ({"traits": ["biased"]}, "the trait `biased` needs a `belief`"),
        ({"traits": ["grumpy"]}, "traits"),
        (
            {
                "facts": [
                    {"id": "a", "text": "x", "category": "past"},
                    {"id": "a", "text": "y", "category": "past"},
                ]
            },
            "fact id 'a' occurs twice",
        ),
        ({"criteria": [{"text": "x", "points": 0}]}, "0 points"),
        ({"facts": {"past": [""]}}, "facts"),
    ],
)
def test_a_case_that_does_not_hold_is_refused_with_file_key_and_reason(tmp_path, change, told):
    with pytest.raises(DialogueFileError, match=told):
        load_cases(written(tmp_path, {**SMALL, **change}))


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ('{"id": 1,', "c.json", "c.json, line 1"),
        (json.dumps(SMALL) + "\n{broken", "c.jsonl", "c.jsonl:2, line 1"),
        ("[3]", "c.json", "case 1: a mapping of keys"),
        (json.dumps([SMALL, SMALL]), "c.json", "'sore-throat' occurs more than once"),
        (json.dumps({"OSCE_Examination": {"Patient_Actor": {}}}), "c.json", "no 'Correct_Diagnosis'"),
        (
            json.dumps({"OSCE_Examination": {"Patient_Actor": {"Symptoms": {}}}}),
            "c.json",
            "no 'Correct_Diagnosis'",
        ),
    ],
)
def test_a_broken_file_is_told_of_with_its_place(tmp_path, text, name, told):
    with pytest.raises(DialogueFileError, match=told):
        load_cases(written(tmp_path, text, name))


def test_a_folder_without_cases_and_a_missing_file_are_told_of(tmp_path):
    with pytest.raises(DialogueFileError, match=r"no \.json or \.jsonl"):
        load_cases(tmp_path)
    with pytest.raises(DialogueFileError, match="No such file"):
        load_cases(tmp_path / "none.json")


def test_bytes_that_are_no_text_are_told_of(tmp_path):
    (tmp_path / "c.json").write_bytes(b'{"id": "\xff\xfe"}')
    with pytest.raises(DialogueFileError, match="not UTF-8"):
        load_cases(tmp_path / "c.json")


def test_the_dataset_shows_the_doctor_three_lines_and_nothing_more():
    data = PatientCases()
    assert set(data.index.ids) == set(bundled())
    case = data.read(data.index.ids[0])
    assert set(case.inputs) == {"objective", "demographics", "complaint"}
    assert set(case.reference) == {"patient_case"}
    assert not data.read(case.id, ("inputs",)).reference
    with pytest.raises(DatasetError, match="no case 'nobody'"):
        data.read("nobody")


def test_a_cases_fingerprint_changes_with_its_own_content_alone(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps([SMALL, {**SMALL, "id": "b"}]))
    other.write_text(json.dumps([{**SMALL, "id": "b", "diagnosis": "Tonsillitis"}, SMALL]))
    first, second = PatientCases(file=one), PatientCases(file=other)
    assert first.fingerprint("sore-throat") == second.fingerprint("sore-throat")
    assert first.fingerprint("b") != second.fingerprint("b")


def test_every_category_can_be_written(tmp_path):
    case = load_cases(written(tmp_path, {**SMALL, "facts": {name: ["x y z"] for name in CATEGORIES}}))[0]
    assert [fact.category for fact in case.facts] == list(CATEGORIES)
