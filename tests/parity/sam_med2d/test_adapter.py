"""The adapter ``sam-med2d`` against the official evaluation script, predictor and checkpoint fallback."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medeval.types import Grid, Image, Prompt  # noqa: E402
from medeval_adapters.sam_frames import Frame  # noqa: E402
from medeval_adapters.sam_med2d import SAMMed2D  # noqa: E402
from medeval_models.sam_med2d import UPSTREAM_FRESH, build, load_checkpoint, resize_positions  # noqa: E402
from tests.parity.sam_med2d.cases import arrays, assert_close, checkpoint, sizes, table, weights  # noqa: E402

SIDE = 64


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return checkpoint("adapter", tmp_path_factory.mktemp("weights"))


def make(file, **options):
    return SAMMed2D(checkpoint=file, device="cpu", decoder_num_heads=4, **options)


def picture(array):
    """(row, column, 3) RGB as a case's image."""
    return Image(np.moveaxis(array, -1, 0), Grid(array.shape[:2], (1.0, 1.0), unit="px"))


@pytest.mark.parametrize("name", ["41x50", "50x80", "97x70"])
def test_preparation_and_restoration_of_the_evaluation_script(file, name):
    case = arrays("transforms")
    adapter = make(file)
    seen = []
    adapter._encoder = lambda square: seen.append(square) or torch.zeros(1, 16, 8, 8)
    bgr = case[f"{name}_image_bgr_uint8"]
    encoded = adapter.encode(picture(bgr[..., ::-1]))
    assert_close(seen[0][0], case[f"{name}_out_image"])
    restored = encoded.frame.restore(torch.from_numpy(case[f"{name}_low_res"]))
    assert_close(restored[:, None], case[f"{name}_postprocessed"])
    top_left = tuple(case[f"{name}_pad_top_left"])
    assert encoded.frame.start == (top_left if top_left != (-1, -1) else (0, 0))


@pytest.mark.parametrize("name", ["41x50", "50x80", "97x70"])
def test_masks_go_through_the_same_transform_as_images(name):
    case = arrays("transforms")
    mask = case[f"{name}_mask"]
    frame = Frame.fit(mask.shape, SIDE, "loader")
    moved = frame.place(torch.from_numpy(frame.resize(np.repeat(mask[..., None], 3, axis=-1))[..., 0].copy()))
    np.testing.assert_array_equal(moved.numpy() > 0, case[f"{name}_out_mask"] > 0)


def test_the_predictor_of_the_official_code(file):
    case = arrays("predictor")
    adapter = make(file, preparation="stretch", channel_order="rgb", probabilities=True)
    encoded = adapter.encode(picture(case["image_uint8"]))
    assert_close(encoded.embedding, case["features"])
    x0, y0, x1, y1 = case["box"].tolist()
    points = Prompt("", points=case["point_coords"][:, ::-1], labels=case["point_labels"])
    box = Prompt("", box=np.array([[y0, x0], [y1, x1]]))
    first, boxed = adapter.segment(encoded, [points, box])
    assert_close(first.logits[None], case["points_low_res"])
    assert first.score == pytest.approx(float(case["points_iou"][0]), rel=1e-4)
    assert np.mean(first.mask != case["points_masks"][0]) < 1e-3
    assert_close(boxed.logits[None], case["box_logits_low_res"])
    assert_close(
        np.log(boxed.probabilities / (1 - boxed.probabilities))[None], case["box_logits_masks"], 1e-3
    )

    single = make(file, preparation="stretch", channel_order="rgb", multimask="never")
    again = Prompt("", points=points.points, labels=points.labels, logits=first.logits)
    (second,) = single.segment(encoded, [again])
    assert_close(second.logits[None], case["points_mask_single_logits_low_res"])


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("setting", ["box", "pt1", "pt3", "pt5"])
def test_the_evaluation_script_s_whole_loop_with_its_prompts_replayed(file, index, setting, monkeypatch):
    # The script also clicks into the padding around a small image; no point of the image is there.
    monkeypatch.setattr("medeval_adapters.sam_prompts.check", lambda prompt, shape: None)
    case = arrays("protocol")
    adapter = make(file)
    encoded = adapter.encode(picture(case[f"{index}_image"][..., ::-1]))
    frame = encoded.frame
    if setting == "box":
        x0, y0, x1, y1 = case[f"{index}_box_box"][0]
        (answer,) = adapter.segment(encoded, [Prompt("", box=to_image(frame, [[y0, x0], [y1, x1]]))])
    else:
        clicks = to_image(frame, case[f"{index}_{setting}_coords"][0][:, ::-1])
        labels = case[f"{index}_{setting}_labels"][0]
        answer = None
        for count in range(1, len(clicks) + 1):
            logits = None if answer is None else answer.logits
            (answer,) = adapter.segment(
                encoded, [Prompt("", points=clicks[:count], labels=labels[:count], logits=logits)]
            )
    assert_close(answer.logits[None, None], case[f"{index}_{setting}_low_res"])
    assert answer.score == pytest.approx(float(case[f"{index}_{setting}_pred_iou"][0, 0]), rel=1e-4)
    truth = case[f"{index}_mask"] > 0
    both = np.count_nonzero(answer.mask & truth)
    iou, dice = case[f"{index}_{setting}_iou_dice"]
    assert both / np.count_nonzero(answer.mask | truth) == pytest.approx(iou, abs=5e-3)
    assert 2 * both / (answer.mask.sum() + truth.sum()) == pytest.approx(dice, abs=5e-3)


def to_image(frame, points):
    """Row, column of the square as row, column of the image (not whole numbers where it was stretched)."""
    return (np.asarray(points, dtype=np.float64) - frame.start) * frame.original / frame.inner


def test_positions_are_resized_as_the_official_fallback_does():
    case = arrays("load_resize")
    resized = [name.removeprefix("dst/") for name in case if name.startswith("dst/")]
    status = table("case_load_resize_status")
    small = {
        **sizes("adapter"),
        "image_size": 32 if case["dst/image_encoder.pos_embed"].shape[1] == 4 else 64,
    }
    small |= {"depth": 6, "global_attn_indexes": (2, 5)}
    target = build(**small)
    source = build(**{**small, "image_size": 2 * small["image_size"], "encoder_adapter": False})
    state = weights({name: tuple(values.shape) for name, values in source.state_dict().items()})
    state |= {name: torch.from_numpy(case[f"src/{name}"]) for name in resized}

    moved = resize_positions(target, state)
    assert sorted(name for name in state if moved[name] is not state[name]) == sorted(resized)
    for name in resized:
        assert_close(moved[name], case[f"dst/{name}"])

    before = {name: values.clone() for name, values in target.state_dict().items()}
    report = load_checkpoint(target, state, fresh=(*UPSTREAM_FRESH, ".Adapter."))
    after = target.state_dict()
    kept = {name for name in after if status[name] == "kept_from_model"}
    assert set(report.fresh) == kept
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert all(torch.equal(after[name], moved[name]) for name in after if name not in kept)
