"""The endpoint that a suite declares before anything is scored: ``primary:`` and ``require:``.

    primary: {metric: dice, prompt: box, baseline: nnunet, margin: 0.02}     # a claim about a difference
    require: [dice.lower >= 0.80, hd95 <= 10]                                # floors, of the value or an interval's end

Without ``margin`` the claim is superiority over the baseline; with it non-inferiority, or equivalence where ``claim``
says so.
"""

from __future__ import annotations

import hashlib
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medeval.plugins import complaints
from medeval.suite.mistakes import Mistakes
from medeval.tasks.base import Task
from medeval.types import nearest

Claim = Literal["superiority", "non-inferiority", "equivalence"]
KEYS = ("primary", "require")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_REQUIREMENT = re.compile(
    r"^\s*(?P<metric>\S+?)(?:\.(?P<part>lower|upper|value))?\s*(?P<op>>=|<=|>|<)\s*(?P<number>\S+)\s*$"
)


class Primary(BaseModel):
    """The one question of the suite; all else in its report is exploratory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(description="The metric, as its task names it.")
    baseline: str | None = Field(None, description="The model that the others are compared with.")
    models: tuple[str, ...] | None = Field(
        None,
        description="The models that the claim is about; default: all but the baseline and tagged baselines.",
    )
    prompt: str | None = Field(None, description="The prompt setting; needed where the task has several.")
    task: str | None = Field(None, description="The task's name; needed where several have the metric.")
    dataset: str | None = Field(
        None, description="Only this dataset; default: each dataset is a claim of its own."
    )
    margin: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="How much worse (or how different) is still acceptable; above 0.",
    )
    claim: Claim | None = Field(
        None, description="Default: superiority, or non-inferiority where there is a margin."
    )
    alpha: float = Field(0.05, gt=0, lt=1, description="Two-sided error of the family of claims (Holm).")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.baseline is None and (self.margin is not None or self.claim is not None):
            raise ValueError("margin and claim need a `baseline` that the models are compared with")
        if self.claim in ("non-inferiority", "equivalence") and self.margin is None:
            raise ValueError(f"{self.claim} needs a `margin`")
        if self.claim == "superiority" and self.margin is not None:
            raise ValueError("superiority has no `margin`; leave one of them out")
        return self

    @property
    def claimed(self) -> Claim | None:
        """What is claimed of each model; None without a baseline."""
        if self.baseline is None:
            return None
        return self.claim or ("superiority" if self.margin is None else "non-inferiority")


@dataclass(frozen=True)
class Requirement:
    """``dice.lower >= 0.80``. part: "value", or "lower" and "upper" of the interval."""

    text: str
    metric: str
    part: str
    op: str
    number: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Raises ``ValueError`` that says how one is written."""
        found = _REQUIREMENT.match(text)
        try:
            number = float(found["number"]) if found else float("nan")
        except ValueError:
            number = float("nan")
        if found is None or number != number:
            raise ValueError(
                f"{text!r} is no requirement; write METRIC[.lower|.upper] >= NUMBER, as in `dice.lower >= 0.80`"
            )
        return cls(text.strip(), found["metric"], found["part"] or "value", found["op"], number)

    def met(self, row: Mapping[str, Any]) -> bool:
        """Whether a score row meets it; what has no value, or no interval, does not."""
        value = row[{"value": "value", "lower": "low", "upper": "high"}[self.part]]
        return value is not None and _OPERATORS[self.op](value, self.number)


@dataclass(frozen=True)
class Declared:
    """What a suite declares; both may be empty."""

    primary: Primary | None = None
    require: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, suite: Mapping[str, Any]) -> Declared:
        """From a resolved suite, as a manifest holds it."""
        primary = suite.get("primary")
        return cls(
            None if primary is None else Primary.model_validate(primary),
            tuple(Requirement.parse(text) for text in suite.get("require", ())),
        )

    def __bool__(self) -> bool:
        return self.primary is not None or bool(self.require)

    def plain(self) -> dict[str, Any]:
        """Plain data, as it is hashed."""
        primary = None if self.primary is None else self.primary.model_dump(mode="json")
        return {"primary": primary, "require": [requirement.text for requirement in self.require]}

    @property
    def sha256(self) -> str:
        """Hash of what is declared, hex."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()


def check_declared(
    data: Mapping[str, Any],
    mistakes: Mistakes,
    tasks: Sequence[Task],
    models: Sequence[str],
    datasets: Sequence[str],
) -> dict[str, Any]:
    """The keys as the resolved suite holds them ({} without any); what does not hold is added to ``mistakes``."""
    written: dict[str, Any] = {}
    if isinstance(data.get("primary"), dict):
        try:
            primary = Primary.model_validate(data["primary"])
        except ValidationError as error:
            mistakes.add_all(("primary",), complaints(error, data["primary"], Primary))
        else:
            _check_names(primary, mistakes, tasks, models, datasets)
            written["primary"] = primary.model_dump(mode="json", exclude_none=True)
    required = data.get("require")
    if isinstance(required, list) and required:  # what is no list is told with the other outer keys
        for number, text in enumerate(required):
            _check_requirement(text, ("require", number), mistakes, tasks)
        written["require"] = [str(text).strip() for text in required]
    return written


def _check_requirement(text: Any, path: tuple, mistakes: Mistakes, tasks: Sequence[Task]) -> None:
    try:
        requirement = Requirement.parse(str(text))
    except ValueError as error:
        mistakes.add(path, str(error))
        return
    known = {name for task in tasks for name in task.metrics}
    if tasks and requirement.metric not in known:
        mistakes.add(
            path, f"no task has the metric {requirement.metric!r}; {nearest(requirement.metric, known)}"
        )


def _check_names(
    primary: Primary,
    mistakes: Mistakes,
    tasks: Sequence[Task],
    models: Sequence[str],
    datasets: Sequence[str],
) -> None:
    """Every name that the endpoint gives is one of the suite."""
    if not (tasks and models and datasets):
        return  # their own mistakes are told already
    asked = [task for task in tasks if primary.task in (None, task.label)]
    known = {
        "task": [task.label for task in tasks],
        "dataset": datasets,
        "baseline": models,
        "metric": [name for task in asked for name in task.metrics],
        "prompt": [label for task in asked for label in task.prompt_order] or [str(primary.prompt)],
    }
    for name, values in known.items():
        given = getattr(primary, name)
        if given is not None and given not in values:
            mistakes.add(("primary", name), f"the suite has no {name} {given!r}; {nearest(given, values)}")
    for given in primary.models or ():
        if given not in models:
            mistakes.add(("primary", "models"), f"the suite has no model {given!r}; {nearest(given, models)}")
    having = [task.label for task in asked if primary.metric in task.metrics]
    if len(having) > 1:
        mistakes.add(
            ("primary",),
            f"several tasks have {primary.metric!r} ({', '.join(having)}); name one with `task:`",
        )
    several = len(having) == 1 and len(next(t for t in asked if t.label == having[0]).prompt_order) > 1
    if several and primary.prompt is None:
        mistakes.add(("primary",), f"task {having[0]!r} has several prompt settings; name one with `prompt:`")
