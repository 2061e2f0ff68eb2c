"""One budget for a run whose chat models are asked by worker processes in one cell and by the run itself in another."""

import json

import pytest
from chat_suite import MockServer, block, suite

pytest.importorskip("openai", reason="the SDK is in the llm extra")

from medeval.engine.chats import RunStopped

TASK = """
import asyncio
from typing import ClassVar
from medeval.llm import user
from medeval.metrics.base import MeanMetric, Value
from medeval.metrics.registry import register
from medeval.tasks.base import Scored, Task
from medeval.types import Key, Output

@register("said")
class Said(MeanMetric):
    pair: ClassVar[type] = str
    def observe(self, pair):
        return Value({"value": float(bool(pair))})
    def failed(self, reference):
        return {"value": 0.0}

class Asks(Task):
    methods: ClassVar[tuple[str, ...]] = ("ask",)
    pair: ClassVar[type] = str
    task: str = "asks"
    metrics: tuple[str, ...] = ("said",)
    def owed(self, case, context):
        return [Key()]
    def predict(self, model, cases, context):
        for case in cases:
            reply = asyncio.run(model.ask([user(f"{case.id}?")]))
            yield Output(case.id, Key(), {"text": reply.text})
    def score(self, case, output, context):
        return [Scored(Key(), {"said": Said().observe(output.value["text"])})]
"""


@pytest.fixture
def server():
    with MockServer() as running:
        yield running


@pytest.mark.slow  # two worker processes
def test_workers_and_dialogues_spend_one_budget(small, server):
    """Six cases ask once each in workers; the dialogues that follow may spend what is left of ten calls, and no more."""
    (small.folder / "asks.py").write_text(TASK)
    suite(small, server, cases=6)  # the cases
    dialogue = {"task": "mini-cex", "samples": 1, "patient": "rules", "judges": ["rules"]}
    path = suite(
        small, server, cases=6, tasks=[{"task": "asks.py:Asks"}, dialogue], llm={"budget": {"calls": 10}},
        models={"gpt": block(server, "doctor", limits={"connections": 1})},
    )  # fmt: skip
    with pytest.raises(RunStopped, match="is spent"):
        small.run(path, workers=2)
    lines = (small.folder / "run" / "llm" / "calls.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["paid"] for line in lines) == 10
    assert server.calls["doctor"] == 10
