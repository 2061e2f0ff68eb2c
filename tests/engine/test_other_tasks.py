"""The house carries dialogues, corpus-level metrics and prepared artifacts through the same engine."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from small_world import scores

import medeval
import medeval.types

HOUSE = str(Path(__file__).with_name("house.py"))
TURNS = 4


def numbers(small, name, count=12, patients=4):
    rows = [
        {
            "id": f"c{i:02d}",
            "patient": f"p{i % patients}",
            "site": "AB"[i % 2],
            "number": i,
            "label": int(i * 7 % 5 > 1),
        }
        for i in range(count)
    ]
    (small.folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"format": f"{HOUSE}:Numbers", "file": f"{name}.jsonl"}


def suite(small, task, adapter, count=12, **more):
    options = more.pop("options", {})
    datasets = {"target": numbers(small, "target", count), **more.pop("datasets", {})}
    models = {"mine": {"adapter": f"{HOUSE}:{adapter}", **options}}
    return small.suite(datasets=datasets, models=models, tasks=[{"task": f"{HOUSE}:{task}", **more}])


# -- dialogues ----------------------------------------------------------------------------------------------------


def test_many_dialogues_are_in_flight(small):
    run = small.run(suite(small, "Interview", "Talker", by=["site"]))
    assert max(int(call.rpartition(" ")[2]) for call in small.calls()) > 6
    assert len(small.calls()) == 12 * TURNS
    row = scores(run, metric="answered", by="")[0]
    assert (row["value"], row["n"], row["patients"]) == (1.0, 12, 4)
    assert len(scores(run, metric="answered", by="site")) == 2


def test_killed_in_the_middle_of_dialogues_no_finished_turn_is_asked_twice(small):
    suite(small, "Interview", "Talker", count=20)
    for kill_at in (7, 25, 13):
        assert (
            small.cli("run", "suite.yaml", "-o", "killed", "-q", KILL_AT=str(kill_at)).returncode
            == -signal.SIGKILL
        )
    asked = len(small.calls())
    finished = sum(path.read_text().count("\n") for path in (small.folder / "killed" / "journal").iterdir())
    assert asked - finished <= 3 * 20  # what was on the way when the process was killed
    assert finished >= 20
    assert small.cli("run", "suite.yaml", "-o", "killed", "-q").returncode == 0
    assert len(small.calls()) - asked == 20 * TURNS - finished
    (small.folder / "calls.txt").unlink()
    small.run(out="unbroken")
    assert small.parts("killed") == small.parts("unbroken")


def test_one_dialogue_that_fails_or_hangs_fails_alone(small):
    run = small.run(suite(small, "Interview", "Talker", options={"fails": "raises"}), out="raises")
    failed = run.records().query("status != 'ok'")
    assert failed[["case", "status"]].values.tolist() == [["c03", "model_failed"]]
    assert failed["error"].iloc[0] == "reply raised ConnectionError: line is dead"
    run = small.run(
        suite(small, "Interview", "Talker", options={"fails": "hangs", "timeout": 1.0}), out="hangs"
    )
    failed = run.records().query("status != 'ok'")
    assert failed[["case", "status"]].values.tolist() == [["c03", "timeout"]]
    assert len(run.records()) == 12


def test_a_slow_consumer_does_not_cancel_a_dialogue():
    from medeval.engine.dialogues import _within

    async def events():
        yield 1
        await asyncio.sleep(0.01)
        yield 2

    async def consume():
        found = []
        async for event in _within(0.1, events()):
            await asyncio.sleep(0.15)  # the limit passes while the consumer has the event
            found.append(event)
        return found

    assert asyncio.run(consume()) == [1, 2]


def test_an_error_that_ends_the_run_leaves_the_event_loop_as_itself(small, monkeypatch):
    from medeval.runs import journal
    from medeval.types import RunError

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "_write_all", full)
    with pytest.raises(RunError, match=r"the disk is full\. What was finished is kept"):
        small.run(suite(small, "Interview", "Talker"))
    monkeypatch.undo()
    assert len(small.run().records()) == 12


# -- a corpus-level metric ----------------------------------------------------------------------------------------


def by_hand(frame):
    positive, negative = (
        frame[frame["corpus_auroc.label"] == label]["corpus_auroc.score"] for label in (1, 0)
    )
    pairs = [(a > b) + 0.5 * (a == b) for a in positive for b in negative]
    return sum(pairs) / len(pairs)


def test_a_metric_over_the_corpus_has_its_interval_by_the_same_resampling(small):
    run = small.run(suite(small, "Screening", "Screener", count=30, by=["site"], options={"noise": 8.0}))
    frame = run.records()
    assert {"corpus_auroc.score", "corpus_auroc.label", "corpus_auroc.rule"} <= set(frame.columns)
    row = scores(run, metric="corpus_auroc", by="")[0]
    assert row["value"] == pytest.approx(by_hand(frame), abs=1e-12)
    draws = []
    from medeval.statistics import Resamples, clusters

    resamples = Resamples("target", clusters(frame["patient"].tolist(), frame["case"].tolist()))
    codes = resamples.codes(frame["patient"].to_numpy())
    for counts in resamples.blocks():
        for count in counts:
            drawn = frame.loc[frame.index.repeat(count[codes])]
            if drawn["corpus_auroc.label"].nunique() == 2:
                draws.append(by_hand(drawn))
        if len(draws) > 120:
            break
    assert row["low"] < np.mean(draws) < row["high"]
    assert np.mean([row["low"] <= draw <= row["high"] for draw in draws]) > 0.9
    assert [r["group"]["site"] for r in scores(run, metric="corpus_auroc", by="site")] == ["A", "B"]


def test_a_failed_case_takes_the_wrong_end_of_a_corpus_metric(small):
    fine = small.run(suite(small, "Screening", "Screener", count=30), out="fine")
    bad = small.run(suite(small, "Screening", "Screener", count=30, options={"fails_at": 29}), out="bad")
    assert bad.records().query("status == 'model_failed'")["case"].tolist() == ["c29"]
    row = scores(bad, metric="corpus_auroc", by="")[0]
    assert row["n"] == 30
    assert row["value"] < scores(fine, metric="corpus_auroc", by="")[0]["value"]
    assert row["value"] == pytest.approx(by_hand(bad.records()))


def test_models_and_data_that_do_not_fit_a_task_are_listed_and_not_run(small):
    path = small.suite(
        datasets={"target": numbers(small, "target"), "pics": small.pictures(cases=2)},
        models={"mine": small.model(), "screener": {"adapter": f"{HOUSE}:Screener"}},
        tasks=[small.task(), {"task": f"{HOUSE}:Screening"}],
    )
    done = small.cli("run", str(path), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "prompted-segmentation / target / mine: its cases hold no image and no structures" in done.stdout
    assert "prompted-segmentation / pics / screener: it has no `encode`, `segment`" in done.stdout
    assert "screening / pics / screener: its cases hold no number and no label" in done.stdout.lower()
    run = small.run(path)
    assert set(run.records()[["task", "dataset", "model"]].itertuples(index=False, name=None)) == {
        ("prompted-segmentation", "pics", "mine"),
        ("Screening", "target", "screener"),
    }


# -- artifacts ----------------------------------------------------------------------------------------------------


def prepared_suite(small, task="Adapted", **fields):
    path = small.suite(
        datasets={
            name: numbers(small, name, count) for name, count in (("target", 12), ("other", 6), ("source", 8))
        },
        models={"mine": {"adapter": f"{HOUSE}:Screener"}},
        tasks=[{"task": f"{HOUSE}:{task}", "source": "source", "datasets": ["target", "other"], **fields}],
    )
    return path


def test_an_artifact_is_made_once_for_all_datasets_and_reused_on_resume(small):
    path = prepared_suite(small)
    run = small.run(path)
    assert sorted(call for call in small.calls() if call.startswith("prepare")) == [
        "prepare plain",
        "prepare shifted",
    ]
    assert set(run.records()["arm"]) == {"plain", "shifted"}
    assert {row["arm"] for row in scores(run, by="")} == {"plain", "shifted"}
    means = run.records().groupby(["dataset", "arm"])["corpus_auroc.score"].mean()
    assert means["target", "plain"] - means["target", "shifted"] == pytest.approx(3.5)
    part = next((small.folder / "run" / "records").glob("*.parquet"))
    part.unlink()
    (small.folder / "run" / "predictions" / part.name).unlink()
    (small.folder / "calls.txt").unlink()
    small.run(path)
    assert len(small.calls()) == 1  # the one unit, and no preparation
    assert [e["reused"] for e in small.log() if e["event"] == "prepare"].count(False) == 2


def test_killed_while_preparing_it_leaves_nothing_half_made(small):
    prepared_suite(small)
    assert small.cli("run", "suite.yaml", "-o", "run", "-q", KILL_AT="2").returncode == -signal.SIGKILL
    assert small.cli("run", "suite.yaml", "-o", "run", "-q", "--workers", "2").returncode == 0
    assert not list((small.folder / "run" / "artifacts").glob(".tmp-*"))
    small.run(out="fresh")
    assert small.parts("run") == small.parts("fresh")


def test_labels_of_another_dataset_are_read_only_by_a_task_that_says_so(small):
    run = small.run(prepared_suite(small), out="blind")
    assert set(run.records()["status"]) == {"ok"}  # its `load` has checked that it saw no label
    run = small.run(prepared_suite(small, "AdaptedWithLabels"), out="seeing", report=True)
    assert set(run.records()["status"]) == {"ok"}
    assert "reads labels" in (small.folder / "seeing" / "report.html").read_text()


def test_another_content_of_the_source_is_another_run(small):
    path = prepared_suite(small)
    small.run(path)
    rows = (small.folder / "source.jsonl").read_text()
    (small.folder / "source.jsonl").write_text(rows.replace('"number": 3', '"number": 300'))
    with pytest.raises(medeval.types.RunError, match="prepared from source was"):
        small.run(path)


def test_a_preparation_that_fails_fails_its_cells_and_not_the_run(small):
    run = small.run(prepared_suite(small, breaks="no convergence"))
    frame = run.records()
    assert set(frame["status"]) == {"evaluator_failed"}
    assert set(frame["error"]) == {"the task raised ValueError: no convergence"}
    assert len(frame) == 2 * 18
