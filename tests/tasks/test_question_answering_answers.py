"""What a reply answers: letters, open answers, confidences; each row is a way in which models write."""

import pytest

from medeval.tasks.question_answering.answers import (
    NONE,
    SEVERAL,
    confidence_of,
    exactly,
    letter_of,
    normalised,
    open_answer,
)

OPTIONS = ("Aspirin", "Heparin", "A beta blocker", "Insulin", "None of these")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("B.", "B"),
        ("B. Heparin", "B"),
        ("B) Heparin", "B"),
        ("[B]", "B"),
        ("Answer: B", "B"),
        ("answer: b", "B"),
        ("Answer: **B**", "B"),
        ("**Answer:** (B) Heparin", "B"),
        ("Final answer: B. Heparin, because it works.", "B"),
        ("The answer is B.", "B"),
        ("The correct answer is option D", "D"),
        ("The best answer is (C), a beta blocker.", "C"),
        ("So the answer is A.", "A"),
        ("The answer is A because aspirin helps.", "A"),
        ("The answer is a matter of taste.", NONE),
        ("The answer is A patient with chest pain.", NONE),
        ("The answer is A. Aspirin", "A"),
        ("The answer is A Aspirin", "A"),
        (r"Therefore \boxed{C}.", "C"),
        (r"$\boxed{\text{C}}$", "C"),
        ('{"answer": "C"}', "C"),
        ('{"reasoning": "x", "answer": "D"}', "D"),
        ("First I thought the answer is A. But no.\nAnswer: D", "D"),
        ("Answer: A\n\nOn reflection.\nAnswer: E", "E"),
        ("Thinking about it...\nB", "B"),
        ("Thinking about it...\nHeparin", "B"),
        ("heparin", "B"),
        ("Heparin.", "B"),
        ("Answer: Heparin", "B"),
        ("Answer: a beta blocker", "C"),
        ("A beta blocker", "C"),
        ("I would go with (D) here.", "D"),
        ("Option E fits; nothing else does.", "E"),
        ("It is not (A). It must be (D).", "D"),
        ("Either (A) or (D).", SEVERAL),
        ("Answer: A or B", SEVERAL),
        ("Answer: A and C", SEVERAL),
        ("Answer: A, C", SEVERAL),
        ("A and B", SEVERAL),
        ("Answer: H", NONE),
        ("I cannot say.", NONE),
        ("", NONE),
        ("I am not sure. A patient like this needs care.", NONE),
        ("Answer: B\nConfidence: 80%", "B"),
        ("B\nConfidence: 80", "B"),
        ("Ответ: B\nAnswer: B", "B"),
        ("A\u200bnswer: B", "B"),
        ("Because of A and B being wrong, answer: C", "C"),
        ("The answer is D (Insulin).", "D"),
        ("The answer is: D", "D"),
        ("the answer is not B", NONE),
    ],
)
def test_a_letter_is_read_as_the_rule_says(reply, letter):
    found = letter_of(reply, OPTIONS)
    told = found.why if found.position is None else "ABCDE"[found.position]
    assert told == letter


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        ("Confidence: 80%", 0.8),
        ("Confidence: 80", 0.8),
        ("**Confidence:** 80 %", 0.8),
        ("confidence is about 65 percent", 0.65),
        ("Confidence: 0.65", 0.65),
        ("Confidence: 1.0", 1.0),
        ("Confidence: 1", 0.01),
        ("Confidence: 8/10", 0.8),
        ("Confidence: 80/100", 0.8),
        ("Confidence: 100", 1.0),
        ("Confidence: 0", 0.0),
        ("Confidence: 140%", None),
        ("Confidence: high", None),
        ("Confidence: 10%\nNo.\nConfidence: 20%", 0.2),
        ("", None),
    ],
)
def test_a_stated_confidence_is_read_as_a_share(reply, share):
    found = confidence_of(reply)
    assert found == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("The Appendix.", ["appendix"], True),
        ("two", ["2"], True),
        ("7.4", ["74"], False),
        ("7.4.", ["7.4"], True),
        ("Crohn's disease", ["crohns disease", "Crohn s disease"], True),
        ("Ménière disease", ["Meniere disease"], True),
        ("appendix and gallbladder", ["appendix"], False),
        ("Yes, it does.", ["yes"], True),
        ("No", ["yes"], False),
        ("Yesterday", ["yes"], False),
    ],
)
def test_exact_match_folds_what_does_not_matter(answer, accepted, right):
    assert exactly(answer, accepted) is right


def test_an_open_answer_stands_after_its_mark_or_is_the_reply():
    assert open_answer("I think.\nAnswer: the appendix\nConfidence: 70%") == "the appendix"
    assert open_answer("The appendix.\nConfidence: 70%") == "The appendix."
    assert normalised("The  A.") == ""
