"""The demo suite, run as it is: scores fall with each degradation, on the items that it concerns and on no other."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from stage import AGENTCLINIC, bundled

import medeval
from medeval.dialogue.rubric import load_rubric

pytestmark = pytest.mark.slow
RUBRIC = load_rubric("mini-cex-llm-extended")
DEMO = Path(__file__).parents[2] / "benchmarks" / "medeval_suites" / "mini_cex_demo.yaml"
CONCERNS = {
    "drop": {"1.1", "1.2", "x1.4", "x1.5", "4.1"},
    "swap": {"3.1", "3.2", "x3.3", "4.1", "top-1", "top-3"},
    "harm": {"x3.4", "x3.6", "4.1"},
    "rude": {"2.1", "4.1"},
}
STEPS = (30, 60, 100)
DATA = {"bundled": "", "agentclinic": f"datasets.cases.file={AGENTCLINIC}"}


@pytest.fixture(scope="module", params=DATA)
def done(request, tmp_path_factory):
    if request.param == "agentclinic" and not AGENTCLINIC.is_file():
        pytest.skip("../shared/data/agentclinic is not there")
    out = tmp_path_factory.mktemp("demo") / "run"
    return request.param, medeval.run(
        DEMO, out, overrides=[DATA[request.param]] if DATA[request.param] else []
    )


def rows(run, by):
    found = {}
    for row in run.summary()["scores"]:
        if row["by"] == by:
            found.setdefault(row["model"], {})[row["group"]["structure"]] = row
    return found


def concerned(degradation):
    """The items, and what is made of them."""
    items = CONCERNS[degradation]
    return items | {"total"} | {f"dimension {item.dimension}" for item in RUBRIC.items if item.id in items}


@pytest.mark.parametrize("degradation", CONCERNS)
def test_scores_fall_with_a_degradation_and_only_on_the_items_that_it_concerns(done, degradation):
    name, run = done
    scores, moved = rows(run, "structure"), rows(run, "minus good")
    ladder = [scores[model] for model in ("good", *(f"{degradation}-{step}" for step in STEPS))]
    for milder, stronger in pairwise(ladder):
        assert all(
            stronger[item]["value"] <= milder[item]["value"]
            for item in milder
            if milder[item]["value"] is not None
        )
        assert stronger["total"]["value"] < milder["total"]["value"]
    for step in STEPS:
        there = moved[f"{degradation}-{step}"]
        changed = {item for item, row in there.items() if row["worse"] or row["better"]}
        assert "total" in changed
        assert changed <= concerned(degradation)
        assert not any(row["better"] for row in there.values())
    full = {item for item, row in moved[f"{degradation}-100"].items() if row["worse"]}
    without_plan = {"3.1", "3.2", "x3.4"} if name == "agentclinic" else set()  # its cases have none
    assert full == {
        i for i in concerned(degradation) if i not in without_plan and i in moved[f"{degradation}-100"]
    }


@pytest.mark.parametrize("degradation", CONCERNS)
def test_the_fall_of_the_total_is_significant_paired_and_corrected(done, degradation):
    name, run = done
    for step in STEPS:
        row = rows(run, "minus good")[f"{degradation}-{step}"]["total"]
        assert row["n"] == row["patients"] == (60 if name == "agentclinic" else len(bundled()))
        assert row["p"] <= row["p_holm"] < 0.01


def test_the_report_shows_dialogues_and_says_that_the_probes_stand_in_order(done):
    _, run = done
    page = (run.path / "report.html").read_text()
    assert "good &gt; curt &gt; unsafe &gt; mute" in page
    assert "cannot be trusted" not in page
    assert page.count('<details class="talk"') == 48
    assert "What you have been describing" in page
    assert len(page) < 1_500_000
