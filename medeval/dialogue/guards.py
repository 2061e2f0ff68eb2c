"""What a simulated patient must not do, found after the fact: give the diagnosis away, invent, change roles, tell unasked.

Detectors are deliberately plain (words, not models): their false alarms can be read, and they run on every turn of every
dialogue. Each violation is counted per 100 patient turns; none of them touches the doctor's score.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from medeval.dialogue.cases import PatientCase, PatientView
from medeval.dialogue.diagnosis import spoken_names
from medeval.dialogue.lexicon import Lexicon, load_lexicon
from medeval.dialogue.questions import questions_of, relevant
from medeval.dialogue.text import fold, holds_phrase, sentences, words
from medeval.dialogue.turns import Dialogue

Kind = Literal["leak", "unasked", "fabrication", "contradiction", "role_flip"]
KINDS: tuple[Kind, ...] = ("leak", "unasked", "fabrication", "contradiction", "role_flip")
TOLD = 0.7  # share of a fact's terms from which a patient's text counts as telling it
_NUMBER = re.compile(r"\d+(?:[.,/:]\d+)*")
_YES = frozenset({"yes", "yeah", "yep", "correct", "exactly", "definitely"})


@dataclass(frozen=True)
class Violation:
    """One violation. turn: its number in the dialogue. what: the words that gave it away."""

    turn: int
    kind: Kind
    what: str


def leak(text: str, case: PatientCase, doctor_said: str = "") -> str | None:
    """The diagnosis (or a synonym) that a patient's text names before the doctor did, or None."""
    names = secret_names(case)
    named = next((name for name in names if holds_phrase(text, name)), None)
    return named if named and not any(holds_phrase(doctor_said, name) for name in names) else None


def secret_names(case: PatientCase) -> tuple[str, ...]:
    """What the patient must not call its disease: all that the reference may be called, but for the case's own words."""
    view = case.patient_view
    own = "\n".join([view.chief_complaint, *(fact.text for fact in view.facts)])
    return tuple(name for name in spoken_names(case.diagnosis) if not holds_phrase(own, name))


def role_flip(text: str, lexicon: Lexicon) -> str | None:
    """The sentence in which a patient speaks as a doctor or a machine, or None."""
    if re.match(r"\s*(doctor|physician|assistant|ai)\s*:", text, re.IGNORECASE):
        return text.strip().splitlines()[0]
    return next((s for s in sentences(text) if lexicon.rules["role_flip"].matches(s)), None)


def inventions(text: str, question: str, view: PatientView, lexicon: Lexicon) -> Iterator[tuple[Kind, str]]:
    """(kind, sentence) of what a patient asserts and the case does not hold.

    A concept (fever, rash) or number that stands nowhere in the case is a fabrication; one that the case denies is a
    contradiction. Denials, doubts and questions are allowed (PatientSim's rule). "Yes" asserts what was asked.
    """
    asserted, denied = _held(view, lexicon)
    told = " ".join(
        [
            view.chief_complaint,
            view.demographics,
            view.belief or "",
            *(f"{f.text} {f.mistaken or ''}" for f in view.facts),
        ]
    )
    numbers = set(_NUMBER.findall(fold(told)))
    own = [fold(part).rstrip(".") for f in view.facts for part in sentences(f.text)]
    for sentence in (_beside(part, own) for part in sentences(text)):
        if sentence.endswith("?") or lexicon.denies(sentence):
            continue
        concepts = lexicon.concept_terms(sentence)
        if not concepts and _YES.intersection(words(sentence)[:1]):
            concepts = lexicon.concept_terms(question)
        if concepts & (denied - asserted):
            yield "contradiction", sentence
        elif concepts - asserted or set(_NUMBER.findall(fold(sentence))) - numbers:
            yield "fabrication", sentence


def _beside(sentence: str, own: Sequence[str]) -> str:
    """A sentence without what stands in the case word for word; as it is where nothing does."""
    folded = fold(sentence)
    found = [part for part in own if part and part in folded]
    for part in found:
        folded = folded.replace(part, " ")
    return folded if found else sentence


def told_facts(text: str, view: PatientView, lexicon: Lexicon) -> list[str]:
    """Ids of the facts that a text tells, by shared content: what a patient that keeps no ledger gave away."""
    said = [(lexicon.terms(sentence), lexicon.denies(sentence)) for sentence in sentences(text)]
    found = []
    for fact in view.facts:
        terms, denied = lexicon.terms(fact.text), lexicon.denies(fact.text)
        if terms and any(
            len(terms & there) / len(terms) >= TOLD and denied == denies for there, denies in said
        ):
            found.append(fact.id)
    return found


def inspect(dialogue: Dialogue, case: PatientCase, lexicon: Lexicon | None = None) -> list[Violation]:
    """Every violation of the patient's turns, in order."""
    lexicon = lexicon or load_lexicon(case.language)
    view = case.patient_view
    found: list[Violation] = []
    said, question, asked_for = "", "", set[str]()
    for turn in dialogue.turns:
        if turn.speaker == "doctor":
            said, question = f"{said}\n{turn.text}", turn.text
            asked_for |= _asked_for(turn.text, view, lexicon)
        elif turn.speaker == "patient":
            found += _of_turn(turn.number, turn.text, said, question, case, lexicon)
            released = turn.released if turn.state else tuple(told_facts(turn.text, view, lexicon))
            opening = fold(turn.text) == fold(case.chief_complaint)
            unasked = [] if opening else [name for name in released if name not in asked_for]
            found += [Violation(turn.number, "unasked", name) for name in unasked]
    return found


def _of_turn(
    number: int, text: str, said: str, question: str, case: PatientCase, lexicon: Lexicon
) -> list[Violation]:
    found = []
    if named := leak(text, case, said):
        found.append(Violation(number, "leak", named))
    if flipped := role_flip(text, lexicon):
        found.append(Violation(number, "role_flip", flipped))
    spoken = without_phrases(text, lexicon)
    return found + [
        Violation(number, kind, what)
        for kind, what in inventions(spoken, question, case.patient_view, lexicon)
    ]


def without_phrases(text: str, lexicon: Lexicon) -> str:
    """The text without the set phrases of the rule-based patient, which assert nothing of the case ("I see.")."""
    for name in ("anxious", "rambling", "silent", "closing", "physical", "role", "statement"):
        for phrase in lexicon.phrases[name]:
            text = text.replace(phrase, "")
    return text


def _asked_for(text: str, view: PatientView, lexicon: Lexicon) -> set[str]:
    return {
        fact.id
        for question in questions_of(text, lexicon)
        for fact in relevant(question, view.facts, lexicon)
    }


def _held(view: PatientView, lexicon: Lexicon) -> tuple[set[str], set[str]]:
    """Concepts that the case asserts, and those that it denies."""
    asserted, denied = set(lexicon.concept_terms(f"{view.chief_complaint} {view.belief or ''}")), set[str]()
    for fact in view.facts:
        for sentence in [*sentences(fact.text), *sentences(fact.mistaken or "")]:
            side = denied if lexicon.denies(sentence) or fact.category == "negative" else asserted
            side |= lexicon.concept_terms(sentence)
    return asserted, denied


def per_100_turns(violations: Sequence[Violation], patient_turns: int) -> dict[str, float]:
    """Violations of each kind per 100 patient turns; NaN without turns."""
    counts = {kind: sum(v.kind == kind for v in violations) for kind in KINDS}
    return {kind: 100 * n / patient_turns if patient_turns else float("nan") for kind, n in counts.items()}
