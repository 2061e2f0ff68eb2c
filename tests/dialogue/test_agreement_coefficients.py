"""The fast coefficients are the library's own, on every pair of raters of the parity tables and under any weights."""

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from medeval.dialogue.agreement_coefficients import NAMES, Pairs, coefficients
from medeval.metrics.agreement import Ratings, cohen_kappa, gwet, percent_agreement
from medeval.metrics.agreement_alpha import krippendorff_alpha
from medeval.metrics.agreement_icc import icc
from medeval.metrics.agreement_ranks import correlation, rater_bias

FIXTURES = Path(__file__).parents[1] / "parity" / "agreement"
TABLES = sorted(path.stem for path in FIXTURES.glob("case_*.json"))


def slow(ratings: Ratings, weighting: str) -> dict[str, float]:
    first, second = ratings.values.T
    return {
        "agreement": percent_agreement(ratings).value,
        "kappa": cohen_kappa(ratings, weighting).value,
        "ac": gwet(ratings, weighting).value,
        "alpha": krippendorff_alpha(ratings, "ordinal").value,
        "icc": icc(ratings).value,
        "spearman": correlation(first, second).value,
        "kendall": correlation(first, second, "kendall_tau_b").value,
        "bias": rater_bias(first, second).mean,
    }


def fast(values: np.ndarray, scale: tuple[float, ...], weights: np.ndarray, weighting: str = "quadratic"):
    pairs = Pairs.of(values[:, 0], values[:, 1], scale)
    return coefficients(pairs, pairs.weights(weights), weighting)


def same(found: float, wanted: float) -> bool:
    return (math.isnan(found) and math.isnan(wanted)) or abs(found - wanted) < 1e-10


@pytest.mark.parametrize("weighting", ["identity", "linear", "quadratic", "ordinal"])
@pytest.mark.parametrize("name", TABLES)
def test_every_pair_of_raters_has_the_values_of_the_library(name, weighting):
    case = json.loads((FIXTURES / f"{name}.json").read_text())
    numbers = all(isinstance(label, int | float) for label in case["labels"])
    table = Ratings.of(case["ratings_units_by_raters"], case["labels"] if numbers else None)
    for first, second in combinations(range(table.raters), 2):
        pair = table.pair(first, second)
        if len(pair.values) >= 2:
            found = fast(pair.values, pair.scale, np.ones((1, len(pair.values))), weighting)
            wanted = slow(pair, weighting)
            assert {k: (found[k][0], wanted[k]) for k in NAMES if not same(found[k][0], wanted[k])} == {}


def test_a_weighted_table_is_the_table_with_its_units_repeated():
    generator = np.random.default_rng(4)
    values = np.clip(generator.integers(1, 10, (40, 1)) + generator.integers(-2, 3, (40, 2)), 1, 9).astype(
        float
    )
    weights = generator.multinomial(40, [1 / 40] * 40, size=20)
    scale = tuple(float(v) for v in range(1, 10))
    found = fast(values, scale, weights)
    for row, counts in enumerate(weights):
        wanted = slow(Ratings(np.repeat(values, counts, axis=0), scale), "quadratic")
        assert all(same(found[name][row], wanted[name]) for name in NAMES)


def test_values_off_the_scale_leave_undefined_only_what_needs_a_scale():
    values = np.array([[0.5, 1], [1, 1], [0, 0], [0.5, 0]])
    found = fast(values, (0.0, 1.0), np.ones((1, 4)))
    assert {name for name in NAMES if math.isnan(found[name][0])} == {"kappa", "alpha", "ac"}
    assert found["bias"][0] == 0


def test_the_declared_scale_counts_and_not_the_values_that_occur():
    values = np.array([[1, 2], [2, 2], [8, 9], [9, 8], [1, 1], [9, 9]], dtype=float)
    declared = fast(values, tuple(map(float, range(1, 10))), np.ones((1, 6)), "linear")["kappa"][0]
    occurring = fast(values, (1.0, 2.0, 8.0, 9.0), np.ones((1, 6)), "linear")["kappa"][0]
    assert declared > occurring + 0.1
