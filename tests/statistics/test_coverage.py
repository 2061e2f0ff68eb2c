"""How often a 95% interval holds the true mean: the table that chose the default interval."""

from __future__ import annotations

import numpy as np
import pytest
from laws import LAWS, Law, true_mean

from medeval.metrics.base import Metric
from medeval.statistics import Resamples, Sample, paired_difference
from medeval.statistics.draws import draw
from medeval.statistics.estimates import _Bound
from medeval.statistics.intervals import Method, interval

METHODS: tuple[Method, ...] = ("studentised", "t", "expanded", "percentile", "bca")
PATIENTS = {20: 1500, 50: 1000, 200: 600}
TAIL = (-np.inf, np.inf)


def coverage(metric: Metric, law: Law, patients: int, studies: int) -> dict[str, float]:
    """Share of simulated studies whose interval holds the truth, by method; the same draws for all methods."""
    truth, rng = true_mean(law), np.random.default_rng(patients)
    hits = dict.fromkeys(METHODS, 0)
    names = np.array([f"p{i:04d}" for i in range(patients)])
    pool = [
        Resamples(f"draws {number}", names, count=1000) for number in range(30)
    ]  # drawing costs more than all else
    for study in range(studies):
        values, owner = law(rng, patients)
        resamples = pool[study % len(pool)]
        bound = _Bound(metric, (Sample({"value": values}, names[owner]),), resamples, "records", None)
        draws = draw(bound.scores, resamples, bound.present)
        for method in METHODS:
            found = interval(draws, method, 0.95, TAIL, bound.jackknife())
            hits[method] += found.low <= truth <= found.high
    return {method: 100 * count / studies for method, count in hits.items()}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_default_interval_covers_best_with_few_patients(
    mean: Metric, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, table = [], {}
    for name, law in LAWS.items():
        for patients, studies in PATIENTS.items():
            table[name, patients] = found = coverage(mean, law, patients, studies)
            lines.append(f"{name:20} {patients:4}  " + "  ".join(f"{found[m]:11.1f}" for m in METHODS))
    with capsys.disabled():
        print(
            f"\n95% intervals that hold the truth, %\n{'law':20} n     "
            + "  ".join(f"{m:>11}" for m in METHODS)
        )
        print("\n".join(lines))
    for (_, patients), found in table.items():
        if patients == 200:
            assert 93 <= found["studentised"] <= 97
    for name in ("skewed (Dice-like)", "log-normal error"):
        for patients in (20, 50):
            found = table[name, patients]
            assert found["studentised"] >= max(found.values()) - 1.0


@pytest.mark.slow
def test_intervals_of_a_paired_difference_cover(mean: Metric) -> None:
    rng, hits, studies = np.random.default_rng(0), 0, 600
    names = np.array([f"p{i:03d}" for i in range(60)])
    pool = [Resamples(f"draws {number}", names, count=600) for number in range(30)]
    for study in range(studies):
        values, owner = LAWS["skewed (Dice-like)"](rng, 60)
        other = values - rng.normal(0.02, 0.05, 60)[owner] - rng.normal(0, 0.02, len(values))
        samples = (Sample({"value": side}, names[owner]) for side in (values, other))
        found = paired_difference(mean, *samples, pool[study % len(pool)])
        hits += found.low <= 0.02 <= found.high
    assert 0.93 <= hits / studies <= 0.97
