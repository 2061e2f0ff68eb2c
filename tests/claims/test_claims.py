"""Claims: what counts as shown, what the page says, and that each claim's file can be read before it is run."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

CLAIMS = Path(__file__).parents[2] / "benchmarks" / "claims"
if not CLAIMS.is_dir():
    pytest.skip("benchmarks/claims is not in this checkout", allow_module_level=True)
sys.path.insert(0, str(CLAIMS))

import common  # noqa: E402
import page  # noqa: E402

YAML = {
    "title": "Toy", "statement": "b beats a.", "seeds": [1, 2], "config": {"n": 3}, "arms": {"a": "first", "b": "second"},
    "comparisons": [{"say": "b beats a", "better": {"arm": "b"}, "worse": {"arm": "a"}}], "limits": ["nothing else"],
}  # fmt: skip


@pytest.fixture
def claim(tmp_path, monkeypatch):
    """Reads the toy with changes from its file."""
    monkeypatch.setattr(common, "HERE", tmp_path)

    def load(**changes):
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump({**YAML, **changes}))
        return common.Claim.load("toy")

    return load


def evidence(gains, arms=("a", "b")):
    """Ten items an arm, each of a patient of its own; the second arm gains what ``gains`` says."""
    rows = [
        {
            "arm": arm,
            "setting": "",
            "item": f"i{n}",
            "patient": f"p{n}",
            "case": f"c{n}",
            "value": 0.4 + 0.01 * n + gain,
        }
        for arm, of_arm in zip(arms, ([0.0] * 10, gains), strict=True)
        for n, gain in enumerate(of_arm)
    ]
    return pd.DataFrame(rows)


STEADY = [0.1, 0.11, 0.09, 0.1, 0.12, 0.1, 0.1, 0.09, 0.11, 0.1]
SWINGING = [0.3, -0.28, 0.3, -0.28, 0.3, -0.28, 0.3, -0.28, 0.3, -0.28]  # mean 0.01


@pytest.mark.parametrize(
    ("rule", "gains", "shown"),
    [
        ("interval", (STEADY, STEADY), True),
        ("interval", (STEADY, SWINGING), False),
        ("sign", (STEADY, SWINGING), True),
        ("sign", (STEADY, [-g for g in STEADY]), False),
        ("interval", (STEADY, [0.0] * 10), False),
    ],
)
def test_a_comparison_is_shown_when_every_seed_fulfils_its_rule(claim, rule, gains, shown):
    toy = claim(comparisons=[{**YAML["comparisons"][0], "rule": rule}])
    found = page.differences(toy, dict(zip(toy.seeds, map(evidence, gains), strict=True)))
    assert page.shown(toy, found) is shown
    assert f"| {'' if shown else 'not '}shown ({rule}) |" in page.table(toy, found)


def test_a_distance_is_better_when_it_is_smaller(claim):
    toy = claim(metric="hd95")
    worse = {seed: evidence(STEADY) for seed in toy.seeds}
    assert not page.shown(toy, page.differences(toy, worse))
    better = {seed: evidence([-g for g in STEADY]) for seed in toy.seeds}
    assert page.shown(toy, page.differences(toy, better))


def test_one_patient_has_no_interval_and_shows_nothing_by_interval(claim):
    toy = claim()
    rows = evidence(STEADY).assign(patient="one")
    found = page.differences(toy, {1: rows, 2: rows})
    assert not page.shown(toy, found)
    assert "no interval" in page.table(toy, found)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (evidence(STEADY).query("arm == 'a'"), "no value of arm 'b'"),
        (evidence(STEADY).iloc[:-1], "10 items against|9 items against 10"),
        (pd.concat([evidence(STEADY)] * 2), "items that are there twice"),
    ],
    ids=["arm", "item", "twice"],
)
def test_evidence_that_is_not_whole_is_no_evidence(claim, rows, message):
    with pytest.raises(common.ClaimError, match=message):
        page.differences(claim(), {1: rows})


def test_a_section_says_all_that_was_fixed_and_is_replaced_in_its_place(claim, tmp_path):
    toy = claim()
    found = page.differences(toy, {seed: evidence(STEADY) for seed in toy.seeds})
    text = page.section(toy, found)
    for said in (
        "## Toy",
        "b beats a.",
        "seeds 1, 2, all",
        "benchmarks/claims/toy.yaml",
        toy.digest[:16],
        "nothing else",
        "**b**: second",
    ):
        assert said in text
    target = tmp_path / "claims.md"
    page.write_section(target, "toy", "of yesterday")
    page.write_section(target, "other", "beside")
    page.write_section(target, "toy", text)
    written = target.read_text()
    assert "of yesterday" not in written
    assert written.index("## Toy") < written.index("beside")
    assert written.startswith("# Claims of the papers")
    page.write_section(target, "toy", text)
    assert target.read_text() == written


def test_a_seed_that_is_done_is_read_back_and_another_file_is_another_run(claim, tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text(
        "import pandas as pd\n"
        "def run(claim, seed, folder):\n"
        "    (folder / 'ran').touch()\n"
        "    return pd.DataFrame([{'arm': 'a', 'setting': '', 'item': 'x', 'patient': None, 'case': 'c', 'value': 0.1 * seed}])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    toy = claim()
    folder = tmp_path / "seed"
    first = common._one_seed(toy, 3, folder)
    (folder / "ran").unlink()
    assert common._one_seed(toy, 3, folder).equals(first)
    assert not (folder / "ran").exists()
    assert first["patient"].tolist() == [""]
    assert claim(config={"n": 4}).digest != toy.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {"a": "first"}}, "arms that `arms` does not list: b"),
        ({"seeds": []}, "seeds"),
        ({"limits": []}, "limits"),
        ({"comparison": []}, "comparison"),
    ],
)
def test_a_claim_that_cannot_be_meant_is_told(claim, changes, message):
    with pytest.raises(common.ClaimError, match=re.escape(message)):
        claim(**changes)


@pytest.mark.parametrize("name", [path.stem for path in sorted(CLAIMS.glob("*.yaml"))])
def test_each_claim_of_the_project_has_three_seeds_and_its_module(name):
    claim = common.Claim.load(name)
    assert len(set(claim.seeds)) >= 3
    assert "def run(claim: Claim, seed: int, folder: Path)" in (CLAIMS / f"{name}.py").read_text()
