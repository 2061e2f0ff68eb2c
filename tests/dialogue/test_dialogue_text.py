"""How text is folded and matched: whatever a model writes, the rules must neither crash nor be fooled by looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medeval.dialogue.lexicon import load_lexicon
from medeval.dialogue.text import Pattern, clean, fold, holds_phrase, holds_terms, sentences, stems, words


@pytest.mark.parametrize(
    ("pattern", "sentence", "matches"),
    [
        ("when|since + start*", "When did it start?", True),
        ("when|since + start*", "Since when has it been starting?", True),
        ("when|since + start*", "It starts now.", False),
        ("allerg*", "Any ALLERGIES?", True),
        ("tablet* + !allerg*", "Are you allergic to tablets?", False),
        ("*ectomy", "An appendectomy was done.", True),
        ("过敏", "你对什么过敏吗？", True),
    ],
)
def test_a_pattern_is_words_that_occur_together_in_any_order(pattern, sentence, matches):
    assert Pattern.parse(pattern).matches(sentence) is matches


@pytest.mark.parametrize("wrong", ["", "a + ", "two words + b", "a || b"])
def test_a_pattern_holds_no_phrase(wrong):
    with pytest.raises(ValueError, match="single words"):
        Pattern.parse(wrong)


@pytest.mark.parametrize(
    ("text", "phrase", "there"),
    [
        ("You have Myasthenia  Gravis.", "myasthenia gravis", True),
        ("you have my­asthenia gra​vis", "myasthenia gravis", True),
        ("MYASTHÉNIA GRAVIS", "myasthenia gravis", True),
        ("gravis myasthenia", "myasthenia gravis", False),
        ("goutweed", "gout", False),
        ("Hirschsprung’s disease", "Hirschsprung's disease", True),
        ("我有痛风病", "痛风", True),
        ("anything", "", False),
    ],
)
def test_a_phrase_is_found_as_whole_words_whatever_case_accents_and_invisible_characters(text, phrase, there):
    assert holds_phrase(text, phrase) is there


def test_terms_may_stand_in_any_order():
    assert holds_terms("an ultrasound of the belly", "belly ultrasound")
    assert not holds_terms("an ultrasound", "belly ultrasound")


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text):
    fold(text)
    assert isinstance(words(text), tuple)
    assert len(stems(text)) == len(words(text))
    assert all(part.strip() for part in sentences(text))
    lexicon = load_lexicon()
    lexicon.terms(text)
    lexicon.asked(text)
    assert "\x00" not in clean(text)
    assert "​" not in clean(text)


def test_requests_count_as_questions_without_a_question_mark():
    lexicon = load_lexicon()
    assert lexicon.asked("Tell me more. You look well. Where does it hurt? Please describe the pain.") == [
        "Tell me more.", "Where does it hurt?", "Please describe the pain.",
    ]  # fmt: skip
