"""Cluster bootstrap of 100,000 records of 5,000 patients, 10,000 resamples, beside two ways of doing it with scipy.

    OMP_NUM_THREADS=1 pytest benchmarks/perf/bench_statistics.py -o addopts= -s

*concatenating*: ``scipy.stats.bootstrap`` over patients with a Python statistic that joins the drawn patients' records and
takes their mean, as it is written when one first needs clusters. It is timed on PEER_RESAMPLES resamples and scaled, for
all 10,000 take minutes. *over sums*: ``scipy.stats.bootstrap``, vectorised, over each patient's sum and number, which is
the fastest that scipy can be made. Both are percentile intervals, so ours are percentile too; the default (studentised)
and BCa are rows of their own against the same peers. All intervals are asserted to agree. Memory is the peak that
``tracemalloc`` sees (numpy reports to it).
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from medeval.metrics.registry import get_metric
from medeval.statistics import Estimate, Resamples, Sample, estimate, estimates

RECORDS, PATIENTS, RESAMPLES, PEER_RESAMPLES = 100_000, 5_000, 10_000, 60
METRICS = 20


def records() -> tuple[np.ndarray, np.ndarray]:
    """(values, patients): 20 records a patient on average, alike within one."""
    draw = np.random.default_rng(0)
    owner = np.sort(draw.integers(0, PATIENTS, RECORDS))
    owner[:PATIENTS] = np.arange(PATIENTS)  # everybody has one at least
    level = draw.beta(14, 2, PATIENTS)
    return np.clip(level[owner] + draw.normal(0, 0.05, RECORDS), 0, 1), np.array([f"p{i:05d}" for i in owner])


def seconds(action: Callable[[], Any], rounds: int = 1) -> tuple[float, Any]:
    """The least CPU time of some rounds (one thread, so that other work on the machine counts for nobody)."""
    best, found = float("inf"), None
    for _ in range(rounds):
        begin = time.process_time()
        found = action()
        best = min(best, time.process_time() - begin)
    return best, found


def ours(values: np.ndarray, patients: np.ndarray, method: str, resamples: Resamples | None = None) -> Any:
    """Drawing included unless resamples are given."""
    drawn = resamples or Resamples("bench", patients, count=RESAMPLES)
    return estimate(get_metric("dice"), {"value": values}, patients, drawn, method=method)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def concatenating() -> tuple[float, float]:
    """(seconds for all resamples, standard error) of the peer that joins records."""
    values, patients = records()
    parts = _parts(values, patients)
    numbers = np.arange(len(parts))

    def mean_of(drawn: np.ndarray) -> float:
        return float(np.concatenate([parts[i] for i in drawn]).mean())

    took, found = seconds(lambda: scipy.stats.bootstrap((numbers,), mean_of, n_resamples=PEER_RESAMPLES, vectorized=False,
                                                        method="percentile", rng=np.random.default_rng(1)))  # fmt: skip
    return took * RESAMPLES / PEER_RESAMPLES, float(found.standard_error)


def _parts(values: np.ndarray, patients: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(patients, kind="stable")
    starts = np.unique(patients[order], return_index=True)[1]
    return np.split(values[order], starts[1:])


@pytest.fixture(scope="module")
def over_sums() -> tuple[float, Any]:
    """(seconds, interval) of scipy over per-patient sums, in batches that keep its memory flat."""
    values, patients = records()
    codes = np.unique(patients, return_inverse=True)[1]

    def all_of_it() -> Any:
        sums, sizes = np.bincount(codes, weights=values), np.bincount(codes).astype(float)
        return scipy.stats.bootstrap(
            (sums, sizes), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, vectorized=True, batch=50,
            n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(1),
        )  # fmt: skip

    took, found = seconds(all_of_it)
    return took, found.confidence_interval


@pytest.mark.parametrize("method", ["percentile", "studentised", "bca"])
def test_against_both_peers(
    method: str, concatenating: tuple[float, float], over_sums: tuple[float, Any], record_property: Any
) -> None:
    values, patients = records()
    took, found = seconds(lambda: ours(values, patients, method), 2)
    interval = over_sums[1]
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=3e-4)
    assert (found.high - found.low) / 3.92 == pytest.approx(concatenating[1], rel=0.35)
    for name, theirs in (("concatenating", concatenating[0]), ("over sums", over_sums[0])):
        told(record_property, f"cluster bootstrap {method}, scipy {name}", took, theirs)


def test_twenty_metrics_against_one(record_property: Any) -> None:
    values, patients = records()
    table = [np.clip(values + 0.01 * number, 0, 1) for number in range(METRICS)]
    one, _ = seconds(lambda: ours(values, patients, "auto"), 2)

    def one_by_one() -> list[Estimate]:
        resamples = Resamples("bench", patients, count=RESAMPLES)
        return [ours(column, patients, "auto", resamples) for column in table]

    def together() -> list[Estimate]:
        scores = ((get_metric("dice"), Sample({"value": column}, patients)) for column in table)
        return list(estimates(scores, Resamples("bench", patients, count=RESAMPLES)))

    apart, expected = seconds(one_by_one)
    many, found = seconds(together, 2)
    assert found == expected  # to the byte
    print(f"\n{METRICS} metrics together: {many:.2f} s, one by one: {apart:.2f} s, a single one: {one:.2f} s: "
          f"{many / one:.2f}x")  # fmt: skip
    record_property("twenty_over_one", many / one)


@pytest.mark.parametrize("number", [1, METRICS])
def test_memory_stays_flat(number: int) -> None:
    values, patients = records()
    scores = ((get_metric("dice"), Sample({"value": values + 0.0}, patients)) for _ in range(number))
    tracemalloc.start()
    list(estimates(scores, Resamples("bench", patients, count=RESAMPLES)))
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f"\n{number} metrics, peak memory beside the records: {peak:.0f} MB")
    assert peak <= 100


def told(record_property: Any, row: str, took: float, theirs: float) -> None:
    """One line a comparison."""
    print(f"\n{row}: ours {took * 1e3:.0f} ms, theirs {theirs * 1e3:.0f} ms, ratio {theirs / took:.1f}")
    record_property(row, theirs / took)
