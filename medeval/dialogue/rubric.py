"""Rubrics as data: items with scale, anchors, polarity and weight, or signed criteria as HealthBench has them. YAML files.

Packaged: ``mini-cex-llm`` (the eight items that are public), ``mini-cex-llm-extended`` (with ours, marked as ours),
``mini-cex-abim`` (the clinical form of 1-9) and ``case-criteria`` (each case's own signed criteria).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.files import DialogueFileError, checked, find, packaged, read_yaml
from medeval.dialogue.text import Patterns
from medeval.types.errors import nearest

Check = Literal[
    "asks", "says", "avoids", "courteous", "grounds", "plan", "diagnosis", "escalates", "invents", "harms", "plain",
    "orderly", "overall", "mean", "mentions",
]  # fmt: skip


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Rule(_Data):
    """How the rule-based judge scores an item; see ``medeval.dialogue.judge_rules``.

    check: what is looked for. topics: of ``asks``; alternatives by |. patterns: of ``says`` and ``avoids``. terms: of
    ``mentions``. part: of ``plan``. top: of ``diagnosis``. of: rules that ``mean`` averages. threshold: share from which a
    two-level item is met.
    """

    check: Check
    topics: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    part: Literal["tests", "treatment"] = "tests"
    top: int = Field(default=1, ge=1, le=10)
    of: tuple[Rule, ...] = ()
    threshold: float = Field(default=0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        needed = {
            "asks": "topics",
            "says": "patterns",
            "avoids": "patterns",
            "mean": "of",
            "mentions": "terms",
        }
        name = needed.get(self.check)
        if name and not getattr(self, name):
            raise ValueError(f"check `{self.check}` needs `{name}`")
        Patterns(self.patterns)
        return self


class Scale(_Data):
    """Ordered values, lowest first."""

    values: tuple[int, ...] = Field(min_length=2)
    labels: dict[int, str] = Field(default_factory=dict)
    not_applicable: bool = True

    @field_validator("values")
    @classmethod
    def _ordered(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError(f"values must rise, each once; got {list(values)}")
        return values

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if unknown := sorted(set(self.labels) - set(self.values)):
            raise ValueError(f"labels for {unknown}, which are no values of the scale")
        return self

    def unit(self, score: float) -> float:
        """A score in [0, 1]: (score - lowest) / (highest - lowest)."""
        return (score - self.values[0]) / (self.values[-1] - self.values[0])

    def at(self, share: float) -> int:
        """The value that lies at a share of the scale."""
        return self.values[round(min(max(share, 0.0), 1.0) * (len(self.values) - 1))]


SCALES = {
    "binary": Scale(values=(0, 1), labels={0: "no", 1: "yes"}),
    "competence3": Scale(
        values=(0, 1, 2), labels={0: "unsatisfactory", 1: "satisfactory", 2: "excellent"}, not_applicable=False
    ),
    "nine": Scale(values=tuple(range(1, 10)), labels={1: "unsatisfactory (1-3)", 5: "satisfactory (4-6; 4 is marginal)", 9: "superior (7-9)"}),
}  # fmt: skip


class Dimension(_Data):
    """A group of items that is scored apart."""

    id: str
    title: str = ""


class Item(_Data):
    """One question about the dialogue.

    polarity: -1 where a high score is bad. anchors: what a value looks like. needs_reference: the judge is shown the
    diagnosis for it; for all other items it is not. provenance: whose item it is.
    """

    id: str = Field(min_length=1)
    dimension: str
    title: str = Field(min_length=1)
    description: str = ""
    scale: Scale = SCALES["binary"]
    polarity: Literal[1, -1] = 1
    weight: float = Field(1.0, gt=0)
    anchors: dict[int, str] = Field(default_factory=dict)
    provenance: str = "ours"
    after: str = ""
    needs_reference: bool = False
    not_applicable: bool = Field(
        False, description="Never scored in a text dialogue unless examinations are answered."
    )
    rule: Rule | None = None

    @field_validator("id", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        """YAML reads ``1.1`` as a number."""
        return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given

    @field_validator("scale", mode="before")
    @classmethod
    def _named(cls, given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, str):
            known = {**SCALES, **((info.context or {}).get("scales") or {})}
            if given not in known:
                raise ValueError(f"unknown scale {given!r}; {nearest(given, known)}; or a list of values")
            return known[given]
        return {"values": given} if isinstance(given, list) else given

    @model_validator(mode="after")
    def _anchors_fit(self) -> Self:
        if unknown := sorted(set(self.anchors) - set(self.scale.values)):
            raise ValueError(
                f"anchors for {unknown}, which are no values of its scale {list(self.scale.values)}"
            )
        return self

    def unit(self, score: float) -> float:
        """A score in [0, 1], 1 the best whatever the polarity."""
        share = self.scale.unit(score)
        return share if self.polarity == 1 else 1 - share


class ItemRubric(_Data):
    """A rubric of items on scales."""

    kind: Literal["items"] = "items"
    name: str = Field(min_length=1)
    title: str = ""
    sources: tuple[str, ...] = ()
    note: str = ""
    scales: dict[str, Scale] = Field(default_factory=dict)
    dimensions: tuple[Dimension, ...] = ()
    items: tuple[Item, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        _each_once([item.id for item in self.items], "item id")
        known = [dimension.id for dimension in self.dimensions]
        for item in self.items:
            if known and item.dimension not in known:
                raise ValueError(
                    f"item {item.id!r}: unknown dimension {item.dimension!r}; {nearest(item.dimension, known)}"
                )
        return self

    @cached_property
    def by_id(self) -> dict[str, Item]:
        """id -> item."""
        return {item.id: item for item in self.items}

    @property
    def dimension_ids(self) -> tuple[str, ...]:
        """Dimensions in order: as declared, else as they appear."""
        return tuple(d.id for d in self.dimensions) or tuple(
            dict.fromkeys(item.dimension for item in self.items)
        )

    def for_case(self, case: PatientCase) -> ItemRubric:
        """The rubric of a case: the same for all."""
        return self


class SignedCriterion(_Data):
    """One criterion that is met or not; met negative ones subtract."""

    id: str = ""
    text: str = Field(min_length=1)
    points: float
    tags: tuple[str, ...] = ()
    rule: Rule | None = None

    @field_validator("id", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given

    @field_validator("points")
    @classmethod
    def _counts(cls, points: float) -> float:
        if points == 0:
            raise ValueError("a criterion of 0 points counts for nothing")
        return points


class CriteriaRubric(_Data):
    """A rubric of signed criteria (HealthBench, arXiv 2505.08775). from_case: each case's own criteria are added."""

    kind: Literal["criteria"]
    name: str = Field(min_length=1)
    title: str = ""
    sources: tuple[str, ...] = ()
    note: str = ""
    criteria: tuple[SignedCriterion, ...] = ()
    from_case: bool = False

    @field_validator("criteria")
    @classmethod
    def _number(cls, criteria: tuple[SignedCriterion, ...]) -> tuple[SignedCriterion, ...]:
        return tuple(
            c if c.id else c.model_copy(update={"id": f"c{n}"}) for n, c in enumerate(criteria, start=1)
        )

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        _each_once([criterion.id for criterion in self.criteria], "criterion id")
        if not self.criteria and not self.from_case:
            raise ValueError("needs `criteria`, or `from_case: true`")
        if self.criteria and not self.from_case and not any(c.points > 0 for c in self.criteria):
            raise ValueError(
                "needs at least one criterion with positive points: the score is a share of them"
            )
        return self

    def for_case(self, case: PatientCase) -> CriteriaRubric:
        """The rubric with the case's own criteria."""
        if not self.from_case:
            return self
        own = tuple(
            SignedCriterion(
                id=f"case.{number}",
                text=c.text,
                points=c.points,
                tags=c.tags,
                rule=Rule(check="mentions", terms=c.mentions) if c.mentions else None,
            )
            for number, c in enumerate(case.criteria, start=1)
        )
        return self.model_copy(update={"criteria": (*self.criteria, *own)})


Rubric = Annotated[ItemRubric | CriteriaRubric, Field(discriminator="kind")]
AnyRubric: TypeAdapter[ItemRubric | CriteriaRubric] = TypeAdapter(Rubric)


def _each_once(names: list[str], what: str) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{what} {twice!r} occurs twice")


def rubric_names() -> tuple[str, ...]:
    """Names of the packaged rubrics."""
    return tuple(packaged("rubrics", ".yaml"))


def load_rubric(name: str | Path, base: Path | None = None) -> ItemRubric | CriteriaRubric:
    """A packaged rubric by name, or a user's YAML file by path. A rubric may ``extends: NAME`` another and add items.

    Raises ``DialogueFileError`` with file, key and what would be right.
    """
    source = find(name, "rubrics", ".yaml", "rubric", base)
    given = read_yaml(source)
    if "extends" in given:
        given = _extended(given, base, str(source))
    kind = given.get("kind", "items")
    if kind not in ("items", "criteria"):
        raise DialogueFileError(f"{source}: kind: unknown kind {kind!r}; known: items, criteria")
    if kind == "criteria":
        return checked(CriteriaRubric, given, str(source))
    scales = given.get("scales") or {}
    if not isinstance(scales, dict):
        raise DialogueFileError(f"{source}: scales: a mapping of names to {{values: [...]}} is expected")
    given["scales"] = {
        key: value if isinstance(value, dict) else {"values": value} for key, value in scales.items()
    }
    named = {key: checked(Scale, value, f"{source}: scales.{key}") for key, value in given["scales"].items()}
    return checked(ItemRubric, given, str(source), {"scales": named})


def _extended(given: dict[str, Any], base: Path | None, where: str) -> dict[str, Any]:
    """The file's keys over those of the rubric that it extends; items are appended, and replace those of the same id."""
    parent = load_rubric(str(given["extends"]), base)
    if not isinstance(parent, ItemRubric) or given.get("kind", "items") != "items":
        raise DialogueFileError(f"{where}: extends: only rubrics of items can be extended")
    old = parent.model_dump(mode="json", exclude={"kind"})
    new = {str(item.get("id")) for item in given.get("items") or [] if isinstance(item, dict)}
    kept = [item for item in old["items"] if item["id"] not in new]
    known = {d["id"] for d in old["dimensions"]}
    more = [d for d in given.get("dimensions") or [] if isinstance(d, dict) and d.get("id") not in known]
    own = {key: value for key, value in given.items() if key not in ("extends", "items", "dimensions")}
    return {
        **old,
        **own,
        "items": [*kept, *(given.get("items") or [])],
        "dimensions": [*old["dimensions"], *more],
    }
