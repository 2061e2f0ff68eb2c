"""Several judges become one score, their quarrel is kept, and what failed is never made up."""

import pytest

from medeval.dialogue.panel import Panelled, combined
from medeval.dialogue.ratings import Evidence, Rating, Sheet
from medeval.dialogue.rubric import CriteriaRubric, load_rubric
from medeval.dialogue.scoring import scored

RUBRIC = load_rubric("mini-cex-llm-extended")


def sheets(*scores):
    """A sheet a judge, of one item: a number, None for not applicable, text for an error."""
    return [
        Sheet(
            (
                Rating(
                    "1.1",
                    s if isinstance(s, int | float) else None,
                    na=s is None,
                    error=s if isinstance(s, str) else "",
                    judge=str(n),
                ),
            )
        )
        for n, s in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("given", "how", "score"),
    [
        ((1, 0, 1), "mean", pytest.approx(2 / 3)),
        ((1, 5, 9), "median", 5),
        ((1, 0, 1), "majority", 1),
        ((1, None, 0), "mean", 0.5),
        ((1, "boom", 1), "mean", 1),
        ((1,), "mean", 1),
    ],
)
def test_ratings_are_combined(given, how, score):
    outcome = combined(sheets(*given), RUBRIC, how)[0]
    assert outcome.score == score
    assert not outcome.error
    assert len(outcome.ratings) == len(given)


def test_most_judges_decide_that_an_item_does_not_apply():
    outcome = combined(sheets(None, None, 1), RUBRIC)[0]
    assert (outcome.na, outcome.score) == (True, None)


@pytest.mark.parametrize(
    ("given", "how", "told"),
    [
        ((1, "boom", "bang"), "mean", "1 of 3 judges rated it, 2 are needed: boom; bang"),
        (("boom",), "mean", "boom"),
        ((1, 0), "majority", "no majority among"),
        ((1, 5, 9), "majority", "no majority"),
    ],
)
def test_too_few_valid_ratings_and_ties_are_errors(given, how, told):
    outcome = combined(sheets(*given), RUBRIC, how)[0]
    assert outcome.score is None
    assert told in outcome.error


def test_the_judges_quarrel_is_kept():
    assert combined(sheets(1, 9, 4), RUBRIC)[0].spread == 8


def test_the_number_of_valid_ratings_can_be_set():
    assert combined(sheets(1, "boom", "bang"), RUBRIC, min_valid=1)[0].score == 1


def outcome(item, score=None, na=False, error=""):
    return Panelled(item, score, na, error, 0.0, ())


def test_dimensions_and_total_are_weighted_means_of_what_applies():
    scores = scored(
        [
            outcome("1.1", 1),
            outcome("1.2", 0),
            outcome("x3.6", 1),
            outcome("4.1", 1),
            outcome("x3.4", na=True),
        ],
        RUBRIC,
    )
    assert scores.items == {"1.1": 1, "1.2": 0, "x3.6": 0, "4.1": 0.5}
    assert scores.dimensions == {"interviewing": 0.5, "diagnosis_and_treatment": 0, "overall": 0.5}
    assert scores.total == pytest.approx(1.5 / 4)


def test_a_failed_item_leaves_total_and_its_dimension_missing():
    scores = scored([outcome("1.1", error="boom"), outcome("2.1", 1)], RUBRIC)
    assert (scores.total, scores.dimensions) == (None, {"humanistic_care": 1})


def test_signed_criteria_score_points_over_positive_points():
    rubric = CriteriaRubric(
        kind="criteria",
        name="x",
        criteria=[{"text": "a", "points": 7}, {"text": "b", "points": 3}, {"text": "c", "points": -5}],
    )
    assert scored([outcome("c1", 1), outcome("c2", 0), outcome("c3", 1)], rubric).total == pytest.approx(0.2)
    assert scored([outcome("c1", 0), outcome("c2", 0), outcome("c3", 1)], rubric).total == pytest.approx(-0.5)
    assert scored([outcome("c1", 1), outcome("c2", error="x"), outcome("c3", 0)], rubric).total is None


def test_sheets_go_to_plain_data_and_back():
    sheet = Sheet(
        (
            Rating("1.1", 1.0, evidence=(Evidence(2, "x", False),), judge="a"),
            Rating("1.2", na=True, reason="r"),
        ),
        ("f",),
        {"calls": 1},
    )
    assert Sheet.from_plain(sheet.to_plain()) == sheet
