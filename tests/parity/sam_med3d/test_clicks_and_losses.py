"""The official click simulators and loss, exactly; Dice and NSD by our metrics."""

import numpy as np
import pytest

pytest.importorskip("torch")

from medeval.metrics import compare_masks
from medeval_models.sam_med3d.clicks import candidates, depth, draw
from tests.parity.sam_med3d.cases import arrays


def pair(case):
    fixture = arrays("next_click")
    return fixture[f"{case}_pred"] > 0, fixture[f"{case}_gt"] > 0


@pytest.mark.parametrize("rule", ["random", "ritm"])
@pytest.mark.parametrize("case", range(5))
def test_candidates_and_draws(case, rule):
    fixture = arrays("next_click")
    prediction, truth = pair(case)
    listed = fixture[f"{case}_{rule}_candidates"] > 0
    if listed.any():  # of a perfect prediction the script has none and falls back
        where, _ = candidates(prediction, truth, rule)
        np.testing.assert_array_equal(where, listed)
    points = fixture.get(f"{case}_{rule}_points_seed233")
    if points is not None:
        rng = np.random.RandomState(233)
        drawn = [draw(prediction, truth, rng, rule) for _ in range(5)]
        assert [[*c.voxel, c.label] for c in drawn] == points.tolist()


@pytest.mark.parametrize("case", range(4))
def test_depths(case):
    fixture = arrays("next_click")
    prediction, truth = pair(case)
    np.testing.assert_allclose(depth(truth & ~prediction), fixture[f"{case}_dist_fn"], rtol=1e-6)
    np.testing.assert_allclose(depth(prediction & ~truth), fixture[f"{case}_dist_fp"], rtol=1e-6)


@pytest.mark.parametrize(("key", "rule"), [("train_point_seed7", "random"), ("old_ritm_point_seed7", "ritm")])
@pytest.mark.parametrize("case", range(4))
def test_the_simulators_of_training(case, key, rule):
    click = draw(*pair(case), np.random.RandomState(7), rule)
    assert [*click.voxel, click.label] == arrays("next_click")[f"{case}_{key}"].tolist()


def test_training_takes_logits_above_one_half_for_foreground():
    fixture = arrays("next_click")
    truth = fixture["logit_gt"] > 0
    where, _ = candidates(fixture["logit_map"], truth)
    np.testing.assert_array_equal(where, fixture["logit_candidates"] > 0)
    click = draw(fixture["logit_map"], truth, np.random.RandomState(3))
    assert [*click.voxel, click.label] == fixture["logit_point_seed3"].tolist()


def test_a_perfect_prediction_falls_back_and_nothing_at_all_is_an_error():
    truth = np.zeros((4, 5, 6), bool)
    truth[1, 2, 3] = True
    rng = np.random.RandomState(0)
    assert draw(truth, truth, rng) == ((1, 2, 3), 1)
    assert draw(truth, truth, rng, "ritm") == ((2, 2, 3), 0)
    with pytest.raises(ValueError, match="the structure is empty"):
        draw(truth & False, truth & False, rng)


def test_loss():
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")
    from medeval_models.sam_med3d.losses import dice_ce_loss

    fixture = arrays("loss")
    loss = dice_ce_loss(torch.from_numpy(fixture["logits"]), torch.from_numpy(fixture["target"]))
    assert float(loss) == pytest.approx(float(fixture["loss"]), rel=1e-6)


@pytest.mark.parametrize(
    "label", [1, 2, 3, 4, 5, 6]
)  # 4: predicted empty, 5: reference empty, 6: both (NaN is meant)
def test_dice_and_surface_dice_of_the_official_script(label):
    fixture = arrays("metrics")
    at = fixture["classes"].tolist().index(label)
    spacing = tuple(fixture["spacing"])
    found = compare_masks(fixture["pred"] == label, fixture["gt"] == label, spacing, ["dice", "nsd@1mm"])
    assert found["dice"] == pytest.approx(fixture["dsc"][at], abs=1e-6, nan_ok=True)
    assert found["nsd@1mm"] == pytest.approx(fixture["nsd_1mm"][at], abs=1e-6, nan_ok=True)
