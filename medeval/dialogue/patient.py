"""The rule-based patient: answers only what is asked, from its own facts, and never knows its diagnosis. No LLM, no chance.

It is a function of the dialogue so far: a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medeval.dialogue.cases import Fact, PatientView
from medeval.dialogue.lexicon import Lexicon, load_lexicon
from medeval.dialogue.questions import Question, Similarity, questions_of, relevant
from medeval.dialogue.turns import Turn

PER_QUESTION = 3  # facts told in answer to one question
PER_OPEN_QUESTION = 2  # to "tell me more": a person does not recite the record
_NOTHING_OF = ("allergy", "medication", "family", "past", "surgery", "social")


class Patient(Protocol):
    """Who answers the doctor. Its failure is the evaluator's."""

    def opening(self) -> str: ...

    async def answer(self, doctor: str, turns: Sequence[Turn]) -> Turn: ...


@dataclass
class _Answer:
    """One answer in the making: what was asked and what is given away."""

    parts: list[str]
    relevant: list[str]
    released: list[str]


class RulePatient:
    """Answers by retrieval over the case's facts.

    similarity: adds an embedding's sense of nearness to that of words. lexicon: default: the case's language.
    """

    def __init__(
        self, view: PatientView, lexicon: Lexicon | None = None, similarity: Similarity | None = None
    ) -> None:
        self.view = view
        self.lexicon = lexicon or load_lexicon(view.language)
        self._similarity = similarity
        self._facts = {fact.id: fact for fact in view.facts}

    def opening(self) -> str:
        """The chief complaint: all that is said unasked."""
        return self.view.chief_complaint

    async def answer(self, doctor: str, turns: Sequence[Turn]) -> Turn:
        """The patient's next turn. turns: the dialogue so far, with the doctor's text as its last turn or not yet in it."""
        before = [turn for turn in turns if turn.speaker == "patient"]
        known = {fact for turn in before for fact in turn.released}
        asked = questions_of(doctor, self.lexicon)
        answer = _Answer([], [], [])
        for question in asked:
            self._respond(question, answer, known, len(before))
        text = self._in_character(answer, asked, len(before), turns)
        topics = tuple(dict.fromkeys(topic for question in asked for topic in question.topics))
        return Turn(
            len(turns) + 1, "patient", text, asked[0].state, topics,
            tuple(dict.fromkeys(answer.relevant)), tuple(dict.fromkeys(answer.released)),
        )  # fmt: skip

    def _respond(self, question: Question, answer: _Answer, known: set[str], number: int) -> None:
        if question.state not in ("specific", "open"):
            phrase = {"order": "unasked_order", "examination": "physical"}.get(question.state, question.state)
            answer.parts.append(self.lexicon.said(phrase, number))
            return
        found = relevant(question, self.view.facts, self.lexicon, self._similarity)
        answer.relevant += [fact.id for fact in found]
        given = known | set(answer.released)
        fresh = [fact for fact in found if fact.id not in given]
        chosen = fresh[: self._most(question)]
        if chosen:
            answer.parts += [self._tell(fact, again=False) for fact in chosen]
            answer.released += [fact.id for fact in chosen]
        elif found and question.state == "specific":
            if not set(answer.released) & {fact.id for fact in found}:  # else it has just been said
                again = [self._tell(fact, again=True) for fact in found[:1]]
                answer.parts += [f"{self.lexicon.said('repeat', 0)}{text}" for text in again]
        else:
            answer.parts.append(self.lexicon.said(self._lack(question), number))

    def _most(self, question: Question) -> int:
        if "terse" in self.view.traits:
            return 1
        most = PER_OPEN_QUESTION if question.state == "open" else PER_QUESTION
        return most + 1 if "rambling" in self.view.traits else most

    def _lack(self, question: Question) -> str:
        if question.state == "open":
            return "open_done"
        return "none" if set(question.topics) & set(_NOTHING_OF) else "unknown"

    def _tell(self, fact: Fact, again: bool) -> str:
        if fact.mistaken and "mistaken" in self.view.traits:
            return f"{self.lexicon.said('correction', 0)}{fact.text}" if again else fact.mistaken
        return fact.text

    def _in_character(
        self, answer: _Answer, asked: Sequence[Question], number: int, turns: Sequence[Turn]
    ) -> str:
        parts = [_closed(part) for part in dict.fromkeys(answer.parts)]
        traits = self.view.traits
        first = number <= 1 and not any("belief" in turn.flags for turn in turns)
        if "biased" in traits and self.view.belief and first:
            parts.append(str(self.lexicon.phrases["belief"]).format(belief=self.view.belief).strip())
        if "anxious" in traits and number % 2 == 1:
            parts.append(self.lexicon.said("anxious", number // 2))
        if "rambling" in traits and asked[0].state in ("specific", "open"):
            parts.append(self.lexicon.said("rambling", number))
        return " ".join(parts)


def _closed(sentence: str) -> str:
    """A statement with a final stop."""
    sentence = sentence.strip()
    return sentence if sentence.endswith((".", "!", "?", "。", "！", "？")) else f"{sentence}."
