"""The adapter ``sam-med3d``: patches, rounds, batches, and whatever users' volumes are like."""

import json
import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from medeval.plugins import build as build_plugin  # noqa: E402
from medeval.types import DataError, EvaluatorFailure, Grid, Image, PluginError, Prompt, UserError  # noqa: E402
from medeval_adapters.sam_med3d import SAMMed3D  # noqa: E402
from medeval_adapters.sam_med3d_field import Field  # noqa: E402
from medeval_adapters.sam_med3d_plan import Tiles  # noqa: E402
from medeval_models import sam_med2d, sam_med3d  # noqa: E402

SMALL = {
    "image_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4, "global_attn_indexes": (1,),
    "window_size": 3, "prompt_embed_dim": 48, "iou_head_hidden_dim": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random weights as the official training script saves them, argparse's namespace and all."""
    import argparse

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    state = {name: 1.5 * value for name, value in sam_med3d.build(**SMALL).state_dict().items()}
    beside = {"epoch": 3, "args": argparse.Namespace(lr=1e-4), "losses": [0.5], "best_dice": 0.9}
    torch.save({"model_state_dict": state, **beside}, path)
    return path


@pytest.fixture(scope="module")
def make(checkpoint):
    def made(**options):
        adapter = SAMMed3D(checkpoint=checkpoint, device="cpu", **options)
        adapter.encoded = count_encodings(adapter)
        return adapter

    return made


def count_encodings(adapter):
    """How many patches went through the image encoder, as a list of one number a call."""
    counts = []
    adapter.network.image_encoder.register_forward_hook(
        lambda module, inputs, output: counts.append(len(inputs[0]))
    )
    return counts


def volume(shape=(40, 40, 40), spacing=(1.5, 1.5, 1.5), dtype=np.float32, seed=0, **grid):
    array = np.random.default_rng(seed).normal(100, 60, (1, *shape))
    array = array > 100 if dtype is bool else array.astype(dtype)
    return Image(array, Grid(shape, spacing, **grid))


def clicked(*points, labels=None, **more):
    points = np.array(points, dtype=np.int64).reshape(-1, 3)
    return Prompt("x", points=points, labels=np.array(labels or [1] * len(points)), **more)


def ask(adapter, image, *prompts):
    return adapter.segment(adapter.encode(image), list(prompts))


# -- rounds and batches -----------------------------------------------------------------------------------------------


def test_a_patch_is_encoded_once_while_it_does_not_move(make):
    adapter = make()
    encoded = adapter.encode(volume())
    points = [[20, 20, 20], [18, 25, 22], [30, 12, 9]]
    answer = None
    for count in range(1, 4):
        prompt = clicked(*points[:count], logits=answer and answer.logits)
        (answer,) = adapter.segment(encoded, [prompt])
    assert adapter.encoded == [1]
    assert answer.mask.shape == (40, 40, 40)
    assert answer.mask.dtype == bool
    assert answer.score is None


def test_previous_logits_change_the_answer(make):
    adapter = make()
    image = volume()
    (first,) = ask(adapter, image, clicked([20, 20, 20]))
    again, without = ask(adapter, image, clicked([20, 20, 20], logits=first.logits), clicked([20, 20, 20]))
    assert not np.array_equal(again.logits["logits"], without.logits["logits"])
    np.testing.assert_allclose(without.logits["logits"], first.logits["logits"], atol=1e-4)


@pytest.mark.parametrize("patch", ["clicks", "tiled"])
def test_a_batch_answers_as_prompts_one_by_one(make, patch):
    adapter = make(patch=patch, batch_size=3)
    image = volume()
    prompts = [
        clicked([20, 20, 20]),
        clicked([5, 5, 5]),
        clicked([20, 20, 20], [8, 9, 30], labels=[1, 0]),
        clicked([39, 0, 39]),
    ]
    together = ask(adapter, image, *prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = ask(adapter, image, prompt)
        assert (alone.mask == answer.mask).mean() > 0.999
        assert alone.logits["begin"].tolist() == answer.logits["begin"].tolist()
        np.testing.assert_allclose(alone.logits["logits"], answer.logits["logits"], atol=1e-3)
    assert adapter.segment(adapter.encode(image), []) == []


def test_structures_with_the_same_patch_share_its_embedding(make):
    adapter = make(patch="tiled")
    image = volume((32, 30, 20))
    ask(adapter, image, *(clicked([10 + n, 12, 9]) for n in range(8)))
    assert adapter.encoded == [1]


def test_a_session_resumes_from_what_was_written_down(make):
    adapter = make()
    image = volume()
    (first,) = ask(adapter, image, clicked([20, 20, 20]))
    written = json.loads(json.dumps({key: value.tolist() for key, value in first.logits.items()}))
    points = clicked([20, 20, 20], [25, 25, 25], logits=first.logits)
    resumed = clicked([20, 20, 20], [25, 25, 25], logits=written)
    one, other = ask(adapter, image, points, resumed)
    np.testing.assert_array_equal(one.mask, other.mask)


def test_only_the_newest_click_is_shown_where_asked(make):
    image = volume()
    two = clicked([20, 20, 20], [25, 22, 18])
    (newest,) = ask(make(clicks="newest"), image, two)
    (both,) = ask(make(), image, two)
    assert not np.array_equal(newest.logits["logits"], both.logits["logits"])


# -- where the network looks ------------------------------------------------------------------------------------------


def test_a_click_outside_the_patch_moves_it_and_keeps_the_rest_of_the_mask(make):
    adapter = make()
    image = volume((120, 40, 40))
    encoded = adapter.encode(image)
    (first,) = adapter.segment(encoded, [clicked([16, 20, 20])])
    (second,) = adapter.segment(encoded, [clicked([16, 20, 20], [100, 20, 20], logits=first.logits)])
    assert len(adapter.encoded) == 2
    assert len(second.logits["begin"]) == 2
    np.testing.assert_array_equal(second.mask[:30], first.mask[:30])
    assert not first.mask[40:].any()
    moved = second.logits["begin"][1] - second.logits["begin"][0]
    assert (moved % 2 == 0).all()  # on the cells of the first patch


def test_clicks_that_fit_into_one_patch_together_are_seen_together(make):
    (answer,) = ask(make(), volume((120, 40, 40)), clicked([50, 20, 20], [70, 20, 20]))
    (begin,) = answer.logits["begin"]
    assert begin[0] <= 50
    assert begin[0] + 32 > 70


def test_the_target_s_box_is_where_the_patch_lies_and_clicks_are_what_is_asked(make):
    adapter = make(patch="target")
    assert "box" in adapter.takes.prompts
    assert "box" not in make().takes.prompts
    box = np.array([[30, 10, 12], [50, 30, 33]])
    given = clicked([31, 11, 13], box=box)
    answer, alone = ask(adapter, volume((80, 40, 40)), given, Prompt("x", box=box))
    assert answer.logits["begin"].tolist() == [[24, 4, 6]] == alone.logits["begin"].tolist()
    with pytest.raises(EvaluatorFailure, match=r"box \+ N clicks"):
        ask(adapter, volume(), clicked([3, 3, 3]))


def test_tiles_cover_the_volume_and_fall_on_cells():
    for shape in [(20, 32, 33), (100, 64, 65), (48, 47, 31)]:
        tiles = Tiles(shape, 32, 2)
        seen = np.zeros(shape, dtype=int)
        begins = list(tiles)
        for begin in begins:
            seen[tuple(slice(max(0, b), b + 32) for b in begin)] += 1
        assert (seen > 0).all()
        assert ((np.array(begins) - begins[0]) % 2 == 0).all()


def test_a_mask_that_reaches_a_face_is_followed_into_the_next_tile(make, monkeypatch):
    adapter = make(patch="tiled")
    image = volume((96, 20, 20))
    asked = []

    def bar(embedding, points, masks):  # everything along the first axis
        asked.append(None if points is None else points[0].shape[1])
        logits = torch.full((len(masks), 1, 16, 16, 16), -1.0)
        logits[..., 5:11, 5:11] = 1.0
        return sam_med3d.sam.Decoded(logits, torch.zeros(len(masks), 1))

    monkeypatch.setattr(adapter.network, "decode", bar)
    (answer,) = ask(adapter, image, clicked([3, 10, 10]))
    assert answer.mask[:, 10, 10].all()
    assert not answer.mask[:, 0, 0].any()
    assert sorted(answer.logits["begin"][:, 0].tolist()) == [0, 16, 32, 48, 64]
    assert asked[0] == 1
    assert asked[-1] is None  # a tile without a click is asked by its mask prompt alone


def test_where_patches_overlap_the_nearer_centre_speaks():
    field = Field(8, 4)
    field.put((0, 0, 0), np.full((4, 4, 4), 1.0, np.float32))
    field.put((4, 0, 0), np.full((4, 4, 4), -1.0, np.float32))
    field.put((8, 0, 0), np.full((4, 4, 4), 2.0, np.float32))
    made = field.prompt((2, 0, 0))
    assert made[:, 0, 0].tolist() == [1.0, -1.0, -1.0, 2.0] or made[:, 1, 1].tolist() == [
        1.0,
        1.0,
        -1.0,
        -1.0,
    ]
    assert Field(8, 4).prompt((0, 0, 0)).tolist() == np.zeros((4, 4, 4)).tolist()


def test_a_mask_alone_is_a_prompt(make):
    mask = np.zeros((40, 40, 40), dtype=bool)
    mask[10:20, 12:25, 15:22] = True
    (answer,) = ask(make(), volume(), Prompt("x", mask=mask))
    assert answer.logits["begin"].tolist() == [[-1, 2, 2]]


# -- volumes as users have them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", ["clicks", "tiled"])
@pytest.mark.parametrize("restore", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((60, 64, 9), (0.7, 0.7, 5.0)),  # anisotropic, thick slices
        ((20, 20, 5), (1.0, 1.0, 1.0)),  # tiny
        ((20, 20, 1), (1.0, 1.0, 5.0)),  # a single slice in a volume's file
        ((1, 1, 1), (1.5, 1.5, 1.5)),
        ((90, 20, 20), (1.5, 2.0, 0.4)),
    ],
)
def test_volumes_of_any_size_and_spacing(make, shape, spacing, patch, restore):
    image = volume(shape, spacing)
    if shape == (1, 1, 1):
        with pytest.raises(DataError, match="cannot be normalised"):
            ask(make(patch=patch), image, clicked([0, 0, 0]))
        return
    ends = [n - 1 for n in shape]
    for answer in ask(make(patch=patch, restore=restore), image, clicked([0, 0, 0]), clicked(ends)):
        assert answer.mask.shape == shape


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float64, bool])
def test_intensities_of_any_type(make, dtype):
    image = volume(dtype=dtype)
    if dtype is bool:
        with pytest.raises(DataError, match="no differing voxels above 0"):
            ask(make(), image, clicked([20, 20, 20]))
        return
    (answer,) = ask(make(), image, clicked([20, 20, 20]))
    assert answer.mask.shape == (40, 40, 40)


def test_padding_of_minus_1024_takes_no_part_in_the_normalisation(make):
    plain = volume(dtype=np.int16)
    array = plain.array.copy()
    array[:, 30:] = -1024
    shown = make().encode(Image(array, plain.grid)).patch((4, 4, 4))
    positive = array[0, 4:36, 4:36, 4:36][array[0, 4:36, 4:36, 4:36] > 0].astype(float)
    wanted = (-1024 - positive.mean()) / positive.std(ddof=1)
    assert shown[-1, 0, 0] == pytest.approx(wanted, rel=1e-5)


def test_a_click_where_nothing_lies_above_zero_is_told(make):
    image = volume()
    with pytest.raises(DataError, match="shift intensities"):
        ask(make(), Image(np.full_like(image.array, -1024), image.grid), clicked([20, 20, 20]))


def test_numbers_that_are_none_count_as_padding(make):
    image = volume()
    image.array[0, 10:12] = np.nan
    image.array[0, 13] = np.inf
    (answer,) = ask(make(), image, clicked([20, 20, 20]))
    assert np.isfinite(answer.logits["logits"]).all()


def test_an_oblique_volume_stays_oblique(make):
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [12, -9, 15], degrees=True).as_matrix() * 1.5
    image = volume(affine=affine)
    plain = volume()
    (one,), (other,) = (ask(make(), each, clicked([20, 20, 20])) for each in (image, plain))
    np.testing.assert_array_equal(one.mask, other.mask)


def test_the_face_that_the_file_stores_first_is_where_resampling_starts(make):
    shape, spacing = (41, 40, 40), (1.3, 1.5, 1.5)
    stored = np.array([[0.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    there = make().encode(volume(shape, spacing, source_orientation=stored)).grid
    plain = make().encode(volume(shape, spacing)).grid
    assert not np.allclose(there.points(np.array([[3, 3, 3]])), plain.points(np.array([[3, 3, 3]])))


def test_a_structure_wider_than_the_patch_is_cut_in_one_patch_and_whole_in_tiles(make, monkeypatch):
    def full(embedding, points, masks):
        return sam_med3d.sam.Decoded(torch.ones(len(masks), 1, 16, 16, 16), None)

    image = volume((96, 20, 20))
    answers = {}
    for patch in ("clicks", "tiled"):
        adapter = make(patch=patch)
        monkeypatch.setattr(adapter.network, "decode", full)
        (answers[patch],) = ask(adapter, image, clicked([48, 10, 10]))
    assert answers["tiled"].mask.all()
    assert answers["clicks"].mask.any(axis=(1, 2)).sum() == 32


def test_two_thousand_slices_cost_no_more_memory_than_few(make):
    def peak(slices):
        adapter = make()
        shape = (96, 96, slices)
        array = np.broadcast_to(
            np.random.default_rng(0).normal(100, 9, (1, 96, 96, 1)).astype(np.float32), (1, *shape)
        )
        encoded = adapter.encode(Image(array, Grid(shape, (1.0, 1.0, 1.0))))
        tracemalloc.start()
        (answer,) = adapter.segment(encoded, [clicked([48, 48, slices // 2])])
        found = tracemalloc.get_traced_memory()[1] - answer.mask.nbytes
        tracemalloc.stop()
        return found

    peak(60)  # imports
    assert peak(2000) <= 1.2 * peak(60)


# -- what cannot be meant -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image(np.zeros((1, 40, 40)), Grid((40, 40), (1.0, 1.0))), "2D image came to SAM-Med3D.*sam-med2d"),
        (Image(np.zeros((3, 9, 9, 9)), Grid((9, 9, 9), (1.0,) * 3)), "3 channels.*say which"),
        (volume(unit="px"), "no spacing in mm"),
        (volume(spacing=(0.0007, 0.0007, 0.005)), "is it in mm"),
        (volume(spacing=(700.0, 700.0, 5000.0)), "is it in mm"),
        (volume(affine=np.diag([1.0, 1.0, 1.0, 1.0])), "contradicts the affine"),
        (volume(affine=np.diag([-1.5, 1.5, 1.5, 1.0])), "L, A, S; R, A, S is expected"),
        (Image(np.zeros((1, 9, 9, 8)), Grid((9, 9, 9), (1.0,) * 3)), r"\(channels, R, A, S\) is expected"),
        (volume(dtype=np.complex64), "numbers are expected"),
    ],
    ids=["2D", "channels", "pixels", "metres", "micrometres", "spacing", "orientation", "shape", "complex"],
)
def test_a_volume_that_cannot_be_meant_is_told(make, image, message):
    with pytest.raises(DataError, match=message):
        make().encode(image)


def test_a_channel_may_be_chosen(make):
    array = np.random.default_rng(0).normal(100, 60, (4, 40, 40, 40))
    image = Image(array, Grid((40, 40, 40), (1.5, 1.5, 1.5)))
    assert make(channel=2).encode(image).values is not None
    with pytest.raises(DataError, match="channel 7 was asked for"):
        make(channel=7).encode(image)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (clicked([40, 20, 20]), r"click .* lies outside the volume of \(40, 40, 40\)"),
        (clicked([20, -1, 20]), "lies outside"),
        (Prompt("x"), "without a click"),
        (Prompt("x", points=np.zeros((2, 3), int), labels=np.ones(1, int)), "2 points with 1 labels"),
        (Prompt("x", mask=np.zeros((40, 40, 40), bool)), "empty mask"),
        (Prompt("x", mask=np.ones((4, 40, 40), bool)), "mask prompt of shape"),
        (clicked([2, 2, 2], logits=np.zeros((16, 16, 16))), "did not return"),
        (
            clicked([2, 2, 2], logits={"begin": np.zeros((1, 3)), "logits": np.zeros((1, 8, 8, 8))}),
            "came from this model",
        ),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_told(make, prompt, message):
    with pytest.raises(EvaluatorFailure, match=message):
        ask(make(), volume(), prompt)


@pytest.mark.parametrize("box", [[[5, 5, 5], [5, 9, 9]], [[50, 5, 5], [60, 9, 9]], [[5, 5], [9, 9]]])
def test_a_box_that_cannot_be_meant_is_told(make, box):
    with pytest.raises(EvaluatorFailure, match="box"):
        ask(make(patch="target"), volume(), Prompt("x", box=np.array(box)))


# -- checkpoints and options --------------------------------------------------------------------------------------------


def test_weights_of_a_2d_model_are_told(tmp_path):
    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 1,
        "num_heads": 2,
        "global_attn_indexes": (),
    }
    torch.save(sam_med2d.build(**sizes, out_chans=16).state_dict(), tmp_path / "sam.pth")
    with pytest.raises(PluginError, match=r"sam\.pth.*2D model.*sam-med2d"):
        SAMMed3D(checkpoint=tmp_path / "sam.pth", device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("mask_decoder.iou_token.weight"),
            "1 missing .mask_decoder.iou_token.weight",
        ),
        (
            lambda state: state.update({"prompt_encoder.point_embeddings.2.weight": torch.zeros(1, 48)}),
            "1 unexpected",
        ),
        (
            lambda state: state.update({"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 9)}),
            "of another shape",
        ),
        (lambda state: state.pop("image_encoder.pos_embed"), "is not SAM-Med3D's"),
    ],
)
def test_weights_that_do_not_fit_are_named(checkpoint, tmp_path, change, message):
    state = torch.load(checkpoint, weights_only=False)["model_state_dict"]
    change(state)
    torch.save({"model_state_dict": state}, tmp_path / "changed.pth")
    with pytest.raises(PluginError, match=rf"changed\.pth.*{message}"):
        SAMMed3D(checkpoint=tmp_path / "changed.pth", device="cpu")


def test_a_bare_state_dict_and_safetensors_load_too(checkpoint, tmp_path, make):
    from medeval_models.weights import convert

    state = convert(checkpoint, tmp_path / "small.safetensors")
    torch.save(state, tmp_path / "bare.pth")
    image = volume()
    (wanted,) = ask(make(), image, clicked([20, 20, 20]))
    for name in ("small.safetensors", "bare.pth"):
        (found,) = ask(SAMMed3D(checkpoint=tmp_path / name, device="cpu"), image, clicked([20, 20, 20]))
        np.testing.assert_array_equal(found.mask, wanted.mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": "target-crop"}, "patch"),
        ({"batch_size": 0}, "batch_size"),
        ({"devise": "cpu"}, "device"),
        ({"device": "gpu"}, "device"),
        ({"restore": "cubic"}, "restore"),
    ],
)
def test_options_are_checked(checkpoint, options, message):
    with pytest.raises(UserError, match=message):
        build_plugin(SAMMed3D, {"checkpoint": str(checkpoint), **options})


def test_options_of_a_suite_build_it(checkpoint):
    adapter = build_plugin(
        SAMMed3D, {"checkpoint": str(checkpoint), "device": "cpu", "patch": "tiled", "precision": "bf16"}
    )
    (answer,) = ask(adapter, volume(), clicked([20, 20, 20]))
    assert answer.mask.shape == (40, 40, 40)
