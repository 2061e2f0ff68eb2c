"""What stands in the records of one dialogue: item scores with their evidence, and how it went."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.chat import added
from medeval.dialogue.diagnosis_judge import Differential
from medeval.dialogue.guards import KINDS, inspect
from medeval.dialogue.ledger import ledger
from medeval.dialogue.panel import Panelled
from medeval.dialogue.ratings import Rating, Sheet
from medeval.dialogue.rubric import CriteriaRubric, ItemRubric
from medeval.dialogue.scoring import Scores, scored
from medeval.dialogue.turns import Dialogue
from medeval.metrics.rubric import RubricScore

TOTAL, TOP_1, TOP_3 = "total", "top-1", "top-3"
COLUMNS: Mapping[str, str] = {
    "raw": "double",  # on the item's own scale
    "evidence": "string",  # JSON: [{turn, quote, found}]
    "judges": "string",  # JSON: [{judge, score, na, error}]
    "spread": "double",  # highest minus lowest judge
    "unsupported": "int32",  # pieces of evidence that are not in the dialogue
    "stop": "string",
    "doctor_turns": "int32",
    "patient_turns": "int32",
    "rank": "int32",
    "diagnoses": "string",  # JSON list, ranked
    "verdicts": "string",  # JSON: [{answer, verdict, by}], what each diagnosis is to the reference and what decided
    "decided_by": "string",  # of the rank: name, synonym or judge
    "words": "int32",  # that the doctor said
    "coverage": "double",
    "opening_disclosure": "double",
    "redundancy": "double",
    "not_available": "int32",
    **dict.fromkeys(KINDS, "int32"),  # the patient's violations
    "violations": "string",  # JSON: [[turn, kind, what]]
    "suspicious": "int32",  # doctor turns that look like orders to the judge
    "tokens": "int64",  # the doctor's, in and out
    "cost": "double",  # the doctor's, where the price is known
    "evaluator_tokens": "int64",  # patient, measurement and judges
    "transcript": "string",  # JSON: [[number, speaker, text]]
}
Found = tuple[RubricScore | None, dict[str, Any]]


def records_of(
    dialogue: Dialogue,
    case: PatientCase,
    outcomes: Sequence[Panelled],
    sheets: Sequence[Sheet],
    rubric: ItemRubric | CriteriaRubric,
    named: Differential,
) -> dict[str, Found]:
    """Structure -> its score (None: a judge failed, the columns say why) and its columns."""
    scores = scored(outcomes, rubric.for_case(case))
    found: dict[str, Found] = {o.item: (_item(o, scores), _columns(o)) for o in outcomes}
    if isinstance(rubric, ItemRubric):
        for name in rubric.dimension_ids:
            members = [item.id for item in rubric.items if item.dimension == name]
            found[f"dimension {name}"] = _group(scores.dimensions.get(name), members, scores)
    score, why = _group(scores.total, list(scores.failed) or list(scores.na), scores)
    found[TOTAL] = score, {**why, **conduct(dialogue, case, sheets, named)}
    for name, most in ((TOP_1, 1), (TOP_3, 3)):
        found[name] = _top(named, most)
    return found


def _top(named: Differential, most: int) -> Found:
    """Whether the reference is among the first; missing where only a judge that failed could have told."""
    inside = named.within(most)
    columns = {"rank": named.rank, "decided_by": named.decided_by}
    if inside is None:
        return None, {**columns, "error": named.error}
    return RubricScore(float(inside)), columns


def conduct(
    dialogue: Dialogue, case: PatientCase, sheets: Sequence[Sheet], named: Differential
) -> dict[str, Any]:
    """The dialogue's own columns, on the record of its total."""
    book, violations, usage = ledger(dialogue, case), inspect(dialogue, case), dialogue.usage()
    spent = dict(named.usage)
    for sheet in sheets:
        spent = added(spent, sheet.usage)
    told = {
        f"{who}.{what}": usage.get(f"{who}.{what}", 0)
        for who in ("patient", "examiner")
        for what in ("input", "output")
    }
    return {
        "stop": dialogue.stop,
        "doctor_turns": len(dialogue.of("doctor")),
        "patient_turns": len(dialogue.of("patient")),
        "rank": named.rank,
        "decided_by": named.decided_by,
        "diagnoses": json.dumps(dialogue.diagnoses, ensure_ascii=False),
        "verdicts": json.dumps(named.to_plain(), ensure_ascii=False),
        "words": sum(len(turn.text.split()) for turn in dialogue.of("doctor")),
        "coverage": _number(book.coverage),
        "opening_disclosure": _number(book.opening),
        "redundancy": _number(book.redundancy),
        "not_available": book.not_available,
        **{kind: sum(v.kind == kind for v in violations) for kind in KINDS},
        "violations": json.dumps([[v.turn, v.kind, v.what] for v in violations], ensure_ascii=False),
        "suspicious": len(
            {flag for sheet in sheets for flag in sheet.flags if flag.startswith("suspicious")}
        ),
        "tokens": int(usage.get("doctor.input", 0) + usage.get("doctor.output", 0)),
        "cost": usage.get("doctor.cost"),
        "evaluator_tokens": int(sum(told.values()) + spent.get("input", 0) + spent.get("output", 0)),
        "transcript": json.dumps([[t.number, t.speaker, t.text] for t in dialogue.turns], ensure_ascii=False),
    }


def worst_of(rubric: ItemRubric | CriteriaRubric, case: PatientCase, structure: str) -> float:
    """The worst score of a structure: 0, but for the total of signed criteria, which negative ones take below it."""
    if isinstance(rubric, ItemRubric) or structure != TOTAL:
        return 0.0
    points = [criterion.points for criterion in rubric.for_case(case).criteria]
    possible = sum(p for p in points if p > 0)
    return sum(p for p in points if p < 0) / possible if possible else 0.0


def _item(outcome: Panelled, scores: Scores) -> RubricScore | None:
    if outcome.error:
        return None
    return RubricScore(scores.items.get(outcome.item), scores.na.get(outcome.item, ""))


def _group(value: float | None, members: Sequence[str], scores: Scores) -> Found:
    """A mean over items: missing when one of them failed, undefined when none applies."""
    failed = [name for name in members if name in scores.failed]
    if value is None and failed:
        return None, {"error": f"item {failed[0]}: {scores.failed[failed[0]]}"}
    return RubricScore(value, "" if value is not None else "no item applies"), {}


def _columns(outcome: Panelled) -> dict[str, Any]:
    judges = [_rating(rating) for rating in outcome.ratings]
    pieces = [piece for rating in outcome.ratings for piece in rating.evidence]
    evidence = list(dict.fromkeys((p.turn, p.quote, p.found) for p in pieces))
    plain = [dict(zip(("turn", "quote", "found"), piece, strict=True)) for piece in evidence]
    return {
        "raw": outcome.score,
        "evidence": json.dumps(plain, ensure_ascii=False),
        "judges": json.dumps(judges, ensure_ascii=False),
        "spread": outcome.spread if len(outcome.ratings) > 1 else None,
        "unsupported": sum(not piece.found for piece in pieces),
        **({"error": outcome.error} if outcome.error else {}),
    }


def _rating(rating: Rating) -> dict[str, Any]:
    """One judge's rating of the item: JSON types, empty ones left out."""
    told = {"judge": rating.judge, "score": rating.score, "na": rating.na, "error": rating.error,
            "evidence": len(rating.evidence), "unsupported": rating.unsupported}  # fmt: skip
    return {name: value for name, value in told.items() if (name == "score" and value is not None) or value}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
