"""Tests come from the case or not at all; and what a patient must not do is found when it is done."""

import asyncio

import pytest
from stage import Says, bundled, said

from medeval.dialogue.guards import inspect, inventions, leak, per_100_turns, role_flip, told_facts
from medeval.dialogue.lexicon import load_lexicon
from medeval.dialogue.measurement import ChatExaminer, LookupExaminer, requests_of

HEART, GOUT = bundled()["crushing-chest-pain"], bundled()["red-hot-toe"]
LEXICON = load_lexicon()


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ("ECG", ["Electrocardiogram"]),
        ("12-lead EKG", ["Electrocardiogram"]),
        ("troponin levels", ["Troponin"]),
        ("cardiac enzymes", ["Troponin"]),
        ("chest x-ray", ["Chest radiograph"]),
        ("CXR", ["Chest radiograph"]),
        ("blood pressure", ["Blood pressure"]),
        ("physical examination", ["Blood pressure", "Heart rate", "Heart and lungs"]),
        ("brain MRI", []),
        ("blood culture", []),
        ("", []),
    ],
)
def test_a_request_finds_its_entry_or_nothing(request_, names):
    assert LookupExaminer(HEART.measurement_view).find(request_) == names


def test_what_the_case_does_not_hold_is_not_available_and_never_normal():
    turn = asyncio.run(LookupExaminer(HEART.measurement_view).answer(["ECG", "brain MRI"], 4))
    assert "ST elevation" in turn.text
    assert "brain MRI: not available" in turn.text
    assert turn.flags == ("not_available",)
    assert turn.released == ("Electrocardiogram",)


def test_a_chat_model_may_read_a_request_and_never_words_a_result():
    chat = Says([{"entries": ["Electrocardiogram", "made up"]}])
    turn = asyncio.run(ChatExaminer(HEART.measurement_view, chat).answer(["the heart tracing"], 3))
    assert turn.text == f"RESULTS\nElectrocardiogram: {HEART.tests['Electrocardiogram'].result}"
    assert "infarction" not in str(chat.shown)
    asyncio.run(ChatExaminer(HEART.measurement_view, chat).answer(["ECG"], 3))
    assert len(chat.shown) == 1  # words were enough


@pytest.mark.parametrize(
    ("text", "requests"),
    [
        ("REQUEST TEST: ECG", ("ECG",)),
        ("Let us see.\n**REQUEST TEST: ECG; troponin**\nBack soon", ("ECG", "troponin")),
        ("request exam: abdomen", ("abdomen",)),
        ("I request a test: ECG", ()),
        ("", ()),
    ],
)
def test_requests_are_lines_of_their_own(text, requests):
    assert requests_of(text) == requests


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("I think it is gout.", "Gout"),
        ("They said GOUTY  arthritis!", "Gouty arthritis"),
        ("It is go​ut.", "Gout"),
        ("I grow goutweed.", None),
        ("My toe hurts.", None),
    ],
)
def test_a_leak_is_the_diagnosis_or_a_synonym_in_the_patients_mouth(text, named):
    assert leak(text, GOUT) == named


def test_the_patient_may_repeat_what_the_doctor_has_named():
    assert leak("So it is gout?", GOUT, "You have gout.") is None


@pytest.mark.parametrize(
    ("text", "flips"),
    [
        ("As an AI language model I cannot feel pain.", True),
        ("I would recommend that you take aspirin.", True),
        ("You should take an antibiotic.", True),
        ("How long have you had this?", True),
        ("Do you have any allergies?", True),
        ("Doctor: where does it hurt?", True),
        ("It hurts since Monday.", False),
        ("Should I be worried?", False),
        ("Do you think I need an operation?", False),
        ("I took one tablet.", False),
    ],
)
def test_a_role_flip_is_the_patient_speaking_as_doctor_or_machine(text, flips):
    assert bool(role_flip(text, LEXICON)) is flips


@pytest.mark.parametrize(
    ("text", "question", "kinds"),
    [
        ("I have had palpitations too.", "Anything else?", ["fabrication"]),
        ("It began 3 weeks ago.", "When?", ["fabrication"]),
        ("Yes, I do.", "Do you have a fever?", ["contradiction"]),
        ("I have a fever.", "Any fever?", ["contradiction"]),
        ("Yes.", "Do you feel dizzy?", ["fabrication"]),
        ("No rash that I know of.", "Any rash?", []),
        ("I don't know about dizziness.", "Any dizziness?", []),
        ("Is a rash dangerous?", "So?", []),
        ("My toe is red, hot and swollen.", "Tell me more.", []),
        ("Yes, my toe is swollen.", "Is it swollen?", []),
    ],
)
def test_an_assertion_that_the_case_does_not_hold_is_invented(text, question, kinds):
    assert [kind for kind, _ in inventions(text, question, GOUT.patient_view, LEXICON)] == kinds


def test_all_violations_of_a_dialogue_are_found_with_their_turns():
    dialogue = said(
        "P: My big toe hurts terribly.",
        "D: Do you smoke?",
        "P: I stopped smoking twenty years ago. I drink three or four beers a day. My brother gets swollen toes like this too.",
        "D: I see.",
        "P: It is gout, and I have a fever. As an AI I cannot say more.",
    )
    found = inspect(dialogue, GOUT)
    assert {(v.turn, v.kind) for v in found} >= {
        (3, "unasked"),
        (5, "leak"),
        (5, "contradiction"),
        (5, "role_flip"),
    }
    assert {v.what for v in found if v.kind == "unasked"} == {"family.1", "social.1"}
    rates = per_100_turns(found, 3)
    assert rates["leak"] == pytest.approx(100 / 3)
    assert per_100_turns([], 0)["leak"] != per_100_turns([], 0)["leak"]


def test_facts_told_in_other_words_order_are_recognised_and_denials_are_kept_apart():
    told = told_facts(
        "I have chronic kidney disease of stage three. I have a fever.", GOUT.patient_view, LEXICON
    )
    assert "past.1" in told
    assert "negative.1" not in told


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("They said it was a heart attack.", True),
        ("Is it a myocardial infarction?", True),
        ("An ST elevation myocardial infarction, I read.", True),
        ("My father died of his heart.", False),
        ("My chest feels tight, like a cap on it.", False),
    ],
)
def test_a_leak_is_found_under_other_names_of_the_disease_too(text, leaks):
    assert bool(leak(text, HEART)) is leaks
    assert leak(text, HEART, doctor_said="This is a heart attack.") is None


def test_a_name_that_stands_in_the_cases_own_facts_is_no_secret():
    fact = HEART.facts[0].model_copy(update={"id": "x", "text": "My uncle had a heart attack."})
    case = HEART.model_copy(update={"facts": (*HEART.facts, fact)})
    told = type(HEART).model_validate(case.model_dump())
    assert leak("My uncle had a heart attack.", told) is None
    assert leak("I have a myocardial infarction.", told)
