from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from medeval.statistics import Resamples, clusters, pooled_clusters

PATIENTS = [f"p{i:02d}" for i in range(20)]


def all_counts(resamples: Resamples) -> np.ndarray:
    return np.concatenate(list(resamples.blocks()))


def test_every_resample_draws_as_many_patients_as_there_are() -> None:
    counts = all_counts(Resamples("d", PATIENTS, count=150))
    assert counts.shape == (150, 20)
    assert (counts.sum(axis=1) == 20).all()


def test_draws_do_not_depend_on_the_order_or_number_of_rows() -> None:
    shuffled = [*reversed(PATIENTS), *PATIENTS[:7]]
    assert np.array_equal(all_counts(Resamples("d", PATIENTS)), all_counts(Resamples("d", shuffled)))


@pytest.mark.parametrize(
    "other",
    [
        Resamples("e", PATIENTS, 100),
        Resamples("d", PATIENTS, 100, seed=1),
        Resamples("d", [*PATIENTS[:-1], "q"], 100),
    ],
)
def test_draws_depend_on_dataset_seed_and_patients(other: Resamples) -> None:
    assert not np.array_equal(all_counts(Resamples("d", PATIENTS, 100)), all_counts(other))


def test_a_longer_run_begins_with_the_draws_of_a_shorter_one() -> None:
    short, long = Resamples("d", PATIENTS, 100), Resamples("d", PATIENTS, 1000)
    assert np.array_equal(all_counts(short), all_counts(long)[:100])


def test_draws_are_uniform_over_patients() -> None:
    shares = all_counts(Resamples("d", PATIENTS, 5000)).mean(axis=0)
    assert np.allclose(shares, 1, atol=5 * np.sqrt(0.95 / 5000))


def test_pooled_draws_keep_each_dataset_whole_and_its_own_draws() -> None:
    first, second = Resamples("a", PATIENTS, 100), Resamples("b", PATIENTS[:5], 100)
    pooled = Resamples.pooled([second, first])
    counts = all_counts(pooled)
    assert np.array_equal(counts, np.hstack([all_counts(first), all_counts(second)]))
    assert pooled.strata.tolist() == [0] * 20 + [1] * 5
    assert pooled.codes(pooled_clusters(["b", "a"], ["p00", "p00"])).tolist() == [20, 0]


@pytest.mark.parametrize("parts", [[Resamples("a", PATIENTS), Resamples("a", PATIENTS)],
                                   [Resamples("a", PATIENTS, 10), Resamples("b", PATIENTS, 20)]])  # fmt: skip
def test_what_cannot_be_pooled_is_refused(parts: list[Resamples]) -> None:
    with pytest.raises(ValueError, match="cannot pool"):
        Resamples.pooled(parts)


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_a_case_of_unknown_patient_is_its_own_cluster(missing: object) -> None:
    found = clusters(["p1", missing, missing, "p1"], ["c1", "c2", "c3", "c4"])  # type: ignore[list-item]
    assert len(set(found)) == 3
    resamples = Resamples("d", found)
    assert resamples.unknown(np.unique(resamples.codes(found))) == 2


def test_a_patient_named_like_a_case_is_not_that_case() -> None:
    assert len(set(clusters(["c2", None], ["c1", "c2"]))) == 2


@pytest.mark.parametrize(
    ("patients", "count", "message"), [([], 10, "'d' has no patients"), (["p"], 0, "count of resamples is 0")]
)
def test_wrong_arguments_are_named(patients: list[str], count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Resamples("d", patients, count)


def test_an_unknown_patient_is_named() -> None:
    with pytest.raises(ValueError, match="'nobody' is not among the 20 patients of 'd'"):
        Resamples("d", PATIENTS).codes(["p01", "nobody"])


def test_memory_stays_flat() -> None:
    resamples = Resamples("d", [f"p{i}" for i in range(5000)], count=10_000)
    tracemalloc.start()
    rows = sum(len(block) for block in resamples.blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 10_000
    assert peak < 100 * 2**20


def test_resamples_of_one_drawing_are_as_good_as_independent_ones() -> None:
    """With many patients one drawing serves eight resamples, in other orders of the patients."""
    names = [f"p{i:04d}" for i in range(600)]
    counts = np.concatenate(list(Resamples("d", names, count=4000).blocks())).astype(float)
    assert (counts.sum(axis=1) == 600).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(600), abs=0.08)
    assert counts.var() == pytest.approx(1 - 1 / 600, rel=0.02)
    values = np.sort(
        np.random.default_rng(0).lognormal(size=600)
    )  # sorted: the order of names means something
    means = counts @ values / 600
    assert means.std() == pytest.approx(values.std() / np.sqrt(600), rel=0.05)
    together = means.reshape(-1, 8)
    off = np.corrcoef(together.T)[~np.eye(8, dtype=bool)]
    assert np.abs(off).max() < 4 / np.sqrt(len(together)) + 3 / np.sqrt(600)
