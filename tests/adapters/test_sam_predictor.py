"""``sam-predictor``: objects with SAM's set_image and predict."""

import numpy as np
import pytest

from medeval.plugins import build
from medeval.types import EvaluatorFailure, Grid, Image, ModelFailure, PluginError, Prompt
from medeval_adapters.sam_predictor import SAMPredictor

SOURCE = '''
import numpy as np


class Predictor:
    """Answers the box, or a square around the last foreground point; remembers how it was asked."""

    def __init__(self, reach=1, checkpoint=None, batched=False, as_float=False):
        self.reach, self.checkpoint, self.batched, self.as_float = reach, checkpoint, batched, as_float
        self.images, self.asked = [], []

    def set_image(self, image):
        assert image.dtype == np.uint8 and image.shape[2] == 3
        self.images.append(image)

    def predict(self, point_coords=None, point_labels=None, box=None, mask_input=None, multimask_output=True):
        self.asked.append((point_coords, point_labels, box, mask_input, multimask_output))
        mask = np.zeros(self.images[-1].shape[:2], bool)
        if box is not None:
            x0, y0, x1, y1 = box.astype(int)
        else:
            x, y = point_coords[-1].astype(int)
            x0, y0, x1, y1 = x - self.reach, y - self.reach, x + self.reach + 1, y + self.reach + 1
        mask[max(y0, 0) : y1, max(x0, 0) : x1] = True
        masks = np.stack([np.zeros_like(mask), mask, ~mask]) if multimask_output else mask[None]
        scores = np.array([0.1, 0.9, 0.5]) if multimask_output else np.array([0.7])
        low = np.stack([np.full((4, 4), float(n)) for n in range(len(masks))])
        masks = masks.astype(np.float32) if self.as_float else masks
        return (masks[None], scores[None], low[None]) if self.batched else (masks, scores, low)


def make(**options):
    return Predictor(**options)


class Mute:
    def set_image(self, image): ...


class Strange(Predictor):
    answer = None

    def predict(self, **given):
        masks, scores, low = super().predict(**given)
        return {"shape": (masks[:, 1:], scores, low), "floats": (masks * 0.5, scores, low), "axes": (masks[0], scores, low)}[
            self.checkpoint
        ]
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def image(*shape):
    return Image(np.zeros((1, *shape), np.uint8), Grid(shape, (1.0, 1.0)))


BOX = Prompt("liver", box=np.array([[2, 3], [6, 9]]))


@pytest.mark.parametrize("options", [{}, {"batched": True}, {"as_float": True}], ids=str)
def test_the_best_mask_by_score_at_its_place(file, options):
    adapter = SAMPredictor(predictor="Predictor", file=file, options=options)
    (answer,) = adapter.segment(adapter.encode(image(10, 12)), [BOX])
    expected = np.zeros((10, 12), bool)
    expected[2:6, 3:9] = True
    np.testing.assert_array_equal(answer.mask, expected)
    assert answer.score == pytest.approx(0.9)
    np.testing.assert_array_equal(answer.logits, np.ones((4, 4)))


def test_points_are_x_y_and_logits_go_back(file):
    adapter = SAMPredictor(predictor="make", file=file)
    prompt = Prompt("", points=np.array([[2, 7], [5, 1]]), labels=np.array([1, 0]), logits=np.ones((4, 4)))
    adapter.segment(adapter.encode(image(10, 12)), [prompt])
    coords, labels, box, mask, several = adapter.predictor.asked[0]
    assert coords.tolist() == [[7, 2], [1, 5]]
    assert labels.tolist() == [1, 0]
    assert box is None
    assert mask.shape == (1, 4, 4)
    assert mask.max() == 1
    assert several is True


def test_feedback_can_be_probabilities_and_a_single_mask_asked_for(file):
    adapter = SAMPredictor(predictor="make", file=file, mask_feedback="probabilities", multimask=False)
    prompt = Prompt("", points=np.array([[2, 7]]), labels=np.array([1]), logits=np.zeros((4, 4)))
    (answer,) = adapter.segment(adapter.encode(image(10, 12)), [prompt])
    assert adapter.predictor.asked[0][3].max() == 0.5
    assert answer.score == pytest.approx(0.7)


def test_an_image_is_set_once_and_again_only_when_another_came_between(file):
    adapter = SAMPredictor(predictor="make", file=file)
    first = adapter.encode(image(10, 12))
    adapter.segment(first, [BOX, BOX])
    adapter.segment(first, [BOX])
    assert len(adapter.predictor.images) == 1
    second = adapter.encode(image(20, 22))
    assert adapter.segment(first, [BOX])[0].mask.shape == (10, 12)
    assert adapter.segment(second, [BOX])[0].mask.shape == (20, 22)
    assert [one.shape[0] for one in adapter.predictor.images] == [10, 20, 10, 20]


def test_options_and_checkpoint_are_passed_on(file, tmp_path):
    options = {
        "predictor": f"{file}:Predictor",
        "checkpoint": str(tmp_path / "a.pth"),
        "options": {"reach": 3},
    }
    made = build(SAMPredictor, options).predictor
    assert (made.reach, made.checkpoint) == (3, str(tmp_path / "a.pth"))


def test_kinds_of_prompts_can_be_narrowed(file):
    adapter = SAMPredictor(predictor="make", file=file, prompts=("box",))
    assert adapter.takes.prompts == {"box"}
    assert SAMPredictor.takes.prompts == {"box", "points", "mask"}


@pytest.mark.parametrize(
    ("predictor", "options", "message"),
    [
        ("Nothing", {}, "no 'Nothing' there"),
        ("Predictor", {"reech": 1}, "does not take reech"),
        ("Mute", {}, "a Mute without predict; SAM's interface is"),
    ],
)
def test_what_is_no_predictor_is_told(file, predictor, options, message):
    with pytest.raises(PluginError, match=message):
        SAMPredictor(predictor=predictor, file=file, options=options)


@pytest.mark.parametrize(
    ("strange", "message"),
    [
        ("shape", r"mask of shape \(9, 12\)"),
        ("floats", "beyond 0 and 1"),
        ("axes", r"shape \(10, 12\) where 3 axes"),
    ],
)
def test_strange_answers_are_the_model_s_failure(file, strange, message):
    adapter = SAMPredictor(predictor="Strange", file=file, options={"checkpoint": strange})
    with pytest.raises(ModelFailure, match=message):
        adapter.segment(adapter.encode(image(10, 12)), [BOX])


def test_prompts_that_cannot_be_meant_are_not_asked(file):
    adapter = SAMPredictor(predictor="make", file=file)
    encoded = adapter.encode(image(10, 12))
    with pytest.raises(EvaluatorFailure, match="is inverted"):
        adapter.segment(encoded, [Prompt("", box=np.array([[6, 9], [2, 3]]))])
    assert adapter.predictor.asked == []
