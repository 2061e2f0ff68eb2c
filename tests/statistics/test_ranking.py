from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from medeval.statistics.ranking import (
    SCHEMES,
    Board,
    rank,
    rank_all,
    ranks_of,
    signed_rank_z,
    significance_matrix,
)

BOARD = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.7], [0.2, 0.8, 0.7], [0.9, 0.7, 0.6]])


def board(values: np.ndarray, direction: str = "higher", missing: str | float = "worst") -> Board:
    names = [chr(97 + at) for at in range(values.shape[1])]
    return Board.of(
        names, values, [f"p{i}" for i in range(len(values))], direction=direction, missing=missing
    )  # type: ignore[arg-type]


def test_the_three_schemes_by_hand() -> None:
    """a wins three of four cases and fails one; b has the best mean."""
    found = rank_all(board(BOARD), count=50)
    assert found["mean-then-rank"].ranks.tolist() == [2, 1, 3]  # means 0.725, 0.775, 0.525
    assert found["rank-then-mean"].ranks.tolist() == [1, 2, 3]  # mean ranks 1.5, 1.75, 2.75
    assert found["rank-then-mean"].score.tolist() == [-1.5, -1.75, -2.75]
    assert found["significance"].ranks.tolist() == [1, 1, 1]  # four cases show nothing


def test_ties_share_the_smaller_rank() -> None:
    assert ranks_of(np.array([[0.5, 0.7, 0.5, 0.1]])).tolist() == [[2, 1, 2, 4]]


def test_less_is_better_where_the_metric_says_so() -> None:
    assert rank(board(-BOARD, "lower")).ranks.tolist() == rank(board(BOARD)).ranks.tolist()


def test_what_a_missing_value_counts_is_said_and_matters() -> None:
    values = np.array([[0.9, 0.8], [np.nan, 0.8], [0.9, 0.7]])
    assert rank(board(values, missing="omit")).ranks.tolist() == [1, 2]
    assert board(values, missing="omit").omitted == 1
    assert rank(board(values, missing=0.0)).ranks.tolist() == [2, 1]
    with pytest.raises(ValueError, match="all their values are missing"):
        board(np.full((3, 2), np.nan), missing="omit")
    with pytest.raises(ValueError, match="all their values are missing"):
        board(np.full((3, 2), np.nan))


def test_one_model_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="two models or more"):
        board(BOARD[:, :1])


def test_clear_differences_are_stable_and_equal_models_are_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 0.1, (60, 1))
    clear = base + rng.normal(0, 0.02, (60, 3)) + np.array([0.2, 0.1, 0.0])
    for scheme in SCHEMES:
        found = rank(board(clear), scheme, count=200)
        assert found.ranks.tolist() == [1, 2, 3]
        assert found.kendall == pytest.approx(1.0)
        assert found.frequencies == pytest.approx(np.eye(3))
        assert (found.low == found.high).all()
    equal = rank(board(base + rng.normal(0, 0.05, (60, 3))), count=400)
    assert equal.frequencies.sum(axis=1) == pytest.approx(np.ones(3))
    assert (equal.high - equal.low).max() >= 1
    assert equal.kendall < 0.95


def test_patients_are_resampled_whole() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (10, 2))
    repeated = Board.of("ab", np.repeat(values, 20, axis=0), np.repeat([f"p{i}" for i in range(10)], 20),
                        direction="higher", missing="worst")  # fmt: skip
    assert rank(repeated).frequencies == pytest.approx(rank(board(values)).frequencies)


@pytest.mark.parametrize("seed", range(5))
def test_the_signed_rank_z_is_scipys_also_with_repeats(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gaps, counts = rng.normal(0.2, 1, 40).round(1), rng.integers(0, 3, 40)
    theirs = scipy.stats.wilcoxon(np.repeat(gaps, counts), method="asymptotic", correction=False)
    assert abs(signed_rank_z(gaps, counts[None].astype(float))[0]) == pytest.approx(abs(theirs.zstatistic))


def test_the_significance_matrix_is_one_sided_and_corrected_over_all_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (40, 3)) + np.array([0.2, 0.0, 0.0])
    found = significance_matrix(board(values))
    gap = values[:, 0] - values[:, 1]
    alone = scipy.stats.wilcoxon(gap, alternative="greater", method="asymptotic", correction=False).pvalue
    assert np.isnan(np.diag(found)).all()
    assert found[0, 1] < 0.05 < found[1, 0]
    assert found[0, 1] >= alone
