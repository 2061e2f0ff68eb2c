"""A failure is a record that says whose it is; nothing else is lost, and the run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from html import unescape

import pytest
from small_world import scores

CASES = 6
BAD = 2  # the case at which the model misbehaves: it has both structures


def spoiled(small, does, **more):
    """A run whose model misbehaves at one case."""
    models = {"mine": small.model(does=does, at=BAD, **more.pop("options", {}))}
    return small.suite(models=models, tasks=[small.task(**more)])


def statuses(run):
    frame = run.records()
    return frame[frame["case"] == "p2-c02"].groupby("status").size().to_dict()


def others_are_fine(run):
    frame = run.records()
    frame = frame[frame["case"] != "p2-c02"]
    return (
        set(frame["status"]) <= {"ok", "carried", "undefined"}
        and frame.query("status == 'ok'")["dice"].notna().all()
    )


# Two structures, box and three clicks: 8 records.
@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("raises", "segment raised ValueError: boom"),
        ("exits", "segment raised SystemExit: 3"),
        ("shape", "mask of shape (23, 24), the image's spatial shape is (24, 24)"),
        ("nan", "mask holds NaN"),
        ("floats", "mask of float64 in [0, 0.7]; return bool (threshold in the adapter)"),
        ("integers", "values beyond 0 and 1; return bool"),
        ("none", "segment returned a NoneType for 1 prompts"),
        ("bare masks", "answered a ndarray, a Segmentation(mask=...) is expected"),
        ("score", "score is 'high'; one number is expected"),
        ("probabilities", "probabilities of shape (24, 24) must be (24, 24) with values in [0, 1]"),
        ("encode raises", "encode raised ValueError: cannot encode"),
    ],
)
def test_what_a_model_does_wrong_is_its_failure_and_takes_the_worst_value(small, does, told):
    run = small.run(spoiled(small, does))
    bad = run.records().query("case == 'p2-c02'")
    assert statuses(run) == {"model_failed": 8}
    assert all(told in error for error in bad["error"])
    assert (bad["dice"] == 0).all()
    assert set(bad["dice.rule"]) == {"model_failed: worst"}
    assert others_are_fine(run)
    row = scores(run, metric="dice", by="", prompt="box")[0]
    assert row["failed"] == {"model_failed": 2}
    assert row["failed_cases"] == 1
    assert row["missing"] == 0
    assert row["bounds"] is None


def test_one_structure_of_a_batch_fails_alone(small):
    run = small.run(spoiled(small, "first only", prompts=["box"]))
    bad = run.records().query("case == 'p2-c02'").set_index("structure")
    assert set(bad["status"]) == {"ok"}  # asked one by one, each has its one answer
    source = (small.folder / "model.py").read_text()
    (small.folder / "model.py").write_text(
        source.replace("masks = [mask[:-1] for mask in masks]", "masks[0] = masks[0][:-1]")
    )
    run = small.run(spoiled(small, "shape", prompts=["box"]), out="shape")
    assert statuses(run) == {"model_failed": 2}  # alone each is first


def test_one_prompt_that_breaks_the_model_fails_alone(small):
    (small.folder / "model.py").write_text(
        (small.folder / "model.py").read_text().replace(
            "        masks = [self.mask", "        if any(p.structure == 'bar' for p in prompts): raise ValueError('no bars')\n        masks = [self.mask"
        )
    )  # fmt: skip
    frame = small.run(small.suite()).records()
    assert set(frame.query("structure == 'disk'")["status"]) <= {"ok", "carried"}
    assert set(frame.query("structure == 'bar'")["status"]) == {"model_failed", "undefined"}


def test_out_of_memory_is_infrastructure_and_retried(small):
    run = small.run(spoiled(small, "memory"))
    assert statuses(run) == {"infrastructure": 8}
    assert run.records().query("case == 'p2-c02'")["dice"].isna().all()
    row = scores(run, metric="dice", by="", prompt="box")[0]
    assert row["missing"] == 2
    low, high = row["bounds"]
    assert low < row["value"] < high <= 1
    known = len(small.log())
    small.run()
    assert small.work(since=known) == []  # without the flag nothing is done again
    small.run(retry_errors=True)
    assert [event["cases"] for event in small.log()[known:] if event["event"] == "unit"] == [["p2-c02"]]


def test_retry_errors_leaves_the_models_failures_alone(small):
    small.run(spoiled(small, "raises"))
    known = len(small.log())
    small.run(retry_errors=True)
    assert small.work(since=known) == []


def test_fail_fast_stops_and_the_run_goes_on_without_it(small):
    spoiled(small, "raises")
    done = small.cli("run", "suite.yaml", "-o", "run", "--fail-fast", "-q", "--no-report")
    assert done.returncode == 1
    assert "stopped at the first failure" in done.stderr
    assert "boom" in done.stderr
    assert "Traceback" not in done.stderr
    run = small.run()
    assert statuses(run) == {"model_failed": 8}
    assert len(small.work()) == CASES


@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_that_hangs_is_killed_and_the_others_are_fine(small, workers):
    run = small.run(spoiled(small, "hangs", options={"timeout": 1.0}), workers=workers)
    assert statuses(run) == {"timeout": 8}
    bad = run.records().query("case == 'p2-c02'")
    assert set(bad["error"]) == {"no answer within 1 s"}
    assert (bad["dice"] == 0).all()
    assert others_are_fine(run)


def test_a_model_that_segfaults_fails_the_unit_and_the_run_goes_on(small):
    run = small.run(spoiled(small, "segfaults"), workers=2)
    assert statuses(run) == {"infrastructure": 8}
    assert "the worker process died (exit code -11) while predicting, twice" in set(
        run.records()["error"].dropna()
    )
    assert others_are_fine(run)


def test_slow_scoring_is_not_the_models_time(small):
    """Scoring holds the worker up for longer than the model's limit."""
    (small.folder / "slow.py").write_text(
        "import time\nfrom medeval.tasks.prompted_segmentation.task import PromptedSegmentation\n"
        "class Slow(PromptedSegmentation):\n    task: str = 'slow'\n"
        "    def score(self, case, output, context):\n        time.sleep(0.4)\n"
        "        return super().score(case, output, context)\n"
    )
    task = small.task(task="slow.py:Slow", prompts=["5 clicks"], metrics=["dice"])
    run = small.run(
        small.suite(
            datasets={"pics": small.pictures(cases=2)},
            models={"mine": small.model(timeout=1.0)},
            tasks=[task],
        )
    )
    assert "timeout" not in set(run.records()["status"])


@pytest.mark.parametrize(
    ("does", "workers", "told"),
    [
        ("not built", 1, "model 'bad': Model cannot be built: ValueError: no weights here"),
        ("not built", 2, "model 'bad': Model cannot be built: ValueError: no weights here"),
        ("dies when built", 2, "model 'bad': the worker process died (exit code -11)"),
    ],
)
def test_a_model_that_cannot_be_built_loses_nothing_of_the_others(small, does, workers, told):
    models = {"bad": small.model(does=does), "mine": small.model()}
    small.suite(models=models)
    done = small.cli("run", "suite.yaml", "-o", "run", "-q", "--workers", str(workers))
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    import medeval

    run = medeval.Run.open("run")
    assert {row["model"] for row in run.summary()["scores"]} == {"mine"}
    assert set(run.records()["model"]) == {"mine"}
    assert told.partition(": ")[2] in unescape((small.folder / "run" / "report.html").read_text())


def finished(small, out):
    return len(list((small.folder / out / "records").glob("[!.]*.parquet")))


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(small):
    models = {"mine": small.model(does="hangs", at=4)}
    small.suite(models=models)
    for workers in ("1", "2"):
        out = f"run{workers}"
        process = subprocess.Popen(
            small.command("run", "suite.yaml", "-o", out, "--workers", workers), cwd=small.folder, text=True,
            env=small.environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not ("encode 4" in small.calls() and finished(small, out) >= 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr
        assert f"what was finished is kept in {out}. The same command goes on from there." in stderr
        assert "Traceback" not in stderr
        assert finished(small, out) >= 3
        (small.folder / "calls.txt").unlink()


def test_what_goes_wrong_in_a_task_is_nobody_elses_failure(small):
    (small.folder / "odd.py").write_text(
        "from medeval.tasks.prompted_segmentation.task import PromptedSegmentation\n"
        "from medeval.types import Key\n"
        "class Odd(PromptedSegmentation):\n    task: str = 'odd'\n    does: str = ''\n"
        "    def owed(self, case, context):\n"
        "        if self.does == 'owed': raise KeyError('nothing')\n"
        "        return [*super().owed(case, context), *([Key('ghost')] if self.does == 'ghost' else [])]\n"
        "    def predict(self, model, cases, context):\n"
        "        for event in super().predict(model, cases, context):\n"
        "            if self.does == 'predict': raise KeyError('lost')\n"
        "            yield event\n"
        "            if self.does == 'twice': yield event\n"
        "    def score(self, case, output, context):\n"
        "        if self.does == 'score': raise KeyError('no score')\n"
        "        return [] if self.does == 'nothing' else super().score(case, output, context)\n"
    )
    told = {
        "owed": "the task raised KeyError: 'nothing'",
        "ghost": "the task yielded nothing for this key",
        "predict": "the task raised KeyError: 'lost'",
        "twice": "was yielded twice or is not owed",
        "score": "scoring raised KeyError: 'no score'",
        "nothing": "the task scored no '",
    }
    data = {"pics": small.pictures(cases=2)}
    tasks = [{"task": "odd.py:Odd", "name": does, "does": does, "prompts": ["box"]} for does in told]
    frame = small.run(small.suite(datasets=data, tasks=tasks)).records()
    for does, text in told.items():
        failed = frame.query("task == @does and status != 'ok' and status != 'undefined'")
        assert set(failed["status"]) == {"evaluator_failed"}, does
        assert failed["error"].str.contains(text, regex=False).all(), does
