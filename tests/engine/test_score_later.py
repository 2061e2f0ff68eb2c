"""Outputs kept now and scored later: no measure is taken twice, no model asked twice, and nothing tells the two apart."""

from __future__ import annotations

import pytest

import medeval
from medeval.engine.chats import RunStopped


def parts(run, kind):
    return {path.name: path.read_bytes() for path in (run.path / kind).glob("*.parquet")}


def test_a_run_that_is_scored_later_ends_in_the_same_bytes(small):
    small.suite()
    once = small.run(out="once")
    kept = small.run(out="later", score=False)
    assert parts(kept, "records") == {}
    assert parts(kept, "predictions") == parts(once, "predictions")
    assert kept.summary()["scores"] == []
    again = small.run(out="later", score=False)
    assert parts(again, "predictions") == parts(once, "predictions")
    later = medeval.score(kept.path)
    assert parts(later, "records") == parts(once, "records")
    assert later.summary()["scores"] == once.summary()["scores"]


def test_a_plain_run_scores_what_was_kept_and_asks_no_model(small):
    small.suite()
    small.run(out="run", score=False)
    done = small.run(out="run")
    events = (done.path / "log.jsonl").read_text()
    assert events.count('"work": "predict"') == events.count('"work": "score"')
    assert parts(done, "records")


def test_the_command_line_leaves_scores_to_medeval_score(small):
    small.suite()
    kept = small.cli("run", "suite.yaml", "--out", "run", "--no-score", "--quiet")
    assert kept.returncode == 0, kept.stderr
    assert not list((small.folder / "run" / "records").iterdir())
    scored = small.cli("score", "run")
    assert scored.returncode == 0, scored.stderr
    assert "dice" in scored.stdout
    refused = small.cli("run", "suite.yaml", "--out", "b", "--no-score", "--no-keep-predictions")
    assert refused.returncode == 2
    assert "leave nothing" in refused.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_that_stops_the_run_stops_it_in_a_worker_process_too(small, workers):
    (small.folder / "stops.py").write_text(
        "from medeval.llm.errors import BudgetSpent\n"
        "from medeval.tasks.prompted_segmentation.task import PromptedSegmentation\n"
        "class Stops(PromptedSegmentation):\n    task: str = 'stops'\n"
        "    def predict(self, model, cases, context):\n"
        "        raise BudgetSpent('the budget of 7 calls is spent')\n"
        "        yield\n"
    )
    path = small.suite(tasks=[{"task": "stops.py:Stops", "prompts": ["box"]}])
    with pytest.raises(RunStopped, match=r"the budget of 7 calls is spent\. 0 of \d+ units are done"):
        small.run(path, workers=workers)
    assert (small.folder / "run" / "summary.json").exists()
