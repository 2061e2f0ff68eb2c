"""What a doctor's turn asks, and which of the patient's facts answer it: the state tracker of AIE (arXiv 2403.08495), by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from medeval.dialogue.cases import Fact
from medeval.dialogue.lexicon import Lexicon
from medeval.dialogue.text import sentences

State = Literal[
    "specific", "open", "narrow", "diagnosis", "role", "examination", "order", "advice", "statement", "closing", "silent",
]  # fmt: skip
Similarity = Callable[[str, str], float]  # (question, fact) -> [0, 1], such as an embedding's cosine

_CATEGORY_OF = {
    "allergy": "allergy",
    "medication": "medication",
    "family": "family",
    "past": "past",
    "social": "social",
    "wishes": "wish",
}
_ATTRIBUTES = ("timing", "place", "quality", "severity", "modifying", "tried", "cause")
_ABOUT_NOW = ("present", "review")
MAX_QUESTIONS = 4  # questions of one turn that a person keeps in mind
SIMILAR = 0.6  # similarity from which a fact answers, where an embedding is given


@dataclass(frozen=True)
class Question:
    """One sentence of the doctor's. topics: of the lexicon; terms: its content, concepts in the place of their words."""

    text: str
    state: State
    topics: tuple[str, ...] = ()
    terms: frozenset[str] = frozenset()


def questions_of(text: str, lexicon: Lexicon) -> list[Question]:
    """What one doctor's turn asks, at most ``MAX_QUESTIONS``; a turn that asks nothing is one statement."""
    if not text.strip():
        return [Question("", "silent")]
    if any(lexicon.rules["role"].matches(sentence) for sentence in sentences(text)):
        return [Question(text, "role")]
    asked = [_question(sentence, lexicon) for sentence in lexicon.asked(text)]
    if asked:
        return asked[:MAX_QUESTIONS]
    return [Question(text, _said(text, lexicon))]


def _question(sentence: str, lexicon: Lexicon) -> Question:
    topics = lexicon.topics_of(sentence)
    terms = lexicon.terms(sentence)
    if "diagnosis" in topics and not {"past", "family", "allergy", "wishes"}.intersection(topics):
        return Question(sentence, "diagnosis", ("diagnosis",), terms)
    if "wishes" in topics:
        return Question(sentence, "specific", ("wishes",), terms)
    if not topics and lexicon.rules["examination"].matches(sentence):
        return Question(sentence, "examination", (), terms)
    if not topics and lexicon.rules["order"].matches(sentence):
        return Question(sentence, "order", (), terms)
    topics = tuple(topic for topic in topics if topic not in ("diagnosis", "role"))
    if topics and set(topics) <= {"open", "associated"}:
        return Question(sentence, "open", topics, terms)
    return Question(sentence, "specific" if topics or terms else "narrow", topics, terms)


def _said(text: str, lexicon: Lexicon) -> State:
    parts = sentences(text)
    states: tuple[State, ...] = ("closing", "advice")
    for state in states:
        if lexicon.rules[state].found(parts):
            return state
    return "statement"


def relevant(
    question: Question, facts: Sequence[Fact], lexicon: Lexicon, similarity: Similarity | None = None
) -> list[Fact]:
    """The facts that answer a question, best first.

    A question of a kind (allergies, family, ...) is answered by the facts of that kind; of when, where or how by those
    statements of the present illness that tell it; any other by shared content. ``similarity`` adds what words miss.
    """
    if question.state not in ("specific", "open"):
        return []
    if question.state == "open":
        return [fact for fact in facts if fact.category == "present"]
    found: dict[str, Fact] = {}
    for fact in _by_topic(question, facts, lexicon):
        found.setdefault(fact.id, fact)
    if not question.topics or not found:
        for fact in _by_content(question, facts, lexicon):
            found.setdefault(fact.id, fact)
    if similarity is not None:
        for fact in sorted(facts, key=lambda f: -similarity(question.text, f.text)):
            if similarity(question.text, fact.text) >= SIMILAR:
                found.setdefault(fact.id, fact)
    return list(found.values())


def _by_topic(question: Question, facts: Sequence[Fact], lexicon: Lexicon) -> Iterable[Fact]:
    for topic in question.topics:
        if topic in _CATEGORY_OF:
            yield from _of_category(_CATEGORY_OF[topic], question, facts, lexicon)
        elif topic == "surgery":
            yield from (
                f
                for f in facts
                if f.category == "past" and lexicon.attribute_rules["surgery"].matches(f.text)
            )
        elif topic in _ATTRIBUTES and topic in lexicon.attribute_rules:
            telling = lexicon.attribute_rules[topic]
            yield from _ranked(
                question, [f for f in facts if f.category in _ABOUT_NOW and telling.matches(f.text)], lexicon
            )


def _of_category(category: str, question: Question, facts: Sequence[Fact], lexicon: Lexicon) -> list[Fact]:
    """All facts of a kind; where the question names a concept (smoking), only those about it."""
    mine = [fact for fact in facts if fact.category == category]
    if (
        not mine and category in lexicon.attribute_rules
    ):  # told within the present history, as prose records do
        mine = [fact for fact in facts if lexicon.attribute_rules[category].matches(fact.text)]
    named = lexicon.concept_terms(question.text)
    about = [fact for fact in mine if named & terms_of(fact, lexicon)]
    if about or (category == "social" and named):
        return about
    return mine


def _by_content(question: Question, facts: Sequence[Fact], lexicon: Lexicon) -> list[Fact]:
    wish = "wishes" in question.topics
    return [
        f
        for f in _ranked(question, facts, lexicon)
        if question.terms & terms_of(f, lexicon) and (f.category == "wish") == wish
    ]


def _ranked(question: Question, facts: Sequence[Fact], lexicon: Lexicon) -> list[Fact]:
    """By shared content, the commonest terms counting least; the case's order decides between equals."""
    held = {fact.id: terms_of(fact, lexicon) for fact in facts}
    often: dict[str, int] = {}
    for terms in held.values():
        for term in terms:
            often[term] = often.get(term, 0) + 1
    return sorted(facts, key=lambda fact: -sum(1 / often[term] for term in question.terms & held[fact.id]))


def terms_of(fact: Fact, lexicon: Lexicon) -> frozenset[str]:
    """The content of a fact, with its keywords."""
    return lexicon.terms(" ".join([fact.text, *fact.keywords]))
