"""autoPET/CT IV: clicks drawn beforehand, metrics of each step and the six figures, as its own code gives them."""

import json
from pathlib import Path

import numpy as np
import pytest

from medeval.interaction import first_click, next_click
from medeval.interaction.autopet import click_pairs
from medeval.interaction.corrections import Round, next_correction
from medeval.metrics.masks import MaskPair
from medeval.metrics.registry import get_metric
from medeval.tasks.prompted_segmentation.challenges import autopet_figures
from medeval.types import Grid, rng

FOLDER = Path(__file__).parent.parent / "parity" / "interaction"
DATA = json.loads((FOLDER / "autopet_iv.json").read_text())
FIGURES = "dice_auc,fpv_auc,fnv_auc,dice_final,fpv_final,fnv_final"


@pytest.fixture(scope="module")
def arrays():
    return np.load(FOLDER / "case_autopet_iv.npz")


def given(arrays, name, **options):
    case = DATA["cases"][name]
    budget = case["click_budget"] or (2 if case["dataset"] == "Longitudinal-CT" else 10)
    pet = arrays[f"{name}__pet"].astype(np.float32) if f"{name}__pet" in arrays else None
    return click_pairs(arrays[f"{name}__label"] > 0, pet, budget, **options)


@pytest.mark.parametrize(
    "name", [name for name, case in DATA["cases"].items() if "error" not in case["clicks"]]
)
def test_clicks_are_the_challenges(arrays, name):
    pairs, expected = given(arrays, name), DATA["cases"][name]["clicks"]
    assert pairs.inside.tolist() == expected["tumor"]
    assert pairs.outside.tolist() == expected["background"]


@pytest.mark.parametrize("strict", [False, True])
def test_where_the_official_simulator_breaks_off_no_click_hits_a_lesion(arrays, strict):
    pairs = given(arrays, "few_background", strict=strict)
    label = arrays["few_background__label"] > 0
    assert len(pairs.outside) == 10
    assert not label[tuple(pairs.outside.T)].any()


def test_strict_background_clicks_stay_in_what_takes_up_most(arrays):
    pet, label = arrays["two_lesions__pet"].astype(np.float32), arrays["two_lesions__label"] > 0
    pairs = given(arrays, "two_lesions", draw=rng("case"), strict=True)
    hot = (pet > np.percentile(pet[~label], 99.75)) & ~label
    assert hot[tuple(pairs.outside.T)].all()


def test_the_rule_of_lesion_clicks_alone_gives_them_in_order(arrays):
    label = arrays["two_lesions__label"] > 0
    clicked = np.empty((0, 3), int)
    for expected in DATA["cases"]["two_lesions"]["clicks"]["tumor"]:
        state = Round(
            label, label, clicked, (1.0, 1.0, 1.0)
        )  # the mask is right: the clicks come all the same
        click = next_correction(state, "autopet", rng("unused")).points
        assert click.tolist() == [expected]
        clicked = np.vstack([clicked, click])


def number(value):
    return float("nan") if value == "nan" else value


@pytest.mark.parametrize("name", DATA["metrics"])
def test_steps_and_figures_are_the_challenges(arrays, name):
    expected = DATA["metrics"][name]
    shape, spacing = tuple(expected["shape"]), tuple(expected["spacing"])
    truth = arrays[f"{name}__label"] > 0
    steps = [np.unpackbits(bits, count=truth.size).reshape(shape) > 0 for bits in arrays[f"{name}__preds"]]
    found = np.array([measured(step, truth, spacing, shape) for step in steps])
    reference = np.array([[number(v) for v in row] for row in expected["per_step_dice_fpv_fnv"]])
    np.testing.assert_allclose(found[:, 0], reference[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found, reference, rtol=1e-6)
    figures = autopet_figures(dict(zip(("dice", "fpv", "fnv"), found.T, strict=True)))
    np.testing.assert_allclose(
        [figures[key] for key in FIGURES.split(",")], [number(v) for v in expected[FIGURES]], rtol=1e-6
    )


def measured(prediction, truth, spacing, shape):
    """(Dice, FPV, FNV); the challenge has no Dice without a lesion, nor has a record of an absent structure."""
    pair = MaskPair(prediction, truth, spacing, structure="lesion", grid=Grid(shape, spacing))
    values = [get_metric(metric).observe(pair).statistic for metric in ("dice", "fpv_ml", "fnv_ml")]
    if not truth.any():
        values[0] = None
    return [float("nan") if value is None else value["value"] for value in values]


@pytest.mark.parametrize("rule", ["autopet", "sam-med3d", "radioactive"])
def test_every_policy_can_be_asked_for_its_next_click(arrays, rule):
    label = arrays["two_lesions__label"] > 0
    click = next_click(np.zeros_like(label), label, (), rule, rng("next"), (1.0, 1.0, 1.0))
    assert (label[click.point], click.label) == (True, 1)
    assert label[first_click(label, rule, rng("first"), (1.0, 1.0, 1.0))]
