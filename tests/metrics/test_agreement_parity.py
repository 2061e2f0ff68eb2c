"""Agreement coefficients beside scikit-learn, krippendorff, irrCAC, scipy, pingouin and simple-evals on one set of tables."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from medeval.metrics.agreement import (
    Ratings,
    brennan_prediger,
    cohen_kappa,
    conger_kappa,
    fleiss_kappa,
    gwet,
    percent_agreement,
)
from medeval.metrics.agreement_alpha import krippendorff_alpha
from medeval.metrics.agreement_icc import FORMS, icc, mean_squares
from medeval.metrics.agreement_points import (
    clipped_mean,
    length_adjusted,
    pairwise_grades,
    pairwise_grades_by,
    points_score,
    worst_at_k,
)
from medeval.metrics.agreement_ranks import correlation, kendall_w

FIXTURES = Path(__file__).parents[1] / "parity" / "agreement"
TABLES = sorted(path.stem for path in FIXTURES.glob("case_*.json"))
RUBRIC = json.loads((FIXTURES / "rubric_scores.json").read_text())
CAC = {
    "gwet_ac1": lambda r: gwet(r),
    **{f"gwet_ac2_{w}": lambda r, w=w: gwet(r, w) for w in ("linear", "quadratic", "ordinal")},
    **{
        f"{name}_{w}": lambda r, f=f, w=w: f(r, w)
        for name, f in (("brennan_prediger", brennan_prediger), ("fleiss_kappa", fleiss_kappa), ("conger_kappa", conger_kappa))
        for w in ("identity", "linear", "quadratic", "ordinal")
    },
}  # fmt: skip
PLAIN = {
    "raw_agreement": lambda r, observed: percent_agreement(r).value,
    "cohen_kappa": lambda r, observed: cohen_kappa(r).value,
    "cohen_kappa__observed_labels_only": lambda r, observed: cohen_kappa(observed).value,
    "weighted_kappa_linear": lambda r, observed: cohen_kappa(r, "linear").value,
    "weighted_kappa_quadratic": lambda r, observed: cohen_kappa(r, "quadratic").value,
    "weighted_kappa_linear__observed_labels_only": lambda r, observed: cohen_kappa(observed, "linear").value,
    "weighted_kappa_quadratic__observed_labels_only": lambda r, observed: (
        cohen_kappa(observed, "quadratic").value
    ),
    "kendall_w_tie_corrected": lambda r, observed: kendall_w(r).value,
    **{
        kind: lambda r, observed, kind=kind: correlation(r.values[:, 0], r.values[:, 1], kind).value
        for kind in ("spearman", "pearson", "kendall_tau_b", "kendall_tau_c")
    },
    **{
        f"krippendorff_alpha_{level}": lambda r, observed, level=level: krippendorff_alpha(r, level).value
        for level in ("nominal", "ordinal", "interval", "ratio")
    },
}


def read(name):
    table = json.loads((FIXTURES / f"{name}.json").read_text())
    rows = table["ratings_units_by_raters"]
    return table, Ratings.of(rows, table["labels"]), Ratings.of(rows)


def same(value, expected, tolerance=1e-10):
    return math.isnan(value) if expected is None else value == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("name", TABLES)
def test_every_expected_value_of_a_table_is_met(name):
    table, ratings, observed = read(name)
    told = {key for key in table["expected"] if key != "icc"}
    assert told <= set(PLAIN) | set(CAC), f"untested: {sorted(told - set(PLAIN) - set(CAC))}"
    for key in told & set(PLAIN):
        assert same(PLAIN[key](ratings, observed), table["expected"][key]), key
    for key in told & set(CAC):
        found, expected = CAC[key](ratings), table["expected"][key]
        assert same(found.value, expected["value"], 1e-9), key
        if expected["value"] is None:
            assert found.rule == "only one value occurs"
            continue
        assert found.se == pytest.approx(expected["se"], abs=1e-9), key
        assert (found.observed, found.expected) == pytest.approx(
            (expected["pa"], expected["pe"]), abs=1e-9
        ), key


@pytest.mark.parametrize("name", [name for name in TABLES if "icc" in read(name)[0]["expected"]])
def test_intraclass_correlations_and_their_intervals_are_met(name):
    table, ratings, _ = read(name)
    expected = table["expected"]["icc"]
    ms = mean_squares(ratings)
    assert (ms.rows, ms.columns, ms.within, ms.error) == pytest.approx(
        tuple(expected["mean_squares"].values())
    )
    for form in FORMS:
        found = icc(ratings, form)
        assert found.value == pytest.approx(expected[form]["value"], abs=1e-10), form
        for end, wanted in zip((found.low, found.high), expected[form]["ci95"], strict=True):
            assert same(end, wanted, 1e-8), form


@pytest.mark.parametrize("case", RUBRIC["rubric_cases"], ids=range(len(RUBRIC["rubric_cases"])))
def test_signed_points_score_as_healthbench_does(case):
    assert points_score(case["points"], case["criteria_met"]) == pytest.approx(case["score"], abs=1e-12)
    for tag, expected in case["tag_scores"].items():
        rows = [
            (p, m)
            for p, m, tags in zip(case["points"], case["criteria_met"], case["tags"], strict=True)
            if tag in tags
        ]
        assert same(points_score(*zip(*rows, strict=True)), expected, 1e-12)


def test_the_mean_of_signed_points_is_clipped_as_a_mean():
    scores = [case["score"] for case in RUBRIC["rubric_cases"]]
    assert np.mean(scores) == pytest.approx(RUBRIC["mean_unclipped"], abs=1e-12)
    assert clipped_mean(scores) == pytest.approx(RUBRIC["mean_clipped"], abs=1e-12)
    assert clipped_mean([-0.5, -0.1]) == 0
    assert math.isnan(clipped_mean([]))


def test_worst_at_k_equals_the_enumeration_of_all_subsets():
    table = RUBRIC["worst_at_k"]
    for k, expected in table["worst_at_k"].items():
        assert worst_at_k(table["scores_cases_by_samples"], int(k)) == pytest.approx(
            expected["mean"], abs=1e-12
        )


def test_length_adjustment_rewards_the_shorter_answer():
    for row in RUBRIC["length_adjusted"]:
        found = length_adjusted(row["score"], row["characters"], row["penalty_per_500_chars"], row["center"])
        assert found == pytest.approx(row["expected"], abs=1e-12)


def test_a_grader_is_compared_with_each_physicians_vote():
    meta = RUBRIC["grader_meta_evaluation"]
    groups = [row["category"] for row in meta["rows"]]
    grader, votes = [row["grader"] for row in meta["rows"]], [row["physicians"] for row in meta["rows"]]
    found = {"": pairwise_grades(grader, votes), **pairwise_grades_by(groups, grader, votes)}
    for key, expected in meta["expected"].items():
        group, _, name = key.rpartition(": ")
        measure, side = name.removeprefix("pairwise_model_").split("_")
        grades = found[group]
        value = (
            grades.balanced(measure)
            if side == "balanced"
            else getattr(grades, measure)[0 if side == "pos" else 1]
        )
        assert value == pytest.approx(expected["value"], abs=1e-12), key


def test_the_copied_tables_are_those_of_the_shared_folder():
    shared = Path(__file__).parents[3] / "shared" / "parity" / "agreement"
    if not shared.is_dir():
        pytest.skip("the shared tables are not beside this checkout")
    for path in shared.glob("*.json"):
        assert (FIXTURES / path.name).read_bytes() == path.read_bytes()
