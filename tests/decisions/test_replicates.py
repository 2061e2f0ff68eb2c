"""One model with several checkpoints or seeds: its spread beside the patients' interval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from measured_world import MEASURED, World, values

from medeval.decisions.evidence import RunEvidence
from medeval.decisions.replicates import replicate_tables, replicated
from medeval.suite import Suite
from medeval.suite.replicates import model_of
from medeval.types import SuiteError


def trained(world: World, name: str, levels: list[float], seed: int = 0) -> dict[str, str]:
    """An entry whose checkpoints lie in runs of several seeds."""
    cases = world.cases(20)
    for number, level in enumerate(levels):
        folder = world.folder / name / f"seed_{number}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "best.json").write_text(json.dumps(values(cases, level, seed + number)))
    return {"adapter": f"{MEASURED}:Trained", "checkpoint": f"{name}/seed_*/best.json"}


def test_each_checkpoint_is_a_replicate_of_one_model(world: World) -> None:
    suite = Suite.from_dict(world.suite({"net": trained(world, "net", [0.8, 0.7, 0.9])}), base=world.folder)
    assert list(suite.model_specs) == ["net~0", "net~1", "net~2"]
    assert {model_of(name) for name in suite.model_specs} == {"net"}
    again = Suite.from_dict(suite.resolved(), base=world.folder)
    assert list(again.model_specs) == list(suite.model_specs)


@pytest.mark.parametrize(("count", "names"), [(1, ["net"]), (2, ["net~0", "net~1"])])
def test_one_match_is_the_model_itself(world: World, count: int, names: list[str]) -> None:
    suite = Suite.from_dict(world.suite({"net": trained(world, "net", [0.8] * count)}), base=world.folder)
    assert list(suite.model_specs) == names


def test_an_absolute_pattern_and_a_tasks_list_of_models(world: World) -> None:
    entry = trained(world, "net", [0.8, 0.7])
    entry["checkpoint"] = str(world.folder / entry["checkpoint"])
    suite = Suite.from_dict(world.suite({"net": entry}, task={"models": ["net"]}), base=world.folder)
    assert suite.tasks[0].models == ("net~0", "net~1")


def test_a_pattern_that_matches_nothing_is_told(world: World) -> None:
    entry = {"adapter": f"{MEASURED}:Trained", "checkpoint": "none/seed_*/best.json"}
    with pytest.raises(SuiteError, match=r"models.net.checkpoint: 'none/seed_\*/best.json' matches no file"):
        Suite.from_dict(world.suite({"net": entry}), base=world.folder)


@pytest.mark.parametrize(
    ("files", "pattern", "told"),
    [
        (["a.json"], "**.json", "is no pattern of files"),
        (["a-1/2.json", "a/1-2.json"], "*/*.json", "would both be called 'net~a-1-2'"),
    ],
)
def test_a_pattern_that_would_lose_a_replicate_is_told(
    world: World, files: list[str], pattern: str, told: str
) -> None:
    for file in files:
        (world.folder / "runs" / file).parent.mkdir(parents=True, exist_ok=True)
        (world.folder / "runs" / file).write_text("{}")
    with pytest.raises(SuiteError, match=told):
        Suite.from_dict(
            world.suite({"net": {"adapter": f"{MEASURED}:Trained", "checkpoint": f"runs/{pattern}"}}), base=world.folder
        )  # fmt: skip


def test_a_replicate_that_is_called_like_another_model_is_told(world: World) -> None:
    net = trained(world, "net", [0.8, 0.7])
    one = {**net, "checkpoint": "net/seed_0/best.json"}
    with pytest.raises(SuiteError, match="a replicate is called 'net~1' like another model"):
        Suite.from_dict(world.suite({"net~1": one, "net": net}), base=world.folder)


def test_the_spread_is_over_replicates_and_the_interval_over_patients(world: World) -> None:
    run = RunEvidence.open(world.run("run", {"net": trained(world, "net", [0.80, 0.70, 0.75])}))
    found = next(row for row in replicated(run) if row.metric == "quality")
    records = run.run.records()
    means = records.groupby("model")["quality"].mean()
    assert found.scores == pytest.approx({str(n): means[f"net~{n}"] for n in range(3)})
    assert found.spread == pytest.approx(means.std(ddof=1))
    assert found.mean.value == pytest.approx(records.groupby("case")["quality"].mean().mean())
    assert found.mean.patients == 20
    assert found.mean.high - found.mean.low < 2 * 1.96 * found.spread


@pytest.mark.parametrize(
    ("second", "verdict"), [([0.60, 0.61, 0.62], "can separate"), ([0.74, 0.80, 0.68], "cannot separate")]
)
def test_methods_are_set_against_their_own_spread(world: World, second: list[float], verdict: str) -> None:
    models = {"a": trained(world, "a", [0.80, 0.70, 0.75]), "b": trained(world, "b", second, 7)}
    if verdict == "can separate":
        models["a"] = trained(world, "a", [0.80, 0.81, 0.82])
    (table,) = replicate_tables(RunEvidence.open(world.run("run", models)))
    assert f"quality: this data set {verdict}" in table.note


def test_seeds_of_a_suite_are_replicates_too(world: World) -> None:
    cases = world.cases(20)
    run = RunEvidence.open(world.run("run", {"net": world.model("net", values(cases, 0.8, 0))}, seeds=[0, 1]))
    found = replicated(run)[0]
    assert list(found.scores) == ["seed 0", "seed 1"]
    assert found.spread == pytest.approx(0.0)


def test_a_model_without_replicates_has_no_table(three: Path) -> None:
    assert replicate_tables(RunEvidence.open(three)) == []


def test_the_report_has_a_section_of_its_own(world: World) -> None:
    import medeval
    from medeval.api import RunOptions

    suite = Suite.from_dict(world.suite({"net": trained(world, "net", [0.8, 0.7])}), base=world.folder)
    run = medeval.run(suite, world.folder / "run", options=RunOptions(report=True))
    page = (run.path / "report.html").read_text()
    assert "SD over replicates" in page
    assert np.isfinite(run.summary()["scores"][0]["value"])
