"""Arms of a task: which are given labels, what a changed arm costs, and what of preparation reaches the tables."""

import json

import pytest
from test_other_tasks import numbers, suite

from medeval.types import RunError


def shifts(small, **by_arm):
    datasets = {"hospital": numbers(small, "hospital", count=4)}
    return suite(small, "Shifts", "Screener", datasets=datasets, source="hospital", by_arm=by_arm)


def prepared(run):
    return {
        path.name: json.loads((path / "mean.json").read_text()) for path in (run.path / "artifacts").iterdir()
    }


def test_only_an_arm_that_says_so_is_given_labels(small):
    run = small.run(shifts(small, plain=0.0, far=3.0, ceiling=-1.0))
    told = {made["mean"]: made["labels"] for made in prepared(run).values()}
    assert told[0.0] == told[3.0] == [None] * 4
    assert set(told[-1.0]) == {0, 1}


def test_the_report_names_the_arms_that_read_labels(small):
    run = small.run(shifts(small, plain=0.0, ceiling=-1.0), report=True)
    text = (run.path / "report.html").read_text()
    assert (
        "These arms read labels of the data that they train on; the others are given none: ceiling." in text
    )


def test_a_new_arm_costs_its_own_work_alone(small):
    first = small.run(shifts(small, plain=0.0, far=3.0))
    kept = {path.name: path.read_bytes() for path in (first.path / "records").iterdir()}
    before = len(small.calls())
    second = small.run(shifts(small, plain=0.0, far=3.0, ceiling=-1.0))
    new = [call for call in small.calls()[before:] if not call.startswith("summarize")]
    assert new[0] == "prepare ceiling"
    assert len(new) == 1 + 12 + 4  # both datasets' cases once
    assert {name: (second.path / "records" / name).read_bytes() for name in kept} == kept


def test_a_changed_arm_is_refused_by_its_name_and_the_others_stay(small):
    small.run(shifts(small, plain=0.0, far=3.0))
    with pytest.raises(RunError, match=r"mine / far made otherwise: arm\.shift was 3\.0, is 4\.0.*arm"):
        small.run(shifts(small, plain=0.0, far=4.0))
    before = len(small.calls())
    small.run(shifts(small, plain=0.0, farther=4.0))
    new = [call for call in small.calls()[before:] if not call.startswith("summarize")]
    assert new[0] == "prepare farther"
    assert not [call for call in new if call == "prepare plain"]


def test_summaries_are_given_the_folders_that_preparation_left(small):
    run = small.run(shifts(small, plain=0.0, far=3.0))
    told = json.loads(small.calls()[-1].removeprefix("summarize "))
    assert {*told["plain"], *told["far"]} == set(prepared(run))
    assert len(told["plain"]) == 1
