from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval.statistics.corrections import benjamini_hochberg, corrected, holm

P = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_benjamini_hochberg_by_hand() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


@settings(deadline=None)
@given(P)
def test_corrections_agree_with_statsmodels(values: list[float]) -> None:
    peer = pytest.importorskip("statsmodels.stats.multitest")
    for ours, name in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
        assert ours(values) == pytest.approx(peer.multipletests(values, method=name)[1])


@settings(deadline=None)
@given(P)
def test_benjamini_hochberg_agrees_with_scipy(values: list[float]) -> None:
    from scipy.stats import false_discovery_control

    assert benjamini_hochberg(values) == pytest.approx(false_discovery_control(values))


@given(P)
def test_a_corrected_p_is_never_smaller_and_keeps_the_order(values: list[float]) -> None:
    for correct in (holm, benjamini_hochberg):
        found = correct(values)
        assert (found >= np.array(values) - 1e-15).all()
        assert (found <= 1).all()
        assert (np.diff(found[np.argsort(values, kind="stable")]) >= -1e-15).all()


def test_what_has_no_test_is_not_counted() -> None:
    found = holm([0.01, np.nan, 0.04])
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(found[1])
    assert np.isnan(corrected([None, 0.2], "bh")[0])


@pytest.mark.parametrize(("values", "kind"), [([1.2], "holm"), ([-0.1], "bh"), ([0.5], "bonferoni")])
def test_wrong_input_is_told(values: list[float], kind: str) -> None:
    with pytest.raises(ValueError, match=r"must lie in|one of holm"):
        corrected(values, kind)  # type: ignore[arg-type]
