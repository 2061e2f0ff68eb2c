"""The adapter ``slicewise``: which slices are asked, with what, and how prompts and masks are turned there and back."""

import numpy as np
import pytest

from medeval.plugins import build as build_plugin
from medeval.types import (
    Capabilities,
    DataError,
    EvaluatorFailure,
    Grid,
    Image,
    ModelFailure,
    PluginError,
    Prompt,
    Segmentation,
)
from medeval_adapters.slicewise import Slicewise
from medeval_adapters.slicewise_planes import Planes

SHAPE = (18, 22, 26)


class Recorder:
    """Answers a thresholded slice, and remembers what it was asked."""

    takes = Capabilities(dimensions=frozenset({2}))

    def __init__(self, boxes: bool = True) -> None:
        self.asked = []
        self.encoded = 0
        if not boxes:
            self.takes = Capabilities(frozenset({"points"}), frozenset({2}))

    def encode(self, image):
        self.encoded += 1
        return image.array[0] > 0.5

    def segment(self, encoded, prompts):
        self.asked += list(prompts)
        return [Segmentation(encoded, 0.5, logits=encoded[::2, ::2].astype(np.float32)) for _ in prompts]


class Volumes(Recorder):
    takes = Capabilities(dimensions=frozenset({3}))


class NoPrompts(Recorder):
    takes = Capabilities(prompts=frozenset())


class NoMethods:
    pass


class WrongShape(Recorder):
    def segment(self, encoded, prompts):
        return [Segmentation(encoded.T) for _ in prompts]


class TooFew(Recorder):
    def segment(self, encoded, prompts):
        return []


def make(model="Recorder", **options):
    return Slicewise(f"{__name__}:{model}", **options)


def ball(shape=SHAPE, spacing=(1.0, 1.0, 1.0), radius=6.0):
    """A bright ball and its truth."""
    grid = np.indices(shape)
    truth = sum((axis - n / 2) ** 2 for axis, n in zip(grid, shape, strict=True)) <= radius**2
    return Image(truth[None].astype(np.float32), Grid(shape, spacing)), truth


def clicked(*points, labels=None, **more):
    points = np.array(points, dtype=np.int64).reshape(-1, 3)
    return Prompt("ball", points=points, labels=np.array(labels or [1] * len(points)), **more)


def box_of(mask):
    at = np.argwhere(mask)
    return np.array([at.min(axis=0), at.max(axis=0) + 1])


def touched(mask, axis=2):
    return np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))).tolist()


# -- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_slices_points_boxes_and_masks_are_turned_alike(axis):
    image, truth = ball(spacing=(1.0, 2.0, 3.0))
    planes = Planes.of(image.grid, axis)
    point = np.array([9, 12, 15])
    index = int(point[planes.axis])
    marked = np.zeros(SHAPE, dtype=bool)
    marked[tuple(point)] = True
    found = planes.slices_of(Prompt("x", points=point[None], box=box_of(truth), mask=marked))
    row, column = found[index].points[0]
    assert planes.cut(marked, index)[row, column]
    np.testing.assert_array_equal(found[index].mask, planes.cut(marked, index))
    inside = planes.cut(truth, planes.count // 2)
    np.testing.assert_array_equal(found[planes.count // 2].box, box_of(inside))
    np.testing.assert_array_equal(planes.image(image, index).array[0] > 0, planes.cut(truth, index))
    back = np.zeros_like(truth)
    for number in range(planes.count):
        planes.paste(back, number, planes.cut(truth, number))
    np.testing.assert_array_equal(back, truth)


def test_an_axial_slice_shows_the_patient_s_right_on_the_left_and_anterior_on_top():
    array = np.zeros((1, 4, 5, 6))
    array[0, 3, 4, 2] = 1  # the most right, the most anterior
    image = Image(array, Grid((4, 5, 6), (1.0, 2.0, 3.0)))
    shown = Planes.of(image.grid, "axial").image(image, 2)
    assert shown.array[0, 0, 0] == 1
    assert shown.grid.spacing == (2.0, 1.0)


def test_the_thickest_axis_is_the_one_across_slices():
    assert Planes.of(Grid((4, 5, 6), (1.0, 5.0, 1.0)), "thickest").axis == 1
    assert Planes.of(Grid((4, 5, 6), (1.0, 1.0, 1.0)), "thickest").axis == 2


# -- per slice ----------------------------------------------------------------------------------------------------------


def test_only_slices_that_were_touched_are_segmented():
    adapter = make()
    image, truth = ball()
    (answer,) = adapter.segment(adapter.encode(image), [clicked([9, 11, 13], [9, 11, 15], [8, 10, 15])])
    assert touched(answer.mask) == [13, 15]
    np.testing.assert_array_equal(answer.mask[..., 13], truth[..., 13])
    assert [len(prompt.points) for prompt in adapter.model.asked] == [1, 2]
    assert adapter.model.encoded == 2


def test_a_box_is_a_box_on_each_of_its_slices():
    adapter = make()
    image, truth = ball()
    (answer,) = adapter.segment(adapter.encode(image), [Prompt("ball", box=box_of(truth))])
    np.testing.assert_array_equal(answer.mask, truth)
    assert len(adapter.model.asked) == len(touched(truth))


def test_later_rounds_ask_only_the_slices_with_new_clicks():
    adapter = make()
    image, _ = ball()
    encoded = adapter.encode(image)
    (first,) = adapter.segment(encoded, [clicked([9, 11, 13], [9, 11, 15])])
    adapter.model.asked.clear()
    later = clicked([9, 11, 13], [9, 11, 15], [8, 10, 15], mask=first.mask, logits=first.logits)
    (second,) = adapter.segment(encoded, [later])
    (asked,) = adapter.model.asked
    assert len(asked.points) == 2
    assert asked.logits.shape == (11, 9)
    assert asked.mask.shape == (22, 18)
    assert touched(second.mask) == [13, 15]
    assert adapter.model.encoded == 2


def test_structures_on_one_slice_go_to_the_model_together():
    adapter = make()
    image, _ = ball()
    calls = []
    inner = adapter.model.segment
    adapter.model.segment = lambda encoded, prompts: calls.append(len(prompts)) or inner(encoded, prompts)
    adapter.segment(adapter.encode(image), [clicked([9, 11, 13]), clicked([8, 10, 13]), clicked([8, 10, 14])])
    assert sorted(calls) == [1, 2]


# -- propagation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("boxes", [True, False])
def test_one_click_is_carried_through_the_structure(axis, boxes):
    adapter = make(axis=axis, prompts="propagate", options={"boxes": boxes})
    image, truth = ball()
    (answer,) = adapter.segment(adapter.encode(image), [clicked([9, 11, 13])])
    planes = Planes.of(image.grid, axis)
    whole = touched(truth, planes.axis)
    assert touched(answer.mask, planes.axis) == whole[1:-1]  # the caps, of one voxel, overlap too little
    assert all((prompt.box is not None) == boxes for prompt in adapter.model.asked[1:])


def test_a_box_is_drawn_on_its_middle_slice_and_ends_where_it_ends():
    adapter = make(prompts="propagate", overlap=0.0)
    image, truth = ball()
    box = box_of(truth)
    box[:, 2] = [10, 15]
    (answer,) = adapter.segment(adapter.encode(image), [Prompt("ball", box=box)])
    assert touched(answer.mask) == [10, 11, 12, 13, 14]


def test_it_stops_where_neighbouring_masks_do_not_overlap():
    image, _ = ball()
    image.array[:] = 0
    image.array[0, 3:8, 3:8, 5:10] = 1
    image.array[0, 12:16, 12:18, 10:20] = 1
    adapter = make(prompts="propagate")
    (answer,) = adapter.segment(adapter.encode(image), [clicked([4, 4, 7])])
    assert touched(answer.mask) == [5, 6, 7, 8, 9]


def test_a_correction_lets_every_touched_slice_speak_anew():
    adapter = make(prompts="propagate")
    image, _ = ball()
    encoded = adapter.encode(image)
    (first,) = adapter.segment(encoded, [clicked([9, 11, 13])])
    adapter.model.asked.clear()
    (second,) = adapter.segment(
        encoded, [clicked([9, 11, 13], [9, 11, 16], logits=first.logits, mask=first.mask)]
    )
    assert touched(second.mask) == touched(first.mask)
    seen = [prompt for prompt in adapter.model.asked if prompt.points is not None]
    assert len(seen) == 1
    assert len(second.logits["slices"]) == len(set(second.logits["slices"]))


def test_a_session_written_down_as_lists_resumes():
    adapter = make(prompts="propagate")
    image, _ = ball()
    encoded = adapter.encode(image)
    (first,) = adapter.segment(encoded, [clicked([9, 11, 13])])
    written = {
        key: [v.tolist() if hasattr(v, "tolist") else v for v in values]
        for key, values in first.logits.items()
    }
    (again,) = adapter.segment(encoded, [clicked([9, 11, 13], logits=written)])
    np.testing.assert_array_equal(again.mask, first.mask)


# -- what cannot be meant -----------------------------------------------------------------------------------------------


def test_a_picture_is_refused():
    with pytest.raises(DataError, match="2D image came to `slicewise`"):
        make().encode(Image(np.zeros((1, 4, 4)), Grid((4, 4), (1.0, 1.0))))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt("x"), "without a point"),
        (clicked([3, 3, 26]), "lies outside the volume's 26 slices"),
        (clicked([3, 3, -1]), "lies outside"),
        (clicked([3, 3, 3], logits=np.zeros((4, 4))), "did not return"),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_told(prompt, message):
    adapter = make()
    with pytest.raises(EvaluatorFailure, match=message):
        adapter.segment(adapter.encode(ball()[0]), [prompt])


@pytest.mark.parametrize(
    ("model", "message"), [("WrongShape", "mask of slice 13"), ("TooFew", "0 answers to 1 prompts")]
)
def test_a_strange_answer_is_the_model_s_failure(model, message):
    adapter = make(model)
    with pytest.raises(ModelFailure, match=message):
        adapter.segment(adapter.encode(ball()[0]), [clicked([9, 11, 13])])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Volumes", "needs one that takes 2D"),
        ("NoPrompts", "takes no prompts"),
        ("NoMethods", "has no encode"),
        ("SHAPE", "neither a class"),
        ("Nobody", "Nobody"),
    ],
)
def test_a_model_that_does_not_fit_is_told(model, message):
    with pytest.raises(PluginError, match=message):
        make(model)


@pytest.mark.parametrize(("follow", "handed"), [(None, "box"), ("box", "box"), ("point", "points")])
def test_what_is_handed_on_may_be_chosen(follow, handed):
    image, _ = ball()
    adapter = make(prompts="propagate", follow=follow)
    adapter.segment(adapter.encode(image), [clicked([9, 11, 13])])
    first, *others = adapter.model.asked
    assert first.points is not None
    assert others
    assert all((getattr(prompt, handed) is not None) for prompt in others)
    assert all((prompt.box is None) == (handed == "points") for prompt in others)


def test_boxes_may_be_refused_from_the_user_and_still_be_handed_on():
    image, _ = ball()
    adapter = make(prompts="propagate", boxes=False)
    assert adapter.takes.prompts == Recorder.takes.prompts - {"box", "boxes"}
    adapter.segment(adapter.encode(image), [clicked([9, 11, 13])])
    assert adapter.model.asked[0].box is None
    assert adapter.model.asked[1].box is not None


def test_a_box_cannot_be_handed_to_a_model_without_boxes():
    with pytest.raises(PluginError, match=r"follow: .* takes no box; it takes points"):
        Slicewise(f"{__name__}:Recorder", options={"boxes": False}, prompts="propagate", follow="box")


def test_it_takes_what_its_model_takes():
    assert make(options={"boxes": False}).takes == Capabilities(frozenset({"points"}), frozenset({3}))


def test_one_line_of_a_suite_builds_it():
    adapter = build_plugin(Slicewise, {"model": "region-growing", "axis": "thickest", "prompts": "propagate"})
    image, truth = ball()
    noisy = Image(image.array + np.random.default_rng(0).normal(0, 0.1, image.array.shape), image.grid)
    (answer,) = adapter.segment(adapter.encode(noisy), [Prompt("ball", box=box_of(truth))])
    assert 2 * (answer.mask & truth).sum() / (answer.mask.sum() + truth.sum()) > 0.8


def test_sam_med2d_slice_by_slice(tmp_path):
    torch = pytest.importorskip("torch")
    from medeval_models import sam_med2d

    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 1,
        "num_heads": 2,
        "global_attn_indexes": (),
    }
    torch.save({"model": sam_med2d.build(**sizes, out_chans=64).state_dict()}, tmp_path / "small.pth")
    options = {
        "model": "medeval_adapters.sam_med2d:SAMMed2D",
        "checkpoint": str(tmp_path / "small.pth"),
        "options": {"device": "cpu"},
    }
    adapter = build_plugin(Slicewise, options)
    image, truth = ball()
    encoded = adapter.encode(image)
    (first,) = adapter.segment(encoded, [clicked([9, 11, 13])])
    (second,) = adapter.segment(
        encoded, [clicked([9, 11, 13], [9, 12, 13], logits=first.logits, mask=first.mask)]
    )
    assert second.mask.shape == truth.shape


def test_a_prompt_that_touches_two_slices_gets_the_same_mask_in_any_batch():
    """Sweeps from both slices meet: which comes first is a matter of the prompt, not of what else is asked."""
    from medeval.conformance.scenes import scenes

    adapter = build_plugin(Slicewise, {"model": "region-growing", "prompts": "propagate"})
    image = scenes(3)[0].image
    prompts = [
        Prompt("x", points=np.array([at, np.add(at, 1)]), labels=np.ones(2, np.int64))
        for at in ([22, 16, 9], [20, 13, 6])
    ]
    encoded = adapter.encode(image)
    (alone,) = adapter.segment(encoded, prompts[1:])
    for batch in (prompts, prompts[::-1], [*prompts, *prompts]):
        answer = adapter.segment(encoded, batch)[batch.index(prompts[1])]
        np.testing.assert_array_equal(answer.mask, alone.mask)
