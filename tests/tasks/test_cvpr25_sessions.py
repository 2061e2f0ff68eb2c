"""CVPR 2025's interactive script run whole (tests/parity/interaction), and the same session through our protocol."""

import json
from pathlib import Path

import numpy as np
import pytest

from medeval.metrics.clicks import area_under_clicks
from medeval.tasks.context import Context
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.prompted_segmentation.challenges import autopet_figures, cvpr25_figures, cvpr25_nsd
from medeval.types import Case, Grid, Image, LabelMap, Output, Segmentation

FOLDER = Path(__file__).parents[1] / "parity" / "interaction"
SESSIONS = json.loads((FOLDER / "cvpr25_sessions.json").read_text())["cases"]
CLICKS = json.loads((FOLDER / "cvpr25_clicks.json").read_text())


class Stamp:
    """The fixture's model: cuboids of the boxes, then a ball of radius 3 around each class's newest click.

    It answers one label map, classes by their position; a structure is read off it by its own label, as the script does.
    """

    def __init__(self):
        self.maps = []

    def encode(self, image):
        return image.grid.shape

    def segment(self, shape, prompts):
        kept = prompts[0].logits
        answer = np.zeros(shape, np.uint8) if kept is None else kept["map"].copy()
        before = [0] * len(prompts) if kept is None else kept["clicks"]
        clicks = [0 if p.points is None else len(p.points) for p in prompts]
        for value, prompt in enumerate(prompts, start=1):
            if kept is None and prompt.box is not None:
                answer[tuple(slice(*side) for side in prompt.box.T)] = value
            if clicks[value - 1] > before[value - 1]:
                self.stamp(answer, value, prompt.points[-1], prompt.labels[-1])
        self.maps.append(answer)
        logits = {"map": answer, "clicks": clicks}
        return [Segmentation(answer == int(p.structure), logits=logits) for p in prompts]

    @staticmethod
    def stamp(answer, value, point, label):
        away = sum((axis - at) ** 2 for axis, at in zip(np.indices(answer.shape), point, strict=True))
        ball = away <= 9
        answer[ball if label else ball & (answer == value)] = value if label else 0


@pytest.fixture(scope="module")
def arrays():
    return np.load(FOLDER / "case_cvpr25_sessions.npz")


def case_of(name, labels):
    grid = Grid(labels.shape, tuple(SESSIONS[name]["spacing_zyx"]))
    names = {str(value): (int(value),) for value in np.unique(labels)[1:]}
    image = Image(np.zeros((1, *labels.shape), np.uint8), grid)
    return Case(name, None, {"image": image}, {"structures": LabelMap(labels, names)})


def session(name, arrays):
    """(the model, its outputs under the challenge's setting, their records), through the preset."""
    prompt = "middle box + 5 clicks" if SESSIONS[name]["boxes"] else "5 clicks"
    task = PromptedSegmentation(preset="cvpr25-interactive", slice_axis=0)
    task = task.model_copy(update={"prompts": (prompt,)})
    case, model = case_of(name, arrays[f"{name}__gts"]), Stamp()
    outputs = list(task.predict(model, iter([case]), Context()))
    assert all(isinstance(output, Output) for output in outputs)
    return model, outputs, [task.score(case, output, Context())[0] for output in outputs]


@pytest.mark.parametrize("name", SESSIONS)
def test_masks_and_clicks_are_the_challenges(name, arrays):
    model, outputs, _ = session(name, arrays)
    np.testing.assert_array_equal(model.maps, arrays[f"{name}__all_segs"])
    first = 2 if SESSIONS[name]["boxes"] else 1
    for number, expected in enumerate(SESSIONS[name]["clicks"], start=first):
        newest = {output.key.structure: json.loads(output.columns["points"]) for output in outputs
                  if output.key.round == number and "points" in output.columns}  # fmt: skip
        for click in expected:
            assert newest[str(click["class"])][-1] == [*click["zyx"], int(click["type"] == "fg")]


@pytest.mark.parametrize("name", SESSIONS)
def test_scores_and_areas_are_the_challenges(name, arrays):
    _, _, records = session(name, arrays)
    rounds = sorted({record.key.round for record in records})
    dsc, nsd = (
        np.array(
            [np.mean([r.values[m].statistic["value"] for r in records if r.key.round == n]) for n in rounds]
        )
        for m in ("dice", "nsd@2mm")
    )
    expected = SESSIONS[name]["expected"]
    figures = cvpr25_figures(dsc, nsd)
    for key in ("DSC_AUC", "NSD_AUC", "DSC_Final", "NSD_Final"):
        assert figures[key] == pytest.approx(expected[key], rel=1e-9), key
    skipped = 6 - len(rounds)  # without a box the script's first round counts 0
    for step, (one, other) in enumerate(zip(dsc, cvpr25_nsd(dsc, nsd), strict=True), start=1 + skipped):
        assert one == pytest.approx(expected[f"DSC_{step}"], rel=1e-9)
        assert other == pytest.approx(expected[f"NSD_{step}"], rel=1e-9)


@pytest.mark.parametrize(
    "curve", [c for c in CLICKS["auc"] if "six_steps" in c], ids=lambda c: str(c["final"])
)
def test_the_area_is_over_the_click_rounds_and_not_divided(curve):
    steps = [float(value) for value in curve["six_steps"]]
    figures = cvpr25_figures(steps, steps)
    assert figures["DSC_AUC"] == pytest.approx(float(curve["cvpr25_auc_last5"]), rel=1e-9)
    assert figures["DSC_AUC"] / 4 == pytest.approx(float(curve["cvpr25_auc_normalised"]), rel=1e-9)
    assert area_under_clicks(steps) == pytest.approx(float(curve["all_steps_normalised"]), rel=1e-9)


@pytest.mark.parametrize(
    "curve", [c for c in CLICKS["auc"] if "eleven_steps" in c], ids=lambda c: str(c["final"])
)
def test_autopets_area_is_over_all_steps(curve):
    figures = autopet_figures({"dice": curve["eleven_steps"]})
    assert figures["dice_auc"] == pytest.approx(float(curve["autopet_auc"]), rel=1e-9)
    assert figures["dice_final"] == curve["final"]
    assert area_under_clicks(curve["eleven_steps"]) == pytest.approx(float(curve["normalised"]), rel=1e-9)


def test_nsd_of_a_hopeless_case_is_none():
    assert cvpr25_nsd(np.array([0.2, 0.21]), np.array([0.9, 0.9])).tolist() == [0.0, 0.9]
