from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics.base import Metric
from medeval.statistics import bounds


def test_a_mean_lies_between_all_worst_and_all_best(mean: Metric) -> None:
    assert bounds(mean, {"value": np.array([0.5, 0.7])}, 2, 0.0, 1.0) == pytest.approx((0.3, 0.8))


def test_worst_values_may_differ_by_record(mean: Metric) -> None:
    worst, best = bounds(mean, {"value": np.array([1.0])}, 2, {"value": [10.0, 30.0]}, 0.0)
    assert (worst, best) == pytest.approx((41 / 3, 1 / 3))


def test_nothing_missing_leaves_the_score(mean: Metric) -> None:
    assert bounds(mean, {"value": np.array([0.5, 0.7])}, 0, 0.0, 1.0) == pytest.approx((0.6, 0.6))


def test_all_missing_spans_the_range(mean: Metric) -> None:
    assert bounds(mean, {"value": np.array([])}, 3, 0.0, 1.0) == (0.0, 1.0)


def test_no_records_at_all_have_no_bounds(mean: Metric) -> None:
    assert bounds(mean, {"value": np.array([])}, 0, 0.0, 1.0) == (None, None)


def test_macro_bounds_weigh_structures_alike(mean: Metric) -> None:
    found = bounds(mean, {"value": np.array([0.5, 0.5, 0.9])}, 1, 0.0, 1.0, average="structures",
                   groups=["a", "a", "b"], missing_groups=["b"])  # fmt: skip
    assert found == pytest.approx(((0.5 + 0.45) / 2, (0.5 + 0.95) / 2))


def test_a_corpus_metric_takes_whole_statistics(auroc: Metric) -> None:
    statistics = {"score": np.array([0.9, 0.1]), "label": np.array([1, 0])}
    worst, best = bounds(auroc, statistics, 1, {"score": 0.0, "label": 1}, {"score": 1.0, "label": 1})
    assert (worst, best) == (0.5, 1.0)


def test_macro_bounds_need_groups(mean: Metric) -> None:
    with pytest.raises(ValueError, match="needs groups and missing_groups"):
        bounds(mean, {"value": np.zeros(2)}, 1, 0.0, 1.0, average="cases")
