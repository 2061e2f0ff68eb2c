"""Many scores on one pass through the resamples are each what it is alone, to the byte; names as codes change nothing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from medeval.metrics.registry import get_metric
from medeval.statistics import (
    Labels,
    Resamples,
    Sample,
    bounds,
    cluster_labels,
    clusters,
    estimate,
    estimates,
)
from medeval.statistics.labels import combined, partition

N, PATIENTS = 600, 60
DRAW = np.random.default_rng(3)
OWNERS = DRAW.integers(0, PATIENTS, N)
NAMES = np.array([f"p{owner:02d}" for owner in OWNERS])
ORGANS = np.array([f"organ{n}" for n in DRAW.integers(0, 5, N)])


def samples(number=7, groups=None):
    """Scores of different records, some of few patients, one of a single patient, one of none."""
    found = []
    for k in range(number):
        rows = np.flatnonzero(DRAW.random(N) < 0.3 + 0.1 * k)
        found.append(
            Sample(
                {"value": DRAW.beta(9, 2, len(rows))}, NAMES[rows], None if groups is None else groups[rows]
            )
        )
    few = np.flatnonzero(OWNERS < 4)
    one = np.flatnonzero(OWNERS == 4)
    for rows in (few, one, np.empty(0, dtype=int)):
        found.append(
            Sample({"value": np.full(len(rows), 0.7)}, NAMES[rows], None if groups is None else groups[rows])
        )
    return found


@pytest.mark.parametrize("method", ["auto", "percentile", "expanded", "t", "bca"])
@pytest.mark.parametrize("average", ["records", "patients", "structures"])
def test_each_is_what_it_is_alone(method, average):
    metric, drawn = get_metric("dice"), Resamples("d", NAMES, 300)
    given = samples(groups=ORGANS if average == "structures" else None)
    together = list(estimates(((metric, s) for s in given), drawn, average=average, method=method))
    alone = [
        estimate(metric, s.statistics, s.patients, drawn, average=average, groups=s.groups, method=method) for s in given
    ]  # fmt: skip
    assert together == alone
    assert len({one.low for one in together}) > 5


def test_scores_that_are_no_means_stand_between_those_that_are():
    drawn = Resamples("d", NAMES, 200)
    label = (DRAW.random(N) < 0.5).astype(np.int64)
    ranking = Sample({"score": np.clip(label * 0.3 + DRAW.random(N), 0, 1), "label": label}, NAMES)
    given = [
        (get_metric("dice"), samples()[0]),
        (get_metric("case_auroc"), ranking),
        (get_metric("dice"), samples()[1]),
    ]
    together = list(estimates(given, drawn))
    assert together == [estimate(metric, s.statistics, s.patients, drawn) for metric, s in given]
    assert together[1].method == "expanded"


def test_scores_are_drawn_in_several_lots_where_their_sums_are_large(monkeypatch):
    metric, drawn, given = get_metric("dice"), Resamples("d", NAMES, 200), samples()
    expected = list(estimates(((metric, s) for s in given), drawn))
    monkeypatch.setattr(sys.modules["medeval.statistics.estimates"], "_HELD_NUMBERS", 1)
    assert list(estimates(((metric, s) for s in given), drawn)) == expected


def test_an_unknown_average_and_a_strange_patient_are_told():
    drawn = Resamples("d", NAMES, 10)
    with pytest.raises(ValueError, match="average is 'median'"):
        list(estimates([], drawn, average="median"))
    with pytest.raises(ValueError, match="patient 'nobody' is not among"):
        list(estimates([(get_metric("dice"), Sample({"value": np.ones(1)}, Labels.of(["nobody"])))], drawn))


@pytest.mark.parametrize("average", ["records", "cases", "structures"])
def test_names_as_codes_give_the_same_bytes(average):
    metric, drawn = get_metric("dice"), Resamples("d", NAMES, 200)
    values, groups = DRAW.random(N), ORGANS if average == "structures" else np.char.add(NAMES, ORGANS)
    plain = estimate(metric, {"value": values}, NAMES, drawn, average=average, groups=groups)
    coded = estimate(
        metric, {"value": values}, Labels.of(NAMES.tolist()), drawn, average=average,
        groups=Labels.of(groups.tolist()).sorted(),
    )  # fmt: skip
    assert coded == plain
    half = np.arange(N) < N // 2
    ends = [
        bounds(metric, {"value": values[half]}, int((~half).sum()), 0.0, 1.0, average=average,
               groups=column[half], missing_groups=column[~half])
        for column in (groups, Labels.of(groups.tolist()).sorted())
    ]  # fmt: skip
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "patients", [["a", "b", None, "a"], ["a", "a", "b", None], ["", "a", float("nan"), "b"]]
)
def test_clusters_of_labels_are_those_of_names(patients):
    """Also where one case has two patients, and where a patient is empty or not known."""
    cases = ["c1", "c2", "c3", "c1"]
    expected = clusters(patients, cases)
    found = cluster_labels(Labels.of(patients), Labels.of(cases))
    assert found.array().tolist() == expected.tolist()


def test_labels_behave_as_their_column():
    column = ["b", None, "a", "b", float("nan")]
    labels = Labels.of(column)
    assert labels.array().tolist() == ["b", None, "a", "b", None]
    assert labels.sorted().values == ("a", "b")
    assert labels.sorted().array().tolist() == labels.array().tolist()
    assert labels[np.array([2, 1])].array().tolist() == ["a", None]
    assert (labels[0], labels[1], len(labels)) == ("b", None, 5)
    assert labels.mapped(["x", "x"]).array().tolist() == ["x", None, "x", "x", None]
    assert labels.each([1.0, 2.0], 0.0).tolist() == [1.0, 0.0, 2.0, 1.0, 0.0]


def test_combinations_are_numbered_in_order_also_when_there_are_very_many():
    columns = [DRAW.integers(-1, size, 200).astype(np.int32) for size in (3, 2**31 - 2, 2**31 - 2, 5)]
    rows = np.stack(columns, axis=1)
    numbers = combined(columns)
    assert (np.lexsort(rows.T[::-1]) == np.argsort(numbers, kind="stable")).all()
    groups = partition(numbers)
    assert sorted(np.concatenate(groups).tolist()) == list(range(200))
    assert [g[0] for g in groups] == sorted(g[0] for g in groups)
    assert all(len({tuple(rows[r]) for r in g}) == 1 for g in groups)
    assert partition(np.empty(0, dtype=np.int64)) == []
