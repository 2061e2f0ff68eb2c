"""How often a comparison is wrong: 4,000 simulated pairs of models on clustered cases."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.statistics.paired import permutation_test

PAIRS, PATIENTS = 4000, 50
SPREAD, EFFECT = 0.05, 0.025  # standard deviation of the patients' differences; the named effect, half of it


def share_called_different(effect: float, law: str) -> float:
    """Share of the pairs with p <= 5%; 1 to 8 cases a patient, alike within a patient."""
    rng, hits = np.random.default_rng(3), 0
    for number in range(PAIRS):
        owner = np.repeat(np.arange(PATIENTS), rng.integers(1, 9, PATIENTS))
        level = rng.normal(0, SPREAD, PATIENTS)
        if law == "heavy-tailed":
            level = rng.standard_t(3, PATIENTS) * SPREAD / np.sqrt(3)
        gaps = effect + level[owner] + rng.normal(0, 0.02, len(owner))
        hits += permutation_test(gaps, owner, exchanges=999, seed=number).p <= 0.05
    return hits / PAIRS


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "heavy-tailed"])
def test_equal_models_are_called_different_in_at_most_six_per_cent(
    law: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = share_called_different(0.0, law)
    with capsys.disabled():
        print(f"\nfalse positives at alpha 5%, {law}, {PATIENTS} patients: {found:.2%} of {PAIRS} pairs")
    assert found <= 0.06


@pytest.mark.slow
def test_half_a_standard_deviation_is_found_in_at_least_eighty_per_cent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = share_called_different(EFFECT, "normal")
    with capsys.disabled():
        print(
            f"\npower for {EFFECT} (patients' differences {SPREAD}, {PATIENTS} patients): {found:.1%} of {PAIRS} pairs"
        )
    assert found >= 0.80
