"""The gate against a baseline: real losses fail, noise passes, other work is refused; and what a baseline holds."""

import json

import pytest

from medeval.regression import gate, keep_baseline
from medeval.runs import Run
from medeval.types import RunError


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Runs of the small world by the model's tolerance."""
    from small_world import Small

    small = Small(tmp_path_factory.mktemp("gate"))
    data = {"pics": small.pictures(cases=24, patients=24)}

    def run(tolerance, **task):
        name = f"t{tolerance}{len(task)}"
        suite = small.suite(
            f"{name}.yaml", datasets=data, models={"mine": small.model(tolerance=tolerance)},
            tasks=[small.task(prompts=["box"], **task)],
        )  # fmt: skip
        return small.run(suite.name, name)

    return run


def test_a_baseline_is_small_opens_as_a_run_and_holds_no_path_of_the_machine(ran, tmp_path):
    run = ran(30.0)
    kept = Run.open(keep_baseline(run, tmp_path / "base"))
    assert kept.summary() == run.summary()
    assert len(kept.records()) == len(run.records())
    assert kept.records().equals(run.records())
    files = [path for path in kept.path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000
    manifest = json.loads((kept.path / "manifest.json").read_text())
    assert str(run.path.parent) not in json.dumps(manifest)
    assert "machine" not in manifest


def test_the_same_model_passes_and_a_worse_one_fails(ran, tmp_path):
    base = keep_baseline(ran(30.0), tmp_path / "base")
    assert gate(ran(30.0), base).regressions == []
    [regression] = gate(ran(4.0), base, margin=0.01).regressions
    assert "more than the margin of 0.01, p = " in regression.why
    assert "mine / box / dice" in regression.why


def test_a_better_model_passes(ran, tmp_path):
    base = keep_baseline(ran(4.0), tmp_path / "base")
    assert gate(ran(30.0), base).regressions == []


def test_strict_asks_for_non_inferiority(ran, tmp_path):
    base = keep_baseline(ran(30.0), tmp_path / "base")
    assert gate(ran(30.0), base, margin=0.01, strict=True).regressions == []
    [regression] = gate(ran(4.0), base, margin=0.01, strict=True).regressions
    assert "not shown to be within the margin" in regression.why


def test_the_markdown_tells_both_values_and_the_verdict(ran, tmp_path):
    base = keep_baseline(ran(30.0), tmp_path / "base")
    text = gate(ran(4.0), base).markdown()
    assert "| ❌ | mine | box |" in text
    assert text.count("\n|") == 3


def test_other_work_is_refused(ran, tmp_path):
    base = keep_baseline(ran(30.0), tmp_path / "base")
    with pytest.raises(RunError, match="not the same work"):
        gate(ran(30.0, box_rule="largest-component"), base)


def test_a_folder_that_is_no_baseline_is_left_alone(ran, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty, and no baseline"):
        keep_baseline(ran(30.0), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("margin", [-0.1, float("nan")])
def test_a_margin_is_a_loss(ran, tmp_path, margin):
    base = keep_baseline(ran(30.0), tmp_path / "base")
    with pytest.raises(RunError, match="margin"):
        gate(base, base, margin=margin)


def test_an_unknown_metric_is_told_with_the_nearest(ran, tmp_path):
    base = keep_baseline(ran(30.0), tmp_path / "base")
    with pytest.raises(RunError, match=r"no metric 'dise'.*dice"):
        gate(base, base, metric="dise")


def test_a_baseline_of_an_older_medeval_without_an_option_still_compares(ran, tmp_path):
    base = keep_baseline(ran(30.0), tmp_path / "base")
    manifest = json.loads((base / "manifest.json").read_text())
    for cell in manifest["cells"].values():
        del cell["predict"]["task.box_rule"]
    for entry in manifest["suite"]["tasks"]:
        del entry["box_rule"]
    (base / "manifest.json").write_text(json.dumps(manifest))
    assert gate(ran(30.0), base).regressions == []
    with pytest.raises(RunError, match="box_rule is 'whole' in base"):
        gate(ran(30.0, box_rule="largest-component"), base)


def test_a_run_with_its_predictions_is_never_replaced_by_a_baseline(ran):
    run = ran(30.0)
    held = {path for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="no baseline"):
        keep_baseline(run, run.path)
    assert {path for path in run.path.rglob("*") if path.is_file()} == held


def test_an_older_baseline_is_replaced(ran, tmp_path):
    keep_baseline(ran(30.0), tmp_path / "base")
    assert Run.open(keep_baseline(ran(30.0), tmp_path / "base")).summary() == ran(30.0).summary()


def test_a_model_that_left_the_suite_does_not_pass_in_silence(tmp_path):
    from small_world import Small

    small = Small(tmp_path)
    data = {"pics": small.pictures(cases=4, patients=4)}

    def run(*names):
        models = {name: small.model(tolerance=30.0) for name in names}
        suite = small.suite("s.yaml", datasets=data, models=models, tasks=[small.task(prompts=["box"])])
        return small.run(suite.name, "-".join(names))

    base = keep_baseline(run("kept", "gone"), tmp_path / "base")
    with pytest.raises(RunError, match=r"the baseline base holds .*gone / box, which kept lacks"):
        gate(run("kept"), base)
    assert gate(run("kept"), base, models=["kept"]).regressions == []
