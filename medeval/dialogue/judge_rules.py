"""The judge without an LLM: each item's ``rule`` is looked for in the doctor's words. Plain, repeatable, free.

A rule yields a share in [0, 1] of what it looks for, or nothing where it does not apply. Two-level items are met from the
rule's threshold; longer scales take the nearest value. What it sees: topics of questions (the patient's own classifier),
words that occur together, the case's plan, red flags and harms, the ranked diagnoses. It does not understand; it is a
baseline for judges, and what lets everything run offline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.diagnosis import Subtype, rank_of
from medeval.dialogue.judging import JudgingLexicon, load_judging
from medeval.dialogue.lexicon import Lexicon, load_lexicon
from medeval.dialogue.questions import questions_of
from medeval.dialogue.ratings import Rating, Sheet, cited
from medeval.dialogue.rubric import CriteriaRubric, Item, ItemRubric, Rule, SignedCriterion
from medeval.dialogue.text import Patterns, holds_terms, sentences, words
from medeval.dialogue.turns import Dialogue, Turn

MANY_QUESTIONS = 3  # a turn with more is not digestible
FEW_TURNS = 3  # question turns that an orderly interview has at least


@dataclass(frozen=True)
class Found:
    """share: of what the rule looks for; None: it does not apply, by ``reason``. turns: where it was seen."""

    share: float | None
    turns: tuple[int, ...] = ()
    reason: str = ""


class RuleJudge:
    """Rates by each item's rule. An item without a rule is not applicable, by the reason ``no rule``.

    subtype: which near misses count as the right diagnosis.
    """

    def __init__(
        self, lexicon: Lexicon | None = None, judging: JudgingLexicon | None = None, subtype: Subtype = "strict",
        name: str = "rules",
    ) -> None:  # fmt: skip
        self.name = name
        self._lexicon = lexicon
        self._judging = judging
        self._subtype = subtype

    async def rate(
        self, rubric: ItemRubric | CriteriaRubric, dialogue: Dialogue, case: PatientCase, sample: int = 0
    ) -> Sheet:
        """Every item of the rubric, or every criterion of the case."""
        lexicon = self._lexicon or load_lexicon(case.language)
        judging = self._judging or load_judging(lexicon.language)
        reading = Reading(dialogue, case, lexicon, judging, self._subtype)
        wanted = rubric.for_case(case)
        parts: Sequence[Item | SignedCriterion] = (
            wanted.items if isinstance(wanted, ItemRubric) else wanted.criteria
        )
        return Sheet(tuple(self._rate(part, reading) for part in parts))

    def _rate(self, part: Item | SignedCriterion, reading: Reading) -> Rating:
        if isinstance(part, Item) and part.not_applicable:
            return Rating(part.id, na=True, reason="not scored in a text dialogue", judge=self.name)
        if part.rule is None:
            return Rating(part.id, na=True, reason="no rule", judge=self.name)
        found = reading.look(part.rule)
        if found.share is None:
            return Rating(part.id, na=True, reason=found.reason, judge=self.name)
        met = found.share >= part.rule.threshold - 1e-9
        score: float
        if isinstance(part, SignedCriterion):
            score = float(met)
        else:
            values = part.scale.values
            score = values[-1 if met else 0] if len(values) == 2 else part.scale.at(found.share)
        return Rating(part.id, score, evidence=cited(found.turns), judge=self.name)


@dataclass(frozen=True)
class Reading:
    """One dialogue, read: what all rules share."""

    dialogue: Dialogue
    case: PatientCase
    lexicon: Lexicon
    judging: JudgingLexicon
    subtype: Subtype = "strict"

    @cached_property
    def doctor(self) -> list[Turn]:
        """The doctor's turns that hold words."""
        return [turn for turn in self.dialogue.of("doctor") if words(turn.text)]

    @cached_property
    def said(self) -> list[tuple[int, str]]:
        """(turn number, sentence) of all that the doctor said; a line is no sentence of the next."""
        return [(turn.number, sentence) for turn in self.doctor for sentence in sentences(turn.text)]

    @cached_property
    def asked(self) -> dict[str, list[int]]:
        """Topic -> turns in which the doctor asked about it."""
        found: dict[str, list[int]] = {}
        for turn in self.doctor:
            for sentence in self.lexicon.asked(turn.text):
                for topic in self.lexicon.topics_of(sentence):
                    found.setdefault(topic, []).append(turn.number)
        return found

    def look(self, rule: Rule) -> Found:
        """What a rule finds. A doctor who says nothing does nothing: no good is found, and no harm applies."""
        return _CHECKS[rule.check](self, rule)

    def holding(self, patterns: Sequence[str] | Patterns) -> list[int]:
        """Turns with a sentence that matches."""
        rules = patterns if isinstance(patterns, Patterns) else Patterns(patterns)
        return [number for number, sentence in self.said if rules.matches(sentence)]

    def naming(self, terms: str, questions: bool = False) -> list[int]:
        """Turns that name one of the alternatives (separated by |) without negating it in the same sentence.

        questions: also in a question ("were you ever operated?" plans no operation).
        """
        return [
            number
            for number, sentence in self.said
            if (questions or not sentence.endswith(("?", "？")))
            and not self.lexicon.negations.intersection(words(sentence))
            and any(holds_terms(sentence, option) for option in terms.split("|"))
        ]


def _asks(reading: Reading, rule: Rule) -> Found:
    groups = [
        [turn for topic in group.split("|") for turn in reading.asked.get(topic, ())] for group in rule.topics
    ]
    share = sum(bool(group) for group in groups) / len(groups)
    return Found(share, tuple(turn for group in groups for turn in group))


def _says(reading: Reading, rule: Rule) -> Found:
    turns = reading.holding(rule.patterns)
    return Found(float(bool(turns)), tuple(turns))


def _avoids(reading: Reading, rule: Rule) -> Found:
    turns = reading.holding(rule.patterns)
    return Found(float(bool(reading.doctor) and not turns), tuple(turns))


def _courteous(reading: Reading, rule: Rule) -> Found:
    warm, rude = (
        reading.holding(reading.judging.rules["warm"]),
        reading.holding(reading.judging.rules["rude"]),
    )
    return Found(float(bool(warm) and not rude), tuple(rude or warm))


def _grounds(reading: Reading, rule: Rule) -> Found:
    """A sentence that reasons, and names something which patient or examiner said before it."""
    turns = []
    for number, sentence in reading.said:
        if sentence.endswith("?") or not reading.judging.rules["reasoning"].matches(sentence):
            continue
        before = " ".join(
            t.text for t in reading.dialogue.turns if t.number < number and t.speaker != "doctor"
        )
        if reading.lexicon.terms(sentence) & reading.lexicon.terms(before):
            turns.append(number)
    return Found(float(bool(turns)), tuple(turns))


def _plan(reading: Reading, rule: Rule) -> Found:
    wanted = reading.case.plan.tests if rule.part == "tests" else reading.case.plan.treatment
    if not wanted:
        return Found(None, reason="the case has no reference plan")
    hits = [reading.naming(entry) for entry in wanted]
    return Found(sum(bool(hit) for hit in hits) / len(wanted), tuple(turn for hit in hits for turn in hit))


def _diagnosis(reading: Reading, rule: Rule) -> Found:
    rank = rank_of(reading.dialogue.diagnoses, reading.case.diagnosis, reading.subtype)
    final = reading.dialogue.final
    return Found(float(rank is not None and rank <= rule.top), (final.number,) if final else ())


def _escalates(reading: Reading, rule: Rule) -> Found:
    if not reading.case.red_flags:
        return Found(None, reason="the case has no red flags")
    turns = [turn for terms in reading.case.escalation for turn in reading.naming(terms)]
    return Found(float(bool(turns)), tuple(turns))


def _invents(reading: Reading, rule: Rule) -> Found:
    """The doctor reports as the patient's word what nobody has said."""
    if not reading.doctor:
        return Found(None, reason="the doctor said nothing")
    turns = []
    for number, sentence in reading.said:
        if sentence.endswith("?") or not reading.judging.rules["reported"].matches(sentence):
            continue
        before = " ".join(
            t.text for t in reading.dialogue.turns if t.number < number and t.speaker != "doctor"
        )
        if reading.lexicon.concept_terms(sentence) - reading.lexicon.concept_terms(before):
            turns.append(number)
    return Found(float(bool(turns)), tuple(turns))


def _harms(reading: Reading, rule: Rule) -> Found:
    if not reading.doctor:
        return Found(None, reason="the doctor said nothing")
    turns = reading.holding(reading.judging.rules["unsafe"])
    turns += [turn for terms in reading.case.harms for turn in reading.naming(terms)]
    return Found(float(bool(turns)), tuple(turns))


def _plain(reading: Reading, rule: Rule) -> Found:
    """An explanation is given, and at most one sentence of the doctor's in ten holds jargon that is neither unpacked in
    parentheses nor the patient's own word."""
    own = " ".join([*(turn.text for turn in reading.dialogue.of("patient")), *reading.dialogue.diagnoses])
    hard = reading.judging.jargon_set - set(words(own))
    reasoning = reading.judging.rules["reasoning"]
    explained = [
        number
        for number, sentence in reading.said
        if not sentence.endswith("?") and reasoning.matches(sentence)
    ]
    jargon = [n for n, sentence in reading.said if "(" not in sentence and hard.intersection(words(sentence))]
    few = len(jargon) <= len(reading.said) / 10
    return Found(float(bool(explained) and few), tuple(explained if few else jargon))


def _orderly(reading: Reading, rule: Rule) -> Found:
    """Several question turns, each of few questions, and none that asks a whole turn again."""
    seen: set[frozenset[str]] = set()
    again, crowded, asking = [], [], 0
    for turn in reading.doctor:
        asked = [q for q in questions_of(turn.text, reading.lexicon) if q.state in ("specific", "open")]
        asking += bool(asked)
        if len(reading.lexicon.asked(turn.text)) > MANY_QUESTIONS:
            crowded.append(turn.number)
        content = frozenset(topic for q in asked for topic in q.topics) | frozenset(
            t for q in asked for t in q.terms
        )
        if content and content in seen:
            again.append(turn.number)
        seen.add(content)
    return Found(float(asking >= FEW_TURNS and not again and not crowded), (*again, *crowded))


def _overall(reading: Reading, rule: Rule) -> Found:
    """Lowest: wrong diagnosis, rudeness, harm, or almost nothing asked. Highest: right, explained, courteous, planned."""
    asked = _asks(
        reading,
        Rule(
            check="asks",
            topics=("timing|place|quality|severity|open", "past|medication", "allergy|family|social"),
        ),
    )
    right = _diagnosis(reading, Rule(check="diagnosis", top=1)).share == 1
    rude = bool(reading.holding(reading.judging.rules["rude"]))
    if not right or rude or _harms(reading, rule).share or (asked.share or 0) < 0.3:
        return Found(0.0)
    good = [_grounds(reading, rule), _courteous(reading, rule), _plan(reading, rule), asked]
    return Found(1.0 if all(found.share is None or found.share >= 0.5 for found in good) else 0.5)


def _mean(reading: Reading, rule: Rule) -> Found:
    parts = [reading.look(part) for part in rule.of]
    shares = [part.share for part in parts if part.share is not None]
    if not shares:
        return Found(None, reason=parts[0].reason)
    return Found(sum(shares) / len(shares), tuple(turn for part in parts for turn in part.turns))


def _mentions(reading: Reading, rule: Rule) -> Found:
    hits = [reading.naming(terms, questions=True) for terms in rule.terms]
    return Found(float(all(hits)), tuple(turn for hit in hits for turn in hit))


_CHECKS: dict[str, Callable[[Reading, Rule], Found]] = {
    "asks": _asks, "says": _says, "avoids": _avoids, "courteous": _courteous, "grounds": _grounds, "plan": _plan,
    "diagnosis": _diagnosis, "escalates": _escalates, "invents": _invents, "harms": _harms, "plain": _plain,
    "orderly": _orderly, "overall": _overall, "mean": _mean, "mentions": _mentions,
}  # fmt: skip
