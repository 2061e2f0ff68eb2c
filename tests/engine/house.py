"""Three small tasks of other kinds than segmentation, as a stranger would write them in a file of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from medeval.datasets.base import Dataset
from medeval.metrics.base import MeanMetric, Metric, Value
from medeval.metrics.registry import register
from medeval.tasks.base import Scored, Task, staged
from medeval.types import Case, CaseInfo, Key, Output

made = 0


def noted(what: str) -> None:
    """A line a call; the process is killed at the call that KILL_AT names."""
    global made
    made += 1
    with open(os.environ["CALLS"], "a") as file:
        file.write(what + "\n")
    if made == int(os.environ.get("KILL_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)


class Numbers(Dataset):
    """Cases of one number with a label; one JSON line a case."""

    file: Path = Field(description="the JSON lines")

    def _rows(self) -> dict[str, Mapping[str, Any]]:
        return {row["id"]: row for row in map(json.loads, self.file.read_text().splitlines())}

    def scan(self) -> Sequence[CaseInfo]:
        return [CaseInfo(id_, row["patient"], {"site": row["site"]}) for id_, row in self._rows().items()]

    def read(self, case_id: str, fields: Sequence[str] = ("inputs", "reference")) -> Case:
        row = self._rows()[case_id]
        return self.case(
            case_id, {"number": row["number"]}, {"label": row["label"]} if "reference" in fields else {}
        )

    def sources(self, case_id: str) -> Mapping[str, Path]:
        return {}

    def reading(self, case_id: str) -> Any:
        return self._rows()[case_id]


# -- a dialogue with a scripted partner ---------------------------------------------------------------------------


@register("answered")
class Answered(MeanMetric):
    """Share of the turns that were answered in the model's own words."""

    pair: ClassVar[type] = list

    def observe(self, pair: list[str]) -> Value:
        return Value({"value": float(np.mean([text.startswith("because") for text in pair]))})

    def failed(self, reference: Any) -> Mapping[str, float]:
        return {"value": 0.0}


class Interview(Task):
    """A partner asks, the model answers, ``turns`` times; many cases are in flight."""

    methods: ClassVar[tuple[str, ...]] = ("reply",)
    protocol: ClassVar[str] = "async reply(history) -> text"
    needs: ClassVar[tuple[str, ...]] = ("number",)
    pair: ClassVar[type] = list
    task: str = "interview"
    turns: int = 4
    metrics: tuple[str, ...] = ("answered",)

    def owed(self, case, context):
        return [Key()]

    async def predict(self, model, cases, context):
        for case in cases:
            yield Output(case.id, Key(), await self._talk(model, case, context))

    async def _talk(self, model, case, context):
        history: list[str] = []
        for turn in range(self.turns):
            history.append(self._asks(case, turn, context))
            history.append(
                await context.astep(f"{case.id}/{turn}", lambda: self._reply(model, case, history, context))
            )
        return history

    async def _reply(self, model, case, history, context):
        return await context.acall(case.id, "reply", model.reply, tuple(history))

    def _asks(self, case, turn, context):
        return f"why {case.inputs['number']} at {context.rng(case.id, turn).integers(100)}?"

    def score(self, case, output, context):
        return [Scored(Key(), {"answered": Answered().observe(output.value[1::2])})]


class Talker:
    """Answers after a moment; notes each turn, and how many dialogues were open."""

    open = 0
    most = 0

    def __init__(self, fails: str = "", seconds: float = 0.003) -> None:
        self.fails, self.seconds = fails, seconds

    async def reply(self, history):
        Talker.open += 1
        Talker.most = max(Talker.most, Talker.open)
        try:
            await asyncio.sleep(self.seconds)
            noted(f"{history[0]} turn {len(history) // 2} open {Talker.open}")
            if self.fails == "hangs" and history[0].startswith("why 3 "):
                await asyncio.sleep(600)
            if self.fails == "raises" and history[0].startswith("why 3 ") and len(history) > 3:
                raise ConnectionError("line is dead")
            return f"because of {history[-1]}"
        finally:
            Talker.open -= 1


# -- a metric that exists only over the corpus --------------------------------------------------------------------


@dataclass(frozen=True)
class ScoredLabel:
    """A model's score and the truth."""

    score: float
    label: int


@register("corpus_auroc")
class CorpusAUROC(Metric):
    """Share of (positive, negative) pairs that the score puts in order, ties half, weighted by cases."""

    pair: ClassVar[type] = ScoredLabel
    statistic: ClassVar[Mapping[str, str]] = {"score": "double", "label": "int64"}

    def observe(self, pair: ScoredLabel) -> Value:
        return Value({"score": pair.score, "label": pair.label})

    def failed(self, reference: int) -> Mapping[str, float]:
        return {"score": -1e9 if reference else 1e9, "label": reference}  # the wrong end

    def reduce(self, statistics, weights, state=None):
        label = np.asarray(statistics["label"])
        score = np.asarray(statistics["score"], dtype=float)
        difference = score[label == 1][:, None] - score[label == 0][None]
        wins = (difference > 0) + 0.5 * (difference == 0)
        positive, negative = weights[:, label == 1], weights[:, label == 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.einsum("rp,pn,rn->r", positive, wins, negative) / (positive.sum(1) * negative.sum(1))


class Screening(Task):
    """One score a case."""

    methods: ClassVar[tuple[str, ...]] = ("score_of",)
    protocol: ClassVar[str] = "score_of(number) -> float"
    needs: ClassVar[tuple[str, ...]] = ("number", "label")
    pair: ClassVar[type] = ScoredLabel
    task: str = "screening"
    metrics: tuple[str, ...] = ("corpus_auroc",)

    def owed(self, case, context):
        return [Key()]

    def predict(self, model, cases, context):
        for case in cases:
            yield Output(
                case.id, Key(), context.call(case.id, "score_of", model.score_of, case.inputs["number"])
            )

    def score(self, case, output, context):
        pair = ScoredLabel(output.value, case.reference["label"])
        return [Scored(Key(), {m.name: m.observe(pair) for m in self.bound_metrics})]

    def worst_reference(self, case, key):
        return case.reference["label"]


class Screener:
    def __init__(self, noise: float = 1.0, fails_at: int = -1) -> None:
        self.noise, self.fails_at = noise, fails_at

    def score_of(self, number: int) -> float:
        noted(f"score {number}")
        if number == self.fails_at:
            raise ValueError("no score")
        return float(round(number + self.noise * np.sin(7.0 * number), 1))


# -- an artifact made from a second dataset -----------------------------------------------------------------------


class Adapted(Screening):
    """Shifts the scores by the mean of another dataset's numbers, in several arms."""

    task: str = "adapted"
    source: str
    labelled: bool = False
    breaks: str = ""

    def arms(self):
        return ("plain", "shifted")

    def prepares_from(self):
        return (self.source,)

    def prepare(self, model, arm, folder, context):
        noted(f"prepare {arm}")
        if self.breaks:
            raise ValueError(self.breaks)
        data = context.dataset(self.source)
        cases = [data.read(case_id) for case_id in data.index.ids]
        numbers = [case.inputs["number"] for case in cases]
        labels = [case.reference.get("label") for case in cases]
        mean = context.step("mean", lambda: float(np.mean(numbers)) if arm == "shifted" else 0.0)
        (folder / "mean.json").write_text(json.dumps({"mean": mean, "labels": labels}))

    def load(self, model, arm, folder, context):
        made = json.loads((folder / "mean.json").read_text())
        assert made["labels"] == [None] * len(made["labels"])

        class Shifted:
            def score_of(self, number: int) -> float:
                return model.score_of(number) - made["mean"]

        return Shifted()


class AdaptedWithLabels(Adapted):
    """The same, saying that it reads labels."""

    uses_labels: ClassVar[bool] = True
    task: str = "adapted-with-labels"

    def load(self, model, arm, folder, context):
        made = json.loads((folder / "mean.json").read_text())
        assert set(made["labels"]) == {0, 1}
        return model


class Shifts(Adapted):
    """An arm a number; those below zero are ceilings, which alone read labels."""

    task: str = "shifts"
    by_arm: dict[str, float] = Field({}, json_schema_extra=staged("summarize"))

    def arms(self):
        return tuple(self.by_arm)

    def arm_fingerprint(self, arm):
        return {"shift": self.by_arm[arm]}

    def labels_for(self, arm):
        return self.by_arm[arm] < 0

    def prepare(self, model, arm, folder, context):
        data = context.dataset(self.source)
        labels = [data.read(case_id).reference.get("label") for case_id in data.index.ids]
        noted(f"prepare {arm}")
        (folder / "mean.json").write_text(json.dumps({"mean": self.by_arm[arm], "labels": labels}))

    def load(self, model, arm, folder, context):
        return model

    def summarize(self, evidence):
        held = {cell.arm: cell.artifacts for cell in evidence.load()}
        noted("summarize " + json.dumps({arm: [path.name for path in held[arm].values()] for arm in held}))
        return super().summarize(evidence)
