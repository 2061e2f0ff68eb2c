from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics.base import Metric
from medeval.statistics import Resamples
from medeval.statistics.subgroups import subgroups, suitability


def split(mean: Metric, gap: float, rows: int = 1, seed: int = 0, groups: str = "abc"):
    rng = np.random.default_rng(seed)
    names = np.array([f"p{i:03d}" for i in range(90)])
    labels = np.array(list(groups) * (90 // len(groups)))
    level = rng.normal(0.8, 0.05, 90) - gap * (labels == "c")
    owner = np.repeat(names, rows)
    return subgroups(mean, np.repeat(level, rows), np.repeat(labels, rows), owner, Resamples("d", names))


def test_a_planted_gap_is_found_with_its_worst_group(mean: Metric) -> None:
    found = split(mean, 0.1)
    assert found.worst == "c"
    assert found.gap == pytest.approx(0.1, abs=0.04)
    assert found.p < 0.01
    assert {g.name: g.p < 0.05 for g in found.groups}["c"]
    assert [g.estimate.n for g in found.groups] == [30, 30, 30]
    scores = [g.estimate.value for g in found.groups]
    assert found.equity_scaled == pytest.approx(np.mean(scores) / (1 + np.std(scores, ddof=1)))


def test_equal_groups_are_called_different_as_often_as_is_allowed(mean: Metric) -> None:
    hits = [split(mean, 0.0, seed=seed).p <= 0.05 for seed in range(60)]
    assert sum(hits) <= 8


def test_many_records_a_patient_change_no_p(mean: Metric) -> None:
    assert split(mean, 0.03, rows=20).p == pytest.approx(split(mean, 0.03).p, abs=0.02)


def test_groups_within_patients_are_exchanged_within_them(mean: Metric) -> None:
    rng = np.random.default_rng(0)
    owner, labels = np.repeat(np.arange(40), 2), np.tile(["liver", "spleen"], 40)
    level = rng.normal(0, 0.2, 40)[owner] + 0.05 * (labels == "liver") + rng.normal(0, 0.03, 80)
    found = subgroups(mean, level, labels, owner, Resamples("d", owner.astype(str)))
    assert found.p < 0.01
    assert "within patients" in found.note


def test_one_group_is_told(mean: Metric) -> None:
    with pytest.raises(ValueError, match="two groups or more"):
        split(mean, 0.0, groups="a")


def test_a_corpus_metric_is_told(auroc: Metric) -> None:
    with pytest.raises(ValueError, match="no mean over records"):
        subgroups(auroc, np.zeros(4), list("aabb"), np.arange(4), Resamples("d", list("0123")))


@pytest.mark.parametrize(
    ("repeats", "verdict"),
    [
        ({"a": [0.90, 0.91], "b": [0.80, 0.81]}, "can separate"),
        ({"a": [0.70, 0.95], "b": [0.75, 0.90]}, "cannot separate"),
        ({"a": [0.9], "b": [0.8]}, "unknown"),
        ({"a": [0.9, 0.9], "b": [0.8, 0.8]}, "can separate"),
    ],
)
def test_a_data_set_separates_methods_only_beyond_the_spread_of_seeds(repeats: dict, verdict: str) -> None:
    assert suitability(repeats).verdict == verdict


def test_one_method_has_no_spread_between_methods() -> None:
    with pytest.raises(ValueError, match="two or more"):
        suitability({"a": [0.9, 0.8]})
