"""A task whose scores are written down beforehand: a dataset of cases, a model that looks its values up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from medeval.datasets.base import Dataset
from medeval.metrics.base import MeanMetric, Value
from medeval.metrics.registry import register
from medeval.tasks.base import Scored, Task, staged
from medeval.types import Case, CaseInfo, Key, Output


class Cases(Dataset):
    """One JSON line a case: id, patient, site."""

    file: Path = Field(description="the JSON lines")

    def _rows(self) -> dict[str, Mapping[str, Any]]:
        return {row["id"]: row for row in map(json.loads, self.file.read_text().splitlines())}

    def scan(self) -> Sequence[CaseInfo]:
        return [CaseInfo(id_, row["patient"], {"site": row["site"]}) for id_, row in self._rows().items()]

    def read(self, case_id: str, fields: Sequence[str] = ("inputs", "reference")) -> Case:
        return self.case(case_id, {"name": case_id}, {"known": True} if "reference" in fields else {})

    def sources(self, case_id: str) -> Mapping[str, Path]:
        return {}

    def reading(self, case_id: str) -> Any:
        return self._rows()[case_id]


class Looked(MeanMetric):
    pair: ClassVar[type] = float

    def observe(self, pair: float) -> Value:
        return Value({"value": float(pair)})

    def failed(self, reference: Any) -> Mapping[str, float]:
        return {"value": 0.0 if self.direction == "higher" else 1.0}


@register("quality")
class Quality(Looked):
    """What is written down."""


@register("loss")
class Loss(Looked):
    """1 minus that."""

    direction: ClassVar = "lower"

    def observe(self, pair: float) -> Value:
        return Value(None, "not measured") if pair < 0 else Value({"value": 1 - float(pair)})


class Measured(Task):
    """Each case's value under each of its prompt settings."""

    methods: ClassVar[tuple[str, ...]] = ("value_of",)
    needs: ClassVar[tuple[str, ...]] = ("known",)
    pair: ClassVar[type] = float
    task: str = "measured"
    metrics: tuple[str, ...] = Field(("quality", "loss"), json_schema_extra=staged("score"))
    settings: tuple[str, ...] = ("",)

    @property
    def prompt_order(self) -> tuple[str, ...]:
        return tuple(setting for setting in self.settings if setting)

    def units(self, index):
        from medeval.types import Unit

        yield Unit(index.ids)

    def owed(self, case, context):
        return [Key(prompt=setting) for setting in self.settings]

    def predict(self, model, cases, context):
        from medeval.types import CaseFailure, Failure

        for case in cases:
            for setting in self.settings:
                try:
                    value = context.call(case.id, "value_of", model.value_of, case.inputs["name"], setting)
                    yield Output(case.id, Key(prompt=setting), value)
                except CaseFailure as error:
                    yield Failure(case.id, Key(prompt=setting), error.status, str(error))

    def score(self, case, output, context):
        return [Scored(output.key, {m.name: m.observe(output.value) for m in self.bound_metrics})]


class Written:
    """Values by case; a value of None fails."""

    def __init__(self, values: Path, shift: float = 0.0) -> None:
        self.values, self.shift = json.loads(Path(values).read_text()), shift

    def value_of(self, case: str, setting: str) -> float:
        if self.values[case] is None:
            raise ValueError("no value")
        return self.values[case] + self.shift


class Trained(Written):
    """The same from a checkpoint."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(checkpoint)
