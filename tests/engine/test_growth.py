"""A run grows: only what is new is computed, and what contradicts kept records is refused."""

from __future__ import annotations

import json

import pytest

from medeval.types import RunError


def grown(small, changed):
    """(suite before, suite after): the after-suite has what ``changed`` says."""
    base = {
        "datasets": {"pics": small.pictures(cases=4)},
        "models": {"mine": small.model()},
        "tasks": [small.task()],
        "seeds": [0],
    }
    changed(base, small)
    return base


def another_dataset(suite, small):
    suite["datasets"]["more"] = small.pictures("more", cases=3, seed=1)


def another_model(suite, small):
    suite["models"]["other"] = small.model(tolerance=50)


def another_metric(suite, small):
    suite["tasks"] = [small.task(metrics=["dice", "iou", "hd95"])]


def another_group(suite, small):
    suite["tasks"] = [small.task(by=["structure", "patient"])]


def another_seed(suite, small):
    suite["seeds"] = [0, 1]


def another_task(suite, small):
    suite["tasks"].append(small.task(name="points", prompts=["2 points"]))


def more_cases(suite, small):
    suite["datasets"]["pics"] = small.pictures(cases=6)


@pytest.mark.parametrize(
    ("changed", "computed"),
    [
        (another_dataset, 3 * [("predict", "prompted-segmentation", "more", "mine")]),
        (another_model, 4 * [("predict", "prompted-segmentation", "pics", "other")]),
        (another_metric, 4 * [("score", "prompted-segmentation", "pics", "mine")]),
        (another_group, []),
        (another_seed, 4 * [("predict", "prompted-segmentation", "pics", "mine")]),
        (another_task, 4 * [("predict", "points", "pics", "mine")]),
        (more_cases, 2 * [("predict", "prompted-segmentation", "pics", "mine")]),
    ],
)
def test_only_what_is_new_is_computed(small, changed, computed):
    small.run(small.suite(**grown(small, lambda suite, small: None)))
    known = len(small.log())
    suite = small.suite(**grown(small, changed))
    small.run(suite)
    assert small.work(since=known) == computed
    small.run(suite, out="fresh")
    assert small.parts("run") == small.parts("fresh")


def test_a_new_metric_needs_no_model(small):
    """The model raises when it is built again: the kept predictions are scored."""
    small.run(small.suite())
    (small.folder / "calls.txt").unlink()
    run = small.run(small.suite(tasks=[small.task(metrics=["dice", "iou", "hd95", "nsd@2mm"])]))
    assert small.calls() == []
    assert run.records()["hd95"].notna().any()


def test_medeval_score_adds_a_metric_when_the_checkpoint_is_gone(small):
    (small.folder / "model.py").write_text(
        (small.folder / "model.py").read_text()
        + "\nfrom pathlib import Path\nclass Loaded(Model):\n    def __init__(self, checkpoint: Path) -> None:\n"
        "        super().__init__()\n"
    )
    (small.folder / "weights.bin").write_bytes(b"weights")
    small.run(small.suite(models={"mine": {"adapter": "model.py:Loaded", "checkpoint": "weights.bin"}}))
    (small.folder / "weights.bin").unlink()
    assert small.cli("score", "run", "-m", "hd95", "-q").returncode == 0
    import medeval

    run = medeval.Run.open("run")
    assert run.records()["hd95"].notna().any()
    assert {row["metric"] for row in run.summary()["scores"]} >= {"dice", "iou", "hd95"}


def test_scoring_again_needs_predictions_that_were_kept(small):
    small.suite()
    small.run(keep_predictions=False)
    done = small.cli("score", "run", "-m", "hd95")
    assert done.returncode == 2
    assert "were not kept" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"models": {"mine": {"adapter": "model.py:Model", "tolerance": 31.0}}}, "model.tolerance was 30.0, is 31.0"),
        ({"tasks": [{"task": "prompted-segmentation", "prompts": ["box"]}]}, "task.prompts was ['box', '3 clicks'], is ['box']"),
    ],
)  # fmt: skip
def test_a_change_that_contradicts_kept_records_is_refused(small, changes, told):
    small.run(small.suite())
    before = small.parts()
    with pytest.raises(RunError, match="made otherwise") as caught:
        small.run(small.suite(**changes))
    assert told in str(caught.value)
    assert small.parts() == before


def test_a_changed_adapter_file_is_refused(small):
    small.run(small.suite())
    (small.folder / "model.py").write_text((small.folder / "model.py").read_text() + "\n# another model\n")
    done = small.cli("run", "suite.yaml", "-o", "run")
    assert done.returncode == 2
    assert "model.code was sha256:" in done.stderr


def test_changed_content_of_a_case_is_refused(small):
    small.run(small.suite())
    first = sorted((small.folder / "data" / "images").iterdir())[0]
    other = sorted((small.folder / "data" / "images").iterdir())[1]
    first.write_bytes(other.read_bytes())
    with pytest.raises(RunError, match="files changed since: case 'p0-c00'"):
        small.run()


def test_a_mended_file_is_done_again_by_retry_errors(small):
    suite = small.suite()
    broken = small.folder / "data" / "masks" / "p0-c00.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40])
    run = small.run()
    assert set(run.records().query("status == 'data_error'")["case"]) == {"p0-c00"}
    broken.write_bytes(whole)
    with pytest.raises(RunError, match="--retry-errors"):
        small.run()
    known = len(small.log())
    small.run(retry_errors=True)
    assert len(small.work(since=known)) == 1
    small.run(suite, out="fresh")
    assert small.parts("run") == small.parts("fresh")


def test_what_the_suite_no_longer_names_stays_in_the_records_and_leaves_the_scores(small):
    both = {"mine": small.model(), "other": small.model(tolerance=50)}
    small.run(small.suite(models=both))
    run = small.run(small.suite(models={"mine": small.model()}))
    assert set(run.records()["model"]) == {"mine", "other"}
    assert {row["model"] for row in run.summary()["scores"]} == {"mine"}
    assert len(json.loads((small.folder / "run" / "manifest.json").read_text())["cells"]) == 2


def test_one_run_is_written_by_one_process(small):
    from medeval.runs.files import locked

    small.suite()
    (small.folder / "run").mkdir()
    with locked(small.folder / "run"):
        done = small.cli("run", "suite.yaml", "-o", "run")
    assert done.returncode == 2
    assert "another process is writing this run" in done.stderr


def test_batches_that_are_cut_otherwise_take_the_place_of_the_old_ones(small):
    (small.folder / "pairs.py").write_text(
        "from medeval.tasks.prompted_segmentation.task import PromptedSegmentation\nfrom medeval.types import Unit\n"
        "class Pairs(PromptedSegmentation):\n    task: str = 'pairs'\n"
        "    def units(self, index):\n"
        "        for start in range(0, len(index), 2):\n            yield Unit(index.ids[start:start + 2])\n"
    )
    task = small.task(task="pairs.py:Pairs")
    small.run(small.suite(datasets={"pics": {**small.pictures(cases=6), "limit": 3}}, tasks=[task]))
    suite = small.suite(datasets={"pics": small.pictures(cases=6)}, tasks=[task])
    run = small.run(suite)
    keys = ["case", "structure", "prompt", "round"]
    assert not run.records()[keys].duplicated().any()
    small.run(suite, out="fresh")
    assert small.parts("run") == small.parts("fresh")
    small.run(small.suite(datasets={"pics": {**small.pictures(cases=6), "limit": 2}}, tasks=[task]))
    assert run.records()["case"].nunique() == 6  # cases that the suite no longer names stay
