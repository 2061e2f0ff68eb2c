"""Cases whose metadata do not say their group are shown and told, and no test takes them for a group."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from measured_world import World, values

from medeval.decisions.compare import compare
from medeval.decisions.evidence import RunEvidence
from medeval.decisions.views import subgroup_tables
from medeval.types import RunError


def run_with_sites(world: World, site: Callable[[int, str], str | None]) -> RunEvidence:
    """Two models on 24 patients; ``site(number, given)`` says what each case's site is."""
    cases = world.cases(24)
    path = world.folder / "cases.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [{**row, "site": site(number, row["site"])} for number, row in enumerate(rows)]
    path.write_text("\n".join(map(json.dumps, told)))
    models = {name: world.model(name, values(cases, 0.8 - seed / 20, seed)) for seed, name in enumerate("ab")}
    return RunEvidence.open(world.run("run", models))


@pytest.fixture
def lacking(world: World) -> RunEvidence:
    """The last four patients' sites are not known."""
    return run_with_sites(world, lambda number, given: None if number >= 40 else given)


def test_subgroups_show_them_untested(lacking: RunEvidence) -> None:
    table = subgroup_tables(lacking, "site", "quality")[0]
    assert [row["site"] for row in table.rows] == ["A", "B", "(missing)"]
    assert table.rows[2]["p"] is None
    assert table.rows[2]["value"]["n"] == 8
    assert all(row["p"] is not None for row in table.rows[:2])
    assert "8 records of 8 cases have no site: not tested" in table.note


def test_the_tests_are_those_of_the_cases_that_say(lacking: RunEvidence, world: World) -> None:
    told = subgroup_tables(lacking, "site", "quality")[0]
    cases = world.cases(20)
    models = {"a": world.model("a", values(cases, 0.8, 0))}
    alone = RunEvidence.open(world.run("alone", models))
    frame = lacking.run.records()
    known = frame[(frame["model"] == "a") & frame["site"].notna()]
    assert {row["site"]: row["value"]["value"] for row in told.rows[:2]} == pytest.approx(
        known.groupby("site")["quality"].mean().to_dict()
    )
    assert len(subgroup_tables(alone, "site", "quality")[0].rows) == 2


def test_one_known_group_is_no_comparison(world: World) -> None:
    run = run_with_sites(world, lambda number, given: None if given == "B" else given)
    with pytest.raises(RunError, match=r"two groups or more of 'site' \(cases without a value are none\)"):
        subgroup_tables(run, "site", "quality")


def test_models_are_not_tested_on_cases_of_no_group(lacking: RunEvidence) -> None:
    rows = compare([lacking], metrics=["quality"], by="site").rows
    by_site = {row.group["site"]: row for row in rows}
    assert not math.isnan(by_site["A"].p)
    untold = by_site["(none)"]
    assert math.isnan(untold.p)
    assert math.isnan(untold.p_corrected)
    assert untold.difference.value is not None
    assert "these cases have no site: shown, not tested" in untold.note


@pytest.mark.parametrize("exchanges", [0, -5])
def test_a_number_of_exchanges_below_one_is_refused(three: Path, exchanges: int) -> None:
    with pytest.raises(RunError, match="exchanges"):
        compare([RunEvidence.open(three)], exchanges=exchanges)
