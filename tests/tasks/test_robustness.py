"""Robustness as whole runs and as arithmetic: arms, what changes, degradation, corruption errors, bad input."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image as Pil
from small_world import scores

import medeval
from medeval.decisions.compare import compare
from medeval.decisions.evidence import RunEvidence
from medeval.decisions.export import model_card
from medeval.decisions.leaderboard import leaderboard
from medeval.tasks.robustness import PromptedRobustness, Robustness
from medeval.types import SuiteError

MODEL = '''
import numpy as np
from medeval.types import Capabilities, Segmentation

class Threshold:
    """Foreground is what is brighter than a threshold."""
    takes = Capabilities(prompts=frozenset({"box"}))
    def __init__(self, above: float = 120.0):
        self.above = above
    def segment_image(self, image, structures):
        return {"foreground": image.array[0] > self.above}
    def encode(self, image):
        return image.array[0]
    def segment(self, encoded, prompts):
        return [Segmentation(encoded > self.above) for _ in prompts]
'''


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for sub in ("images", "masks"):
        (tmp_path / "set" / sub).mkdir(parents=True)
    for n in range(6):
        mask = np.zeros((24, 24), np.uint8)
        mask[5:15, 4 + n : 16] = 1
        image = np.clip(70 + 100 * mask + rng.normal(0, 12, mask.shape), 0, 255).astype(np.uint8)
        Pil.fromarray(image).save(tmp_path / "set" / "images" / f"p{n % 3}-{n}.png")
        Pil.fromarray(mask).save(tmp_path / "set" / "masks" / f"p{n % 3}-{n}.png")
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def suite(world, task=None, **changes):
    parts = {
        "name": "robust",
        "datasets": {"set": {"format": "image-mask-folder", "root": "set", "patient_id": "^p[0-9]"}},
        "models": {
            "good": {"adapter": "model.py:Threshold"},
            "other": {"adapter": "model.py:Threshold", "above": 100.0},
        },
        "tasks": [
            {
                "task": "robustness", "corruptions": ["noise", "gamma"], "severities": [5, 1], "metrics": ["dice"],
                "reference_model": "other", **(task or {}),
            }
        ],
    }  # fmt: skip
    path = world / "suite.yaml"
    path.write_text(yaml.safe_dump({**parts, **changes}, sort_keys=False))
    return path


def frame(run):
    paths = sorted((run.path / "records").glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)


def test_each_corruption_and_severity_is_an_arm(world):
    run = medeval.run(suite(world), world / "run")
    arms = ["clean", "noise@1", "noise@5", "gamma@1", "gamma@5"]
    found = frame(run)
    assert set(found["arm"]) == set(arms)
    assert (found.groupby(["model", "arm"]).size() == 6).all()
    steps = [row for row in scores(run, model="good", metric="dice") if row["by"] == "corruption x severity"]
    assert [row["arm"] for row in steps] == arms[1:]
    assert steps[0]["group"] == {"corruption": "noise", "severity": 1}
    assert (world / "run" / "report.html").read_text().count("against the severity of noise") >= 1


def test_the_figures_are_those_of_the_definitions(world):
    run = medeval.run(suite(world), world / "run")
    mean = frame(run).groupby(["model", "arm"])["dice"].mean()
    error = 1 - mean

    def summed(model, corruption, clean=0.0):
        return sum(error[model, f"{corruption}@{level}"] - clean for level in (1, 5))

    worse = {c: summed("good", c, error["good", "clean"]) / 2 for c in ("noise", "gamma")}
    ce = {c: summed("good", c) / summed("other", c) for c in ("noise", "gamma")}
    for corruption in ("noise", "gamma"):
        group = {"corruption": corruption}
        row = _one(run, "degradation in dice", group)
        assert row["value"] == pytest.approx(worse[corruption])
        assert row["low"] <= row["value"] <= row["high"]
        assert _one(run, "mCE (dice)", group)["value"] == pytest.approx(ce[corruption])
    assert _one(run, "degradation in dice", {})["value"] == pytest.approx(np.mean(list(worse.values())))
    assert _one(run, "mCE (dice)", {})["value"] == pytest.approx(np.mean(list(ce.values())))
    excess = [
        summed("good", c, error["good", "clean"]) / summed("other", c, error["other", "clean"])
        for c in ("noise", "gamma")
    ]
    relative = _one(run, "relative mCE (dice)", {})
    assert relative["value"] == (pytest.approx(np.mean(excess)) if min(excess) > 0 else None)


def _one(run, metric, group, model="good"):
    rows = [row for row in scores(run, model=model, metric=metric) if row["group"] == group]
    assert len(rows) == 1
    return rows[0]


def test_the_reference_model_is_1(world):
    run = medeval.run(suite(world), world / "run")
    for metric in ("mCE (dice)", "relative mCE (dice)"):
        row = _one(run, metric, {}, "other")
        assert row["value"] in (None, pytest.approx(1))
    assert _one(run, "mCE (dice)", {}, "other")["low"] == pytest.approx(1)


def test_without_a_reference_model_only_the_degradation_is_told(world):
    run = medeval.run(suite(world, {"reference_model": None}), world / "run")
    assert {row["metric"] for row in scores(run)} == {"dice", "degradation in dice"}


def test_a_reference_model_that_was_not_run_is_told(world):
    run = medeval.run(suite(world, {"reference_model": "gone"}), world / "run")
    assert not any("mCE" in row["metric"] for row in scores(run))
    assert "gone" in (world / "run" / "report.html").read_text()


def test_a_distance_degrades_upwards(world):
    run = medeval.run(suite(world, {"metrics": ["hd95"]}), world / "run")
    mean = frame(run).groupby(["model", "arm"])["hd95"].mean()["good"]
    arms = [arm for arm in mean.index if arm != "clean"]
    row = _one(run, "degradation in hd95", {})
    assert row["value"] == pytest.approx(np.mean([mean[arm] for arm in arms]) - mean["clean"])
    assert row["direction"] == "lower"


def test_prompts_stay_as_they_were(world):
    task = {"task": "prompted-robustness", "prompts": ["box"]}
    run = medeval.run(suite(world, task), world / "run")
    boxes = frame(run).groupby("case")["box"].nunique()
    assert (boxes == 1).all()
    by_arm = frame(run).groupby(["model", "arm"])["dice"].mean()
    assert by_arm["good", "noise@5"] < by_arm["good", "clean"]
    (row,) = [row for row in scores(run, model="good", metric="mCE (dice)") if row["group"] == {}]
    assert row["prompt"] == "box"


def test_an_arm_more_leaves_the_others_alone(world):
    run = medeval.run(suite(world, {"severities": [1]}), world / "run")
    before = {p: p.stat().st_mtime_ns for p in (run.path / "records").iterdir()}
    run = medeval.run(suite(world, {"severities": [1, 5]}), world / "run")
    after = {p: p.stat().st_mtime_ns for p in (run.path / "records").iterdir()}
    assert len(after) > len(before)
    assert all(after[path] == stamp for path, stamp in before.items())


def test_cases_can_weigh_the_same(world):
    run = medeval.run(suite(world, {"average": "cases"}), world / "run")
    assert _one(run, "degradation in dice", {})["value"] is not None


def test_one_patient_has_no_interval(world):
    data = {"set": {"format": "image-mask-folder", "root": "set", "patient_id": "^p"}}
    run = medeval.run(suite(world, datasets=data), world / "run")
    row = _one(run, "degradation in dice", {})
    assert row["low"] is None
    assert "one patient" in row["note"]


def test_what_answers_by_case_has_no_robustness(world):
    with pytest.raises(SuiteError, match="no robustness to measure"):
        medeval.run(suite(world, models={"oracle": {"adapter": "oracle"}}), world / "run")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"corruptions": ["nois"]}, "did you mean 'noise'"),
        ({"corruptions": []}, "at least 1 item"),
        ({"corruptions": ["noise", "noise"]}, "named twice: noise, noise"),
        ({"severities": [6]}, "less than or equal to 5"),
        ({"severities": [1, 1]}, "named twice"),
        ({"average": "structures"}, "records"),
    ],
)
def test_mistakes_are_told_before_anything_runs(world, task, message):
    with pytest.raises(SuiteError, match=message):
        medeval.run(suite(world, task), world / "run")


def test_defaults_are_all_corruptions_at_all_severities():
    for cls in (Robustness, PromptedRobustness):
        assert len(cls().arms()) == 1 + 11 * 5
        assert cls().metrics == ("dice", "iou")


def test_repeated_runs_end_in_the_same_bytes(world):
    first = medeval.run(suite(world), world / "one")
    second = medeval.run(suite(world), world / "two")
    texts = [json.dumps(run.summary(), sort_keys=True) for run in (first, second)]
    assert texts[0] == texts[1]


def test_a_row_over_all_corruptions_is_no_contender(world):
    run = RunEvidence(medeval.run(suite(world), world / "run"))
    assert [(row.old, row.new) for row in compare([run]).rows] == [("good (clean)", "other (clean)")]
    assert leaderboard(run, "robustness", "set", "dice").board.models == ("good (clean)", "other (clean)")


def test_a_model_card_tells_arms_apart_and_holds_rows_over_all_of_them(world):
    card = model_card(RunEvidence(medeval.run(suite(world), world / "run")), "good")
    front, table = card.split("---\n")[1:3]
    told = [
        m["name"] for result in yaml.safe_load(front)["model-index"][0]["results"] for m in result["metrics"]
    ]
    assert {"dice (clean)", "degradation in dice (all corruptions)", "mCE (dice) (all corruptions)"} <= set(
        told
    )
    assert "| clean | dice |" in table
    assert "| all corruptions | mCE (dice) |" in table
