"""Comparisons in what is shared: told where both sides are, and not where a difference would tell of a few."""

from __future__ import annotations

import json

import planted_names  # noqa: F401  (puts other rooms' helpers on the path)
import pytest
from measured_world import World, values

from medeval import api
from medeval.runs import Run

PRIMARY = {"metric": "quality", "baseline": "old"}


def shared(folder, **options):
    """(page, plain data, what was withheld)."""
    run = Run.open(folder)
    page = api.report(run, folder / "shared.html", api.ShareOptions(**options))[0].read_text()
    path, withheld = api.report(run, folder / "shared.json", api.ShareOptions(format="json", **options))
    return page, json.loads(path.read_text()), withheld


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


def models(world, cases, without=()):
    """Two models; the old one's loss is not defined for some patients."""
    old = values(cases, 0.80, 1)
    return {
        "new": world.model("new", values(cases, 0.85, 0)),
        "old": world.model(
            "old", {case: -1.0 if case[:3] in without else value for case, value in old.items()}
        ),
    }


def test_a_declared_endpoint_is_told_with_its_numbers(world):
    folder = world.run("run", models(world, world.cases(30)), primary=PRIMARY, require=["quality >= 0.5"])
    page, _, withheld = shared(folder)
    claim = Run.open(folder).summary()["endpoint"]["confirmatory"][0]
    assert "Primary endpoint (confirmatory)" in page
    assert f"{claim['difference']:.3f}" in page
    assert "superior" in page
    assert withheld["requirements of a declared endpoint"] == 1
    assert "Primary endpoint" in shared(folder, anonymise=True)[0]


def test_an_endpoint_of_few_patients_is_not_told(world):
    folder = world.run("run", models(world, world.cases(8)), primary=PRIMARY)
    page, data, withheld = shared(folder)
    assert "Primary endpoint" not in page
    assert data["scores"] == []
    assert withheld["claims of a declared endpoint about scores that are withheld"] == 1


@pytest.mark.parametrize(("lacking", "told"), [(0, True), (3, False), (12, True)])
def test_a_difference_is_told_when_nobody_or_many_have_one_side_alone(world, lacking, told):
    cases = world.cases(40)
    folder = world.run("run", models(world, cases, {f"p{n:02d}" for n in range(lacking)}),
                       primary={"metric": "loss", "baseline": "old"})  # fmt: skip
    page, data, _ = shared(folder)
    assert ("Primary endpoint" in page) is told
    by_model = {row["model"]: row for row in data["scores"] if row["metric"] == "loss" and not row["by"]}
    assert set(by_model) == {"new", "old"}
    n = {name: (row["n"], row["patients"]) for name, row in by_model.items()}
    assert n["new"] == (80, 40)
    assert n["old"] == {0: (80, 40), 3: (80, 40), 12: (56, 28)}[lacking]  # a gap of three is not told


ROUNDS = '''
from measured import Measured
from medeval.tasks.base import Scored
from medeval.types import Key, Output

class Rounds(Measured):
    """Two rounds, but one alone for the first ``stops`` patients; tells one group's score under another name, too."""
    task: str = ""
    stops: int = 0
    ladder = "clicks"
    def owed(self, case, context):
        return [Key(prompt="clicks", round=n) for n in ((1,) if int(case.id[1:3]) < self.stops else (1, 2))]
    def predict(self, model, cases, context):
        for case in cases:
            for key in self.owed(case, context):
                yield Output(case.id, key, model.value_of(case.inputs["name"], "") + 0.01 * key.round)
    def more_scores(self, scorer):
        return [{**row, "metric": "copy", "by": "", "group": {}} for row in scorer.scores()
                if row["group"] == {"site": "B"} and row["metric"] == "quality"]
'''


def rounds(world, stops, patients=40, sites="AB"):
    """A run of ``ROUNDS``."""
    from measured_world import MEASURED

    (world.folder / "measured.py").write_text(MEASURED.read_text())
    (world.folder / "rounds.py").write_text(
        ROUNDS.replace("from measured", "import sys; sys.path.insert(0, '.')\nfrom measured")
    )
    cases = world.cases(patients, sites=sites)
    model = world.model("new", values(cases, 0.85, 0))
    task = {"task": "rounds.py:Rounds", "name": "rounds", "stops": stops}
    return world.run("run", {"new": model}, task=task)


@pytest.mark.parametrize(("stops", "told"), [(0, [1, 2]), (3, [1]), (12, [1, 2])])
def test_a_round_that_few_did_not_reach_is_not_told(world, stops, told):
    _, data, _ = shared(rounds(world, stops))
    assert sorted(row["round"] for row in data["curves"] if row["metric"] == "quality") == told


def test_a_hidden_figure_is_hidden_under_its_other_name(world):
    folder = rounds(world, 0, patients=33, sites="BBBBBBA")
    _, data, _ = shared(folder)
    told = {(row["metric"], row["by"]) for row in data["scores"]}
    assert told == {("quality", ""), ("loss", "")}  # four patients of A are few, and B would tell of them
    assert ("copy", "") in {(row["metric"], row["by"]) for row in Run.open(folder).summary()["scores"]}
    assert ("copy", "") in {(row["metric"], row["by"]) for row in shared(folder, min_cell=3)[1]["scores"]}
