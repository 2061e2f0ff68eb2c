"""HealthBench's lines as they are (arXiv 2505.08775): a conversation, signed criteria with tags, physicians' completions.

    {"prompt_id": "...", "prompt": [{"role": "user", "content": "..."}], "example_tags": ["theme:hedging"],
     "rubrics": [{"criterion": "...", "points": 5, "tags": ["axis:accuracy"]}],
     "ideal_completions_data": {"ideal_completion": "..."}}

Score: points of the criteria that are met, negative ones included, over the sum of the positive points; a tag's score is the
same on its criteria. Single scores are not clipped; the mean is (``rubric_clipped``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from medeval.dialogue.files import DialogueFileError, checked
from medeval.dialogue.rubric import CriteriaRubric, SignedCriterion
from medeval.metrics.agreement_points import points_score

SCORE = "score"
ROLES = ("system", "user", "assistant")


def _messages(prompt: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for number, said in enumerate(prompt, start=1):
        if said.get("role") not in ROLES or not isinstance(said.get("content"), str):
            raise ValueError(f"message {number}: expected a role of {', '.join(ROLES)} and text content")
    return [{"role": said["role"], "content": said["content"]} for said in prompt]


Prompt = Annotated[list[dict[str, Any]], Field(min_length=1), AfterValidator(_messages)]


class _Line(BaseModel):
    """Keys that are read; HealthBench's others (canary, binary labels) are left alone."""

    model_config = ConfigDict(extra="ignore")

    prompt_id: str | None = None
    prompt: Prompt
    rubrics: list[dict[str, Any]] = Field(min_length=1)
    example_tags: list[str] = Field(default_factory=list)
    ideal_completions_data: dict[str, Any] | None = None
    patient: str | None = None


@dataclass(frozen=True)
class Conversation:
    """One line. prompt: messages {role, content}. tags: of the conversation. completion: a physician's, "" where none is."""

    id: str
    prompt: tuple[Mapping[str, str], ...]
    criteria: tuple[SignedCriterion, ...]
    tags: tuple[str, ...] = ()
    completion: str = ""
    patient: str | None = None

    @cached_property
    def rubric(self) -> CriteriaRubric:
        """The criteria as a rubric; one without positive points is allowed here, and its score is undefined."""
        return CriteriaRubric(kind="criteria", name=self.id, criteria=self.criteria, from_case=True)

    @property
    def criterion_tags(self) -> tuple[str, ...]:
        """Tags that any criterion has, in order of name."""
        return tuple(sorted({tag for criterion in self.criteria for tag in criterion.tags}))

    @property
    def metadata(self) -> dict[str, str]:
        """``theme:hedging`` -> {theme: hedging}; several of one kind are joined, a tag without a kind is its own.

        There is always a ``theme``, so that tables by theme can be asked for.
        """
        found: dict[str, str] = {}
        for tag in self.tags:
            kind, _, value = tag.partition(":")
            found[kind] = f"{found[kind]}; {value}" if kind in found else value or kind
        return {"theme": "(none)", **found}


def conversation_of(entry: Any, where: str, number: int) -> Conversation:
    """One line's conversation. Raises ``DialogueFileError`` with the key that is wrong."""
    line = checked(_Line, entry, where)
    criteria = []
    for at, given in enumerate(line.rubrics, start=1):
        plain = {
            "id": f"c{at}",
            "text": given.get("criterion"),
            "points": given.get("points"),
            "tags": given.get("tags") or [],
        }
        criteria.append(checked(SignedCriterion, plain, f"{where}: rubrics, criterion {at}"))
    ideal = (line.ideal_completions_data or {}).get("ideal_completion") or ""
    if not isinstance(ideal, str):
        raise DialogueFileError(f"{where}: ideal_completion must be a text, got {type(ideal).__name__}")
    return Conversation(
        line.prompt_id or f"p{number:05d}", tuple(line.prompt), tuple(criteria), tuple(line.example_tags), ideal,
        line.patient,
    )  # fmt: skip


@dataclass(frozen=True)
class Points:
    """A score, NaN without positive points, and where it lies when all failed grades are worst or best for the model."""

    score: float
    low: float
    high: float
    failed: int


def points_of(criteria: Sequence[SignedCriterion], met: Mapping[str, bool]) -> Points:
    """Signed points over positive points.

    met: criterion id -> verdict; a criterion that is not in it has no verdict: it is then never taken for "not met", which
    would help an answer on negative criteria. ``score`` is NaN where one is missing.
    """
    points = [criterion.points for criterion in criteria]

    def with_open(best: bool) -> float:
        verdicts = [met.get(c.id, (c.points > 0) == best) for c in criteria]
        return points_score(points, verdicts)

    missing = sum(criterion.id not in met for criterion in criteria)
    low, high = with_open(False), with_open(True)
    return Points(high if not missing else float("nan"), low, high, missing)


def worst_points(criteria: Sequence[SignedCriterion]) -> float:
    """The lowest possible score: no positive criterion met, every negative one; 0 where there is no positive point."""
    lowest = points_of(criteria, {c.id: c.points < 0 for c in criteria}).score
    return lowest if lowest == lowest else 0.0
