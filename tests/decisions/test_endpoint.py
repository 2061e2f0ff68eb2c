"""``primary:`` and ``require:``: what can be declared, what becomes of it, and that it cannot be moved afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from measured_world import World, values

from medeval.decisions import endpoint
from medeval.decisions.conclude import endpoint_missed
from medeval.decisions.endpoint import _margin_p
from medeval.decisions.evidence import CellName, Entered
from medeval.decisions.verify import verify
from medeval.metrics.registry import get_metric
from medeval.runs import Run
from medeval.suite import Suite
from medeval.suite.declared import Declared, Primary, Requirement
from medeval.types import SuiteError

LEVELS = {"new": 0.85, "old": 0.80}


def models(world: World, **levels: float) -> dict[str, Any]:
    cases = world.cases(30)
    return {
        n: world.model(n, values(cases, level, seed))
        for seed, (n, level) in enumerate((levels or LEVELS).items())
    }


def outcome(
    world: World, out: str = "run", levels: dict[str, float] | None = None, **declared: Any
) -> dict[str, Any]:
    return Run.open(world.run(out, models(world, **(levels or LEVELS)), **declared)).summary()["endpoint"]


def test_a_better_model_is_shown_to_be_superior(world: World) -> None:
    found = outcome(world, primary={"metric": "quality", "baseline": "old"})
    (claim,) = found["confirmatory"]
    assert found["met"]
    assert (claim["model"], claim["baseline"], claim["claim"], claim["verdict"]) == (
        "new",
        "old",
        "superiority",
        "superior",
    )
    assert claim["p_corrected"] < 0.05
    assert claim["low"] > 0
    assert found["family"] == "Holm over 1 confirmatory claims"


@pytest.mark.parametrize(
    ("new", "primary", "verdict", "met"),
    [
        (0.75, {}, "inferior", False),
        (0.80, {}, "inconclusive", False),
        (0.795, {"margin": 0.03}, "non-inferior", True),
        (0.70, {"margin": 0.03}, "inferior", False),
        (0.775, {"margin": 0.03}, "inconclusive", False),
        (0.85, {"margin": 0.03}, "superior", True),
        (0.80, {"margin": 0.03, "claim": "equivalence"}, "equivalent", True),
        (0.85, {"margin": 0.03, "claim": "equivalence"}, "inconclusive", False),
    ],
)
def test_the_claim_decides(
    world: World, new: float, primary: dict[str, Any], verdict: str, met: bool
) -> None:
    declared = {"metric": "quality", "baseline": "old", **primary}
    found = outcome(world, levels={"new": new, "old": 0.8}, primary=declared)
    assert [c["met"] for c in found["confirmatory"]] == [met]
    assert found["confirmatory"][0]["verdict"] == verdict
    assert found["met"] == met


def test_less_is_better_where_the_metric_says_so(world: World) -> None:
    found = outcome(world, primary={"metric": "loss", "baseline": "old", "margin": 0.03})
    assert found["confirmatory"][0]["verdict"] == "superior"
    assert found["confirmatory"][0]["difference"] < 0


def test_several_models_are_one_family(world: World) -> None:
    levels = {"a": 0.86, "b": 0.85, "c": 0.80, "old": 0.80}
    found = outcome(
        world, levels=levels, primary={"metric": "quality", "baseline": "old", "models": ["a", "b"]}
    )
    assert [claim["model"] for claim in found["confirmatory"]] == ["a", "b"]
    assert found["family"] == "Holm over 2 confirmatory claims"
    assert found["confirmatory"][0]["p_corrected"] == pytest.approx(2 * found["confirmatory"][0]["p"])


@pytest.mark.parametrize(
    ("require", "met"),
    [
        ("quality.lower >= 0.75", True), ("quality.lower >= 0.84", False), ("quality >= 0.82", True),
        ("loss.upper <= 0.2", True), ("loss < 0.1", False),
    ],
)  # fmt: skip
def test_requirements_hold_of_every_model_but_the_baseline(world: World, require: str, met: bool) -> None:
    found = outcome(world, primary={"metric": "quality", "baseline": "old"}, require=[require])
    assert [row["model"] for row in found["required"]] == ["new"]
    assert (found["required"][0]["met"], found["met"]) == (met, met)


def test_one_patient_has_no_lower_end_to_meet_a_requirement_with(world: World) -> None:
    cases = world.cases(1, 3)
    run = world.run(
        "run", {"net": world.model("net", dict.fromkeys(cases, 0.9))}, require=["quality.lower >= 0.1"]
    )
    assert not Run.open(run).summary()["endpoint"]["met"]
    assert endpoint_missed(Run.open(run))


def test_no_verdict_without_a_declaration(world: World) -> None:
    run = Run.open(world.run("run", models(world)))
    assert "endpoint" not in run.summary()
    assert not endpoint_missed(run)


MISTAKES = {
    "wrong sign": ({"primary": {"metric": "quality", "baseline": "old", "margin": -0.02}}, "margin.*greater than 0|margin.*above 0"),
    "no baseline": ({"primary": {"metric": "quality", "margin": 0.02}}, "need a `baseline`"),
    "unknown baseline": ({"primary": {"metric": "quality", "baseline": "odl"}}, "no baseline 'odl'; did you mean 'old'"),
    "unknown metric": ({"primary": {"metric": "qualty", "baseline": "old"}}, "no metric 'qualty'; did you mean 'quality'"),
    "unknown model": ({"primary": {"metric": "quality", "baseline": "old", "models": ["x"]}}, "no model 'x'"),
    "unknown key": ({"primary": {"metric": "quality", "marign": 1}}, "marign"),
    "no margin": ({"primary": {"metric": "quality", "baseline": "old", "claim": "equivalence"}}, "needs a `margin`"),
    "no sentence": ({"require": ["quality is good"]}, r"require.*is no requirement; write METRIC"),
    "no number": ({"require": ["quality >= high"]}, "is no requirement"),
    "no such metric": ({"require": ["dice >= 0.8"]}, "no task has the metric 'dice'"),
    "several settings": (
        {"primary": {"metric": "quality", "baseline": "old"}, "task": {"settings": ["a", "b"]}}, "name one with `prompt:`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_endpoint_is_told_before_the_run(world: World, name: str) -> None:
    declared, told = MISTAKES[name]
    with pytest.raises(SuiteError, match=told):
        Suite.from_dict(world.suite(models(world), **declared), base=world.folder)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dice.lower >= 0.80", ("dice", "lower", ">=", 0.8)),
        ("nsd@0.5mm<=1e-3", ("nsd@0.5mm", "value", "<=", 0.001)),
        ("hd95.upper < 10", ("hd95", "upper", "<", 10.0)),
    ],
)
def test_a_requirement_is_read(text: str, parts: tuple) -> None:
    found = Requirement.parse(text)
    assert (found.metric, found.part, found.op, found.number) == parts


def test_the_resolved_suite_declares_the_same(world: World) -> None:
    suite = Suite.from_dict(
        world.suite(models(world), primary={"metric": "quality", "baseline": "old"}, require=["loss < 0.4"]),
        base=world.folder,
    )
    again = Suite.from_dict(suite.resolved(), base=world.folder)
    assert Declared.of(again.resolved()).sha256 == Declared.of(suite.resolved()).sha256


def test_an_endpoint_edited_in_the_manifest_is_detected(world: World) -> None:
    run = world.run("run", models(world), primary={"metric": "quality", "baseline": "old", "margin": 0.01})
    assert verify(Run.open(run)).good
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["suite"]["primary"]["margin"] = 0.2
    (run / "manifest.json").write_text(json.dumps(manifest))
    problems = verify(Run.open(run)).problems
    assert any("not the one that was hashed before scoring" in problem for problem in problems)
    assert any("manifest.json was changed" in problem for problem in problems)


def test_an_endpoint_changed_in_the_suite_after_scoring_is_detected(world: World) -> None:
    world.run("run", models(world), primary={"metric": "quality", "baseline": "old", "margin": 0.01})
    run = world.run("run", models(world), primary={"metric": "quality", "baseline": "old", "margin": 0.2})
    assert any("changed after scoring: 2 different" in problem for problem in verify(Run.open(run)).problems)


def test_an_endpoint_added_after_scoring_is_detected(world: World) -> None:
    world.run("run", models(world))
    run = world.run("run", models(world), require=["quality >= 0.1"])
    assert not verify(Run.open(run)).good


def test_a_run_that_grows_under_one_endpoint_is_fine(world: World) -> None:
    declared = {"primary": {"metric": "quality", "baseline": "old", "models": ["new"]}}
    world.run("run", models(world), **declared)
    more = {**models(world), "third": world.model("third", values(world.cases(30), 0.7, 9))}
    assert verify(Run.open(world.run("run", more, **declared))).good


def test_the_report_tells_confirmatory_from_exploratory(world: World) -> None:
    import medeval
    from medeval.api import RunOptions

    suite = Suite.from_dict(
        world.suite(models(world), primary={"metric": "quality", "baseline": "old"}), base=world.folder
    )
    run = medeval.run(suite, world.folder / "run", options=RunOptions(report=True))
    page = Path(run.path / "report.html").read_text()
    assert page.index("Declared endpoint") < page.index("Scores")
    for words in ("exploratory", "Holm over 1 confirmatory claims", "superior"):
        assert words in page


@pytest.mark.parametrize(("require", "code"), [("quality >= 0.5", 0), ("quality >= 0.99", 1)])
def test_the_exit_code_is_the_endpoints(world: World, require: str, code: int) -> None:
    import subprocess
    import sys

    import yaml

    suite = world.suite(models(world), primary={"metric": "quality", "baseline": "old"}, require=[require])
    (world.folder / "suite.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    words = [sys.executable, "-m", "medeval.cli", "run", "suite.yaml", "-o", "run", "--no-report", "-q"]
    done = subprocess.run(words, cwd=world.folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    assert ("endpoint is not met" in done.stderr) == bool(code)


def test_the_one_sided_test_weighs_cases_as_the_score_does() -> None:
    """Ten bad records of one case of each patient weigh no more than its other case's one."""
    cases = [f"p{p}-{c}" for p in range(8) for c in "ab" for _ in range(10 if c == "a" else 1)]
    gains = np.array([-0.1 if case.endswith("a") else 0.2 for case in cases])
    patients = np.array([case[:2] for case in cases])
    keys = np.array([f"{case}/{n}" for n, case in enumerate(cases)], dtype=object)
    metric = get_metric("dice")
    old, new = (
        Entered(keys, np.array(cases), patients, {"value": 0.5 + value}, np.array(cases), 0)
        for value in (0 * gains, gains)
    )
    by_case = _margin_p("non-inferiority", 0.01, metric, old, new, "cases")
    by_record = _margin_p("non-inferiority", 0.01, metric, old, new, "records")
    assert by_case is not None
    assert by_record is not None
    assert by_case < 0.01 < 0.99 < by_record


def test_a_model_meets_the_baseline_under_its_own_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [CellName("t", "d", model, arm) for model in ("old", "new") for arm in ("clean", "noise@3")]
    evidence = SimpleNamespace(
        cells=cells,
        baselines=set,
        metrics=lambda task: {"dice": get_metric("dice")},
        settings=lambda cell: [("", {})],
    )
    monkeypatch.setattr(
        endpoint, "_claim", lambda evidence, primary, metric, old, new, prompt: (old.arm, new.arm)
    )
    primary = Primary(metric="dice", baseline="old")
    assert list(endpoint._claims(evidence, primary)) == [("clean", "clean"), ("noise@3", "noise@3")]
