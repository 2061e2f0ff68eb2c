"""A patient's case, and the parts of it that each role may see: by type, so that no diagnosis can reach the patient."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medeval.dialogue.files import DialogueFileError, checked, parsed_json, read_text
from medeval.dialogue.text import holds_phrase
from medeval.types.errors import nearest

Category = Literal[
    "present", "past", "medication", "allergy", "family", "social", "review", "negative", "wish"
]
CATEGORIES: tuple[Category, ...] = (
    "present", "past", "medication", "allergy", "family", "social", "review", "negative", "wish",
)  # fmt: skip
TRAITS = ("anxious", "terse", "rambling", "mistaken", "biased")
Trait = Literal["anxious", "terse", "rambling", "mistaken", "biased"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Fact(_Data):
    """One thing that the patient knows and tells when asked."""

    id: str = ""
    text: str = Field(min_length=1, description="In the patient's own words, one statement.")
    category: Category
    keywords: tuple[str, ...] = Field((), description="Further words that a question about it may hold.")
    weight: float = Field(1.0, gt=0, description="Its weight in coverage.")
    mistaken: str | None = Field(None, description="What a patient with the trait `mistaken` says first.")


class Finding(_Data):
    """What an examination or a test shows."""

    result: str = Field(min_length=1)
    also: tuple[str, ...] = Field((), description="Other names of the examination or test.")


class Diagnosis(_Data):
    """The reference diagnosis. accepted: differentials that count as right. broader: terms that are too vague."""

    name: str = Field(min_length=1)
    also: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name and its synonyms."""
        return (self.name, *self.also)


class Criterion(_Data):
    """A case's own signed criterion, as HealthBench has them; a negative one is met when what it says is present."""

    text: str = Field(min_length=1)
    points: float = Field(ge=-100, le=100)
    tags: tuple[str, ...] = ()
    mentions: tuple[str, ...] = Field(
        (), description="Terms, alternatives by |, all of which the doctor names: for the rule-based judge."
    )

    @field_validator("points")
    @classmethod
    def _counts(cls, points: float) -> float:
        if points == 0:
            raise ValueError("a criterion of 0 points counts for nothing")
        return points


class Plan(_Data):
    """What should be done. Each entry is one measure; alternatives are separated by |."""

    tests: tuple[str, ...] = ()
    treatment: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatientView:
    """All that a simulated patient is given. No diagnosis, no results, no plan, no criteria."""

    id: str
    language: str
    demographics: str
    chief_complaint: str
    facts: tuple[Fact, ...]
    traits: tuple[str, ...]
    belief: str | None
    literacy: str
    persona: str


@dataclass(frozen=True)
class MeasurementView:
    """All that the measurement agent is given: examinations and tests with their results."""

    id: str
    language: str
    examination: Mapping[str, Finding]
    tests: Mapping[str, Finding]


class PatientCase(_Data):
    """One case of a diagnostic dialogue."""

    id: str = Field(min_length=1)
    patient: str | None = Field(None, description="Whose case it is; default: a patient of its own.")
    source: str = Field("", description="Where the case is from.")
    language: str = Field("en", description="A packaged lexicon's name, or the path of one.")
    objective: str = Field("", description="One line that the doctor is given; must not hold the diagnosis.")
    demographics: str = Field("", description="Age and sex, as the doctor is told.")
    chief_complaint: str = Field(min_length=1, description="The only thing that is said unasked.")
    facts: tuple[Fact, ...]
    examination: dict[str, Finding] = Field(default_factory=dict)
    tests: dict[str, Finding] = Field(default_factory=dict)
    diagnosis: Diagnosis
    plan: Plan = Plan()
    red_flags: tuple[str, ...] = Field((), description="Why this patient must not wait.")
    escalation: tuple[str, ...] = Field(
        (), description="Terms for the right level of care, alternatives by |."
    )
    harms: tuple[str, ...] = Field((), description="What would harm this patient; alternatives by |.")
    criteria: tuple[Criterion, ...] = ()
    traits: tuple[Trait, ...] = ()
    belief: str | None = Field(
        None, description="What a patient with the trait `biased` fears to have; never the diagnosis."
    )
    literacy: Literal["low", "average", "high"] = "average"
    persona: str = ""
    withheld: tuple[str, ...] = Field((), description="Statements left out because they name the diagnosis.")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        """Facts by category, findings and the diagnosis as plain text."""
        if not isinstance(given, dict):
            return given
        given = dict(given)
        if isinstance(given.get("facts"), dict):
            given["facts"] = list(_by_category(given["facts"]))
        for part in ("examination", "tests"):
            if isinstance(given.get(part), dict):
                given[part] = {n: {"result": v} if isinstance(v, str) else v for n, v in given[part].items()}
        if isinstance(given.get("diagnosis"), str):
            given["diagnosis"] = {"name": given["diagnosis"]}
        return given

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        ids = [fact.id for fact in self.facts]
        if len(set(ids)) != len(ids):
            raise ValueError(f"fact id {next(i for i in ids if ids.count(i) > 1)!r} occurs twice")
        for where, text in [("chief_complaint", self.chief_complaint), ("objective", self.objective),
                            ("belief", self.belief or ""), ("persona", self.persona)]:  # fmt: skip
            if named := self.named_in(text):
                raise ValueError(
                    f"{where} names the diagnosis ({named!r}); the dialogue would be over before it began"
                )
        if "biased" in self.traits and not self.belief:
            raise ValueError("the trait `biased` needs a `belief`")
        return self

    @field_validator("facts")
    @classmethod
    def _number(cls, facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
        counts: dict[str, int] = {}
        numbered = []
        for fact in facts:
            counts[fact.category] = counts.get(fact.category, 0) + 1
            name = fact.id or f"{fact.category}.{counts[fact.category]}"
            numbered.append(fact.model_copy(update={"id": name}))
        return tuple(numbered)

    def named_in(self, text: str) -> str | None:
        """The diagnosis or synonym that a text holds as a phrase, or None."""
        return next((name for name in self.diagnosis.names if holds_phrase(text, name)), None)

    @cached_property
    def patient_view(self) -> PatientView:
        """What the patient is given; a fact that names the diagnosis is left out (it stands in ``hidden``)."""
        facts = tuple(
            Fact(
                **{
                    **fact.model_dump(),
                    "mistaken": None if fact.mistaken and self.named_in(fact.mistaken) else fact.mistaken,
                }
            )
            for fact in self.facts
            if fact.id not in self.hidden
        )
        return PatientView(
            self.id, self.language, self.demographics, self.chief_complaint, facts, self.traits, self.belief,
            self.literacy, self.persona,
        )  # fmt: skip

    @cached_property
    def hidden(self) -> frozenset[str]:
        """Ids of the facts that name the diagnosis."""
        return frozenset(
            f.id for f in self.facts if self.named_in(f.text) or any(map(self.named_in, f.keywords))
        )

    @cached_property
    def measurement_view(self) -> MeasurementView:
        """What the measurement agent is given."""
        return MeasurementView(self.id, self.language, self.examination, self.tests)


def _by_category(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for category, entries in facts.items():
        if category not in CATEGORIES:
            raise ValueError(f"facts.{category}: unknown category; {nearest(str(category), CATEGORIES)}")
        for entry in entries if isinstance(entries, list) else [entries]:
            yield {"category": category, **({"text": entry} if isinstance(entry, str) else entry)}


def load_cases(path: Path) -> tuple[PatientCase, ...]:
    """Cases of a file: our JSON (one case, or a list), our JSON lines, or AgentClinic's JSON lines; or of a folder of them.

    Raises ``DialogueFileError`` naming file, line or position, key and what would be right.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in (".json", ".jsonl"))
        cases = tuple(case for file in files for case in load_cases(file))
        if not files:
            raise DialogueFileError(f"{path}: no .json or .jsonl file in this folder")
    else:
        cases = tuple(_case(entry, where, path) for entry, where in _entries(path))
    ids = [case.id for case in cases]
    for name in ids:
        if ids.count(name) > 1:
            raise DialogueFileError(f"{path}: case id {name!r} occurs more than once")
    return cases


def _entries(path: Path) -> Iterator[tuple[Any, str]]:
    text = read_text(path)
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield parsed_json(line, f"{path}:{number}"), f"{path}:{number}"
        return
    found = parsed_json(text, str(path))
    for position, entry in enumerate(found if isinstance(found, list) else [found], start=1):
        yield entry, f"{path}, case {position}"


def _case(entry: Any, where: str, path: Path) -> PatientCase:
    from medeval.dialogue.agentclinic import as_case, is_agentclinic

    if is_agentclinic(entry):
        number = where.rpartition(":")[2] if path.suffix == ".jsonl" else where.rpartition(" ")[2]
        entry = as_case(entry, f"agentclinic-{int(number):04d}", where)
    return checked(PatientCase, entry, where)


def as_json(case: PatientCase) -> str:
    """The case as one line of our JSON, defaults left out."""
    return json.dumps(case.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
