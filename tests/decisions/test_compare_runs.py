"""``medeval compare``: who meets whom, what is refused, what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured_world import World, values

from medeval.decisions.compare import compare
from medeval.decisions.evidence import RunEvidence
from medeval.types import RunError


def opened(*folders: Path) -> list[RunEvidence]:
    return [RunEvidence.open(folder) for folder in folders]


def test_models_inside_a_run_meet_each_other_or_the_baseline(three: Path) -> None:
    rows = compare(opened(three), metrics=["quality"]).rows
    assert [(r.old, r.new) for r in rows] == [("good", "middling"), ("good", "poor"), ("middling", "poor")]
    rows = compare(opened(three), baseline="middling", metrics=["quality"]).rows
    assert [(r.old, r.new) for r in rows] == [("middling", "good"), ("middling", "poor")]


def test_a_comparison_says_what_the_records_say(three: Path) -> None:
    run = RunEvidence.open(three)
    (row,) = compare([run], baseline="poor", models=["good"], metrics=["quality"]).rows
    frame = run.run.records().pivot(index="case", columns="model", values="quality")
    gaps = frame["good"] - frame["poor"]
    assert row.difference.value == pytest.approx(gaps.mean())
    assert row.difference.low < gaps.mean() < row.difference.high
    assert (row.wins, row.ties, row.losses) == ((gaps > 0).sum(), 0, (gaps < 0).sum())
    assert (row.new_value, row.old_value) == (
        pytest.approx(frame["good"].mean()),
        pytest.approx(frame["poor"].mean()),
    )
    assert row.difference.patients == 30
    assert row.p < 0.001
    assert row.changed[0].case == gaps.abs().idxmax()
    assert row.changed[0].difference == pytest.approx(gaps[row.changed[0].case])


def test_p_is_corrected_over_the_whole_table(three: Path) -> None:
    found = compare(opened(three))
    ps = [row.p for row in found.rows]
    assert found.family == "holm over the 6 tests of this table"
    assert min(row.p_corrected for row in found.rows) == pytest.approx(6 * min(ps))
    plain = compare(opened(three), correction="none")
    assert [row.p_corrected for row in plain.rows] == ps


def test_less_is_better_counts_as_a_win(three: Path) -> None:
    (row,) = compare(opened(three), baseline="poor", models=["good"], metrics=["loss"]).rows
    assert row.difference.value < 0 < row.gain
    assert row.wins > row.losses
    assert row.cohen_dz > 0


def test_groups_are_compared_apart(three: Path) -> None:
    rows = compare(opened(three), baseline="poor", models=["good"], metrics=["quality"], by="site").rows
    assert [(row.group, row.difference.n) for row in rows] == [({"site": "A"}, 30), ({"site": "B"}, 30)]


def two(
    world: World, second: dict[str, Any] | None = None, names: tuple[str, str] = ("net", "net")
) -> list[RunEvidence]:
    cases = world.cases()
    first = world.run("old", {names[0]: world.model("old", values(cases, 0.8, 0))})
    model = {names[1]: world.model("new", values(cases, 0.8, 1))}
    return opened(first, world.run("new", model, **(second or {})))


def test_runs_meet_by_model_name(world: World) -> None:
    (row, _) = compare(two(world)).rows
    assert (row.old, row.new) == ("net [old]", "net [new]")
    assert row.difference.n == 40


def test_two_runs_of_one_model_each_meet_whatever_their_names(world: World) -> None:
    (row, _) = compare(two(world, names=("v1", "v2"))).rows
    assert (row.old, row.new) == ("v1", "v2")


def test_a_model_that_only_one_run_has_is_told_and_fails_the_gate(world: World, command: Callable) -> None:
    cases = world.cases()
    models = {name: world.model(name, values(cases, 0.8, 0)) for name in ("net", "gone", "fresh")}
    old = world.run("old", {name: models[name] for name in ("net", "gone")})
    new = world.run("new", {name: models[name] for name in ("net", "fresh")})
    found = compare(opened(old, new))
    assert list(found.lost) == ["gone (measured on hospital) is only in old"]
    assert list(found.added) == ["fresh (measured on hospital) is only in new"]
    gated = command("compare", old, new, "--fail-if-worse", 0.01)
    assert gated.exit_code == 1
    assert "not compared: gone (measured on hospital) is only in old" in gated.stdout
    assert "whether it is worse cannot be told" in gated.stderr
    assert command("compare", old, new, "--model", "net", "--fail-if-worse", 0.01).exit_code == 0


def test_other_data_are_refused_unless_told(world: World) -> None:
    world.cases(25, name="more.jsonl")
    extra = dict.fromkeys(world.cases(25, name="more.jsonl"), 0.5)
    first = world.run("old", {"net": world.model("old", values(world.cases(), 0.8, 0))})
    second = world.run("new", {"net": world.model("new", extra)}, cases="more.jsonl")
    with pytest.raises(
        RunError, match=r"(?s)not the same work.*dataset 'hospital' holds other cases.*--anyway"
    ):
        compare(opened(first, second))
    row = compare(opened(first, second), anyway=True, metrics=["quality"]).rows[0]
    assert (row.difference.n, row.only_old, row.only_new) == (40, 0, 10)
    assert "10 records only in the new" in row.note


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"settings": ["a"]}, "settings is"),
        ({"on_failure": "exclude"}, "on_failure is 'worst' in old, 'exclude' in new"),
    ],
)
def test_another_protocol_is_refused_with_what_differs(
    world: World, change: dict[str, Any], told: str
) -> None:
    runs = two(world, {"task": change})
    with pytest.raises(RunError, match=told):
        compare(runs)


def test_cases_that_do_not_meet_are_told(world: World) -> None:
    first = world.run("old", {"net": world.model("old", values(world.cases(4), 0.8, 0))})
    cases = [case.replace("p", "q") for case in world.cases(4)]
    lines = (world.folder / "cases.jsonl").read_text().replace('"p0', '"q0')
    (world.folder / "other.jsonl").write_text(lines)
    second = world.run("new", {"net": world.model("new", dict.fromkeys(cases, 0.8))}, cases="other.jsonl")
    with pytest.raises(RunError, match="no case in common"):
        compare(opened(first, second), anyway=True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"baseline": "medling"}, "did you mean 'middling'"),
        ({"models": ["none"]}, "have no model 'none'"),
        ({"metrics": ["qualty"]}, "did you mean 'quality'"),
        ({"by": "scanner"}, "nothing to compare by 'scanner'"),
        ({"baseline": "good", "models": ["good"]}, "nothing to compare"),
    ],
)
def test_names_that_do_not_exist_are_told(three: Path, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError, match=told):
        compare(opened(three), **asked)


@pytest.mark.parametrize(("patients", "note"), [(1, "fewer than two patients: no test"), (2, "")])
def test_one_and_two_patients_have_no_claim(world: World, patients: int, note: str) -> None:
    cases = world.cases(patients, 3)
    models = {n: world.model(n, values(cases, level, 3)) for n, level in (("a", 0.5), ("b", 0.8))}
    row = compare(opened(world.run("run", models))).rows[0]
    assert row.note == note
    assert np.isnan(row.p) if patients == 1 else row.p == 0.5
    assert (row.difference.low is None) == (patients == 1)


def test_equal_values_are_a_tie_and_no_finding(world: World) -> None:
    cases = world.cases()
    models = {n: world.model(n, dict.fromkeys(cases, 0.7)) for n in "ab"}
    row = compare(opened(world.run("run", models))).rows[0]
    assert (row.p, row.wins, row.ties, row.losses) == (1.0, 0, 40, 0)
    assert (row.difference.low, row.difference.high) == (0.0, 0.0)
    assert row.changed == ()


def test_a_model_that_fails_everywhere_loses_everywhere(world: World) -> None:
    cases = world.cases()
    models = {
        "works": world.model("works", values(cases, 0.8, 0)),
        "fails": world.model("fails", dict.fromkeys(cases)),
    }
    row = compare(opened(world.run("run", models)), metrics=["quality"]).rows[0]
    assert (row.new_value, row.losses) == (0.0, 40)
    assert row.p < 0.001


def test_values_that_are_undefined_are_left_out_of_both_and_counted(world: World) -> None:
    cases = world.cases()
    other = {case: -1.0 if case.endswith("-1") else 0.8 for case in cases}
    models = {"a": world.model("a", values(cases, 0.8, 0)), "b": world.model("b", other)}
    row = compare(opened(world.run("run", models)), metrics=["loss"]).rows[0]
    assert (row.difference.n, row.only_old) == (20, 20)


def test_the_gate_fails_when_a_mean_is_worse_by_more_than_the_margin(three: Path, command: Callable) -> None:
    assert (
        command(
            "compare", three, "--baseline", "good", "--model", "middling", "--fail-if-worse", 0.1
        ).exit_code
        == 0
    )
    found = command("compare", three, "--baseline", "good", "--model", "middling", "--fail-if-worse", 0.01)
    assert found.exit_code == 1
    assert "middling is worse by 0.0" in found.stderr
    assert (
        command(
            "compare", three, "--baseline", "middling", "--model", "good", "--fail-if-worse", 0.0
        ).exit_code
        == 0
    )
    gated = command("compare", three, "--baseline", "good", "-m", "loss", "--fail-if-worse", 0.01)
    assert gated.exit_code == 1


def test_a_margin_below_zero_is_wrong_input(three: Path, command: Callable) -> None:
    found = command("compare", three, "--fail-if-worse", "-0.01")
    assert found.exit_code == 2
    assert "0 or more" in found.stderr


def test_the_tables_show_differences_and_changed_cases(
    three: Path, command: Callable, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    found = command(
        "compare", three, "--baseline", "good", "-m", "quality", "--figure", tmp_path / "gaps.pdf"
    )
    for words in ("measured on hospital", "win/tie/loss", "Cases that changed most", "holm over the 2 tests"):
        assert words in found.stdout
    assert (tmp_path / "gaps.pdf").read_bytes().startswith(b"%PDF")


def test_a_metric_that_only_some_tasks_have_is_compared_there(world: World) -> None:
    cases = world.cases(6)
    models = {n: world.model(n, values(cases, 0.8, seed)) for seed, n in enumerate(("a", "b"))}
    suite = world.suite(models)
    tasks = [suite["tasks"][0], {**suite["tasks"][0], "name": "losses", "metrics": ["loss"]}]
    run = RunEvidence.open(world.run("run", models, tasks=tasks))
    assert {row.task for row in compare([run], metrics=["quality"]).rows} == {"measured"}
    assert {row.task for row in compare([run], metrics=["loss"]).rows} == {"measured", "losses"}
    with pytest.raises(RunError, match=r"no metric 'qualty'.*quality"):
        compare([run], metrics=["qualty"])
