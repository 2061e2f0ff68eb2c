"""The UPL-SFDA claim's configuration holds: every world is a valid suite, arms are named, who counts as made worse."""

import sys
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch")

CLAIMS = Path(__file__).parents[2] / "benchmarks" / "claims"


@pytest.fixture
def parts(monkeypatch):
    """(the claim, its module)."""
    monkeypatch.syspath_prepend(str(CLAIMS))
    for name in ("common", "upl_sfda"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import common
    import upl_sfda

    yield common.Claim.load("upl_sfda"), upl_sfda
    for name in ("common", "upl_sfda"):
        sys.modules.pop(name, None)


def test_every_world_is_a_suite_of_named_arms(parts, tmp_path):
    from medeval.api import load_suite

    claim, module = parts
    arms = {module.SOURCE}
    for name, world in claim.config["worlds"].items():
        suite = load_suite(
            module._suite(claim.config, name, module._seeded(world, 7), tmp_path / "w.safetensors", 7)
        )
        assert [task.label for task in suite.tasks] == [name, f"{name}, near"]
        arms |= set(world["arms"])
    assert arms == set(claim.arms)


def test_every_comparison_asks_for_what_a_world_has(parts):
    claim, module = parts
    for comparison in claim.comparisons:
        for side in (comparison.better, comparison.worse):
            world, _, part = side.setting.partition(", ")
            known = (
                {module.SOURCE} if part == "near" else {module.SOURCE, *claim.config["worlds"][world]["arms"]}
            )
            assert side.arm in known
            assert part in ("", "near", module.KEPT)


def test_the_seed_stands_for_its_name(parts):
    _, module = parts
    assert module._seeded({"a": "SEED", "b": {"c": "SEED", "d": [1]}}, 5) == {"a": 5, "b": {"c": 5, "d": [1]}}


def test_a_patient_is_kept_where_its_mean_is_no_worse(parts):
    _, module = parts
    values = {("source-only", "p"): 0.5, ("source-only", "q"): 0.6, ("tent", "p"): 0.5, ("tent", "q"): 0.4}
    rows = pd.DataFrame(
        [
            {"arm": arm, "setting": "w", "item": patient, "patient": patient, "case": patient, "value": value}
            for (arm, patient), value in values.items()
        ]
    )
    kept = module._kept(rows, "w")
    found = {(row["arm"], row["item"]): row["value"] for _, row in kept.iterrows()}
    assert found == {("source-only", "p"): 1, ("source-only", "q"): 1, ("tent", "p"): 1, ("tent", "q"): 0}
    assert set(kept["setting"]) == {"w, not made worse"}
