"""Numbers do not depend on workers, order or shards."""

from __future__ import annotations

import pandas as pd
import pytest

import medeval
import medeval.api
from medeval.types import RunError


def without_order(run):
    columns = ["task", "dataset", "model", "seed", "case", "structure", "prompt", "round", "sample"]
    return run.records().sort_values(columns).reset_index(drop=True)


def suite(small, **changes):
    models = {"mine": small.model(), "limited": small.model(tolerance=50, timeout=60)}
    data = small.pictures(cases=7)
    return small.suite(
        datasets={"pics": {**data, **changes}},
        models=models,
        tasks=[small.task(click_rule="random-in-error")],
    )


def test_workers_and_timeouts_change_nothing(small):
    path = suite(small)
    small.run(path, out="one")
    assert small.cli("run", "suite.yaml", "-o", "two", "-q", "--no-report", "--workers", "2").returncode == 0
    assert small.parts("one") == small.parts("two")


def test_another_case_order_gives_the_same_records_and_scores(small):
    one, other = small.run(suite(small), out="one"), small.run(suite(small, seed=5), out="other")
    pd.testing.assert_frame_equal(without_order(one), without_order(other))
    assert one.summary()["scores"] == other.summary()["scores"]


def test_the_batch_size_changes_no_prompt_and_no_score(small):
    whole = small.run(suite(small), out="whole").records()
    task = small.task(click_rule="random-in-error", batch_size=1)
    single = small.run(small.suite(models={"mine": small.model()}, tasks=[task]), out="single").records()
    columns = ["case", "structure", "prompt", "round", "points", "dice"]
    whole = whole[(whole["model"] == "mine") & whole["case"].isin(single["case"])]
    pd.testing.assert_frame_equal(
        whole[columns].reset_index(drop=True), single[columns].reset_index(drop=True)
    )


def test_the_name_of_a_model_is_not_in_its_clicks(small):
    models = {"a": small.model(), "b": small.model()}
    run = small.run(small.suite(models=models, tasks=[small.task(click_rule="random-in-error")]))
    a, b = (run.records().query("model == @name")["points"].tolist() for name in "ab")
    assert a == b


def test_four_shards_merged_equal_one_run(small):
    path = suite(small)
    small.run(path, out="whole")
    for number in (1, 2, 3, 4):
        shard = medeval.api.Shard.parse(f"{number}/4")
        small.run(path, out=f"shard{number}", shard=shard)
    done = small.cli("merge", "merged", "shard1", "shard2", "shard3", "shard4")
    assert done.returncode == 0, done.stderr
    assert small.parts("merged") == small.parts("whole")
    small.run(path, out="merged")  # the merged run is a run: continued, it has nothing to do
    assert small.work("merged") == []


def test_missing_shards_and_wrong_ones_are_told(small):
    path = suite(small)
    for number in (1, 3):
        small.run(path, out=f"shard{number}", shard=medeval.api.Shard.parse(f"{number}/4"))
    with pytest.raises(RunError, match="units are in none of the shards"):
        medeval.merge("merged", ["shard1", "shard3"])
    with pytest.raises(RunError, match="not a run folder"):
        medeval.merge("merged", ["shard1", "nowhere"])
    small.run(small.suite(), out="other")
    with pytest.raises(RunError, match="another suite"):
        medeval.merge("merged", ["shard1", "other"])


def test_shards_of_models_that_differ_are_told(small):
    path = suite(small)
    small.run(path, out="shard1", shard=medeval.api.Shard.parse("1/2"))
    (small.folder / "model.py").write_text((small.folder / "model.py").read_text() + "\n# another model\n")
    small.cli("run", "suite.yaml", "-o", "shard2", "--shard", "2/2", "-q")
    with pytest.raises(RunError, match=r"made otherwise than shard1: .*model.code was"):
        medeval.merge("merged", ["shard1", "shard2"])


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "1-4", "1/0", ""])
def test_a_shard_that_is_none_is_told(text):
    with pytest.raises(RunError, match="write K/N"):
        medeval.api.Shard.parse(text)
