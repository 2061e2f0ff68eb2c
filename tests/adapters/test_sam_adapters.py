"""``sam`` and ``sam-med2d`` with small networks: images and prompts of every kind, devices, checkpoints that do not fit."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medeval.plugins import OptionsError, build, validate_options  # noqa: E402
from medeval.types import DataError, EvaluatorFailure, Grid, Image, PluginError, Prompt  # noqa: E402
from medeval_adapters.sam import SAM  # noqa: E402
from medeval_adapters.sam_frames import Frame, nearest  # noqa: E402
from medeval_adapters.sam_med2d import SAMMed2D  # noqa: E402
from medeval_models import sam_med2d  # noqa: E402
from medeval_models.weights import convert  # noqa: E402

SIZES = {
    "image_size": 32, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "global_attn_indexes": (1,),
    "window_size": 3, "out_chans": 16, "decoder_mlp_dim": 32, "iou_head_hidden_dim": 12,
}  # fmt: skip


def save(path, **changes):
    """A small SAM-Med2D with random weights in the official file form."""
    torch.manual_seed(0)
    model = sam_med2d.build(**{**SIZES, **changes})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save({"model": model.state_dict(), "optimizer": torch.optim.Adam(model.parameters())}, path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save(tmp_path_factory.mktemp("weights") / "small.pth")


@pytest.fixture(scope="module", params=[SAM, SAMMed2D], ids=["sam", "sam-med2d"])
def adapter(file, request):
    return request.param(checkpoint=file, device="cpu")


def picture(*shape, dtype=np.uint8, seed=0):
    """Noise of (C, row, column)."""
    drawn = np.random.default_rng(seed).integers(0, 256, shape)
    array = drawn / 255 if np.dtype(dtype).kind == "f" else drawn
    return Image(array.astype(dtype), Grid(shape[1:], (1.0, 1.0), unit="px"))


def box(r0, c0, r1, c1, **more):
    return Prompt("spleen", box=np.array([[r0, c0], [r1, c1]]), **more)


def clicks(*points, labels=None, **more):
    return Prompt("spleen", points=np.array(points), labels=np.array(labels or [1] * len(points)), **more)


# -- the protocol ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(20, 24), (32, 32), (50, 17), (100, 130), (1, 1), (1, 70), (33, 1)], ids=str
)
def test_masks_have_the_image_s_own_size(adapter, shape):
    encoded = adapter.encode(picture(3, *shape))
    prompts = [box(0, 0, *shape), clicks((0, 0)), clicks((0, 0), (shape[0] - 1, shape[1] - 1), labels=[1, 0])]
    answers = adapter.segment(encoded, prompts)
    assert [answer.mask.shape for answer in answers] == [shape] * 3
    assert all(answer.mask.dtype == bool and isinstance(answer.score, float) for answer in answers)
    assert all(answer.logits.shape == (32, 32) for answer in answers)
    assert adapter.segment(encoded, []) == []


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [(1, np.uint8), (2, np.uint8), (3, np.uint8), (4, np.uint8), (1, np.uint16), (1, np.int16), (3, np.float32), (1, bool)],
)  # fmt: skip
def test_images_of_every_kind_are_taken(adapter, channels, dtype):
    (answer,) = adapter.segment(adapter.encode(picture(channels, 40, 30, dtype=dtype)), [box(3, 4, 20, 22)])
    assert answer.mask.shape == (40, 30)


def test_float_in_0_1_and_8_bit_are_the_same_picture(adapter):
    eight = picture(3, 20, 24)
    unit = Image((eight.array / 255).astype(np.float32), eight.grid)
    torch.testing.assert_close(adapter.encode(eight).embedding, adapter.encode(unit).embedding)


def test_prompts_of_several_kinds_are_answered_in_order_as_one_by_one(adapter):
    encoded = adapter.encode(picture(3, 40, 30))
    first = adapter.segment(encoded, [clicks((9, 9))])[0]
    prompts = [
        box(3, 4, 20, 22),
        clicks((5, 5), (30, 20), labels=[1, 0]),
        box(10, 4, 20, 22),
        clicks((9, 9), (12, 3), mask=first.mask, logits=first.logits),
        clicks((1, 2)),
        Prompt("spleen", mask=first.mask),
        box(3, 4, 20, 22, points=np.array([[8, 8]]), labels=np.array([1])),
        clicks((7, 5)),
    ]
    together = adapter.segment(encoded, prompts)
    alone = [adapter.segment(encoded, [prompt])[0] for prompt in prompts]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-4)
        assert one.score == pytest.approx(other.score, rel=1e-4, abs=1e-5)


def test_batch_size_changes_nothing_but_the_number_of_calls(file, monkeypatch):
    small = SAMMed2D(checkpoint=file, device="cpu", batch_size=2)
    encoded = small.encode(picture(3, 40, 30))
    prompts = [box(3, 4, 20 + n, 22) for n in range(5)]
    sizes = []
    decode = small.network.decode
    monkeypatch.setattr(small.network, "decode", lambda *a: sizes.append(len(a[2])) or decode(*a))
    few = small.segment(encoded, prompts)
    small.batch_size = 64
    many = small.segment(encoded, prompts)
    assert sizes == [2, 2, 1, 5]
    for one, other in zip(few, many, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-4)


def test_masks_of_large_images_are_restored_a_few_at_once(adapter, monkeypatch):
    encoded = adapter.encode(picture(3, 40, 30))
    prompts = [box(3, 4, 20 + n, 22) for n in range(5)]
    expected = adapter.segment(encoded, prompts)
    monkeypatch.setattr("medeval_adapters.sam_base._PIXELS_AT_ONCE", 40 * 60)
    for one, other in zip(adapter.segment(encoded, prompts), expected, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)


def test_earlier_encodings_stay_usable(adapter):
    first, second = adapter.encode(picture(3, 40, 30)), adapter.encode(picture(3, 25, 60, seed=1))
    before = adapter.segment(first, [box(3, 4, 20, 22)])[0]
    adapter.segment(second, [box(3, 4, 20, 22)])
    np.testing.assert_array_equal(adapter.segment(first, [box(3, 4, 20, 22)])[0].mask, before.mask)


def test_probabilities_agree_with_the_mask(file):
    calibrated = SAM(checkpoint=file, device="cpu", probabilities=True)
    (answer,) = calibrated.segment(calibrated.encode(picture(3, 40, 30)), [box(3, 4, 20, 22)])
    np.testing.assert_array_equal(answer.probabilities > 0.5, answer.mask)


def test_the_mask_prompt_is_the_last_logits_or_their_sigmoid(file, monkeypatch):
    logits = np.linspace(-4, 4, 32 * 32, dtype=np.float32).reshape(32, 32)
    for cls, expected in ((SAM, logits), (SAMMed2D, 1 / (1 + np.exp(-logits)))):
        adapter = cls(checkpoint=file, device="cpu")
        seen = []
        decode = adapter.network.decode
        monkeypatch.setattr(adapter.network, "decode", lambda *a, s=seen, d=decode: s.append(a[3]) or d(*a))
        adapter.segment(adapter.encode(picture(3, 40, 30)), [clicks((3, 4), logits=logits)])
        np.testing.assert_allclose(seen[0][0, 0].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_mask_given_as_a_prompt_covers_what_it_covers(file):
    mask = np.zeros((64, 32), dtype=bool)
    mask[:32] = True
    stretched = Frame.fit(mask.shape, 32, "stretch").mask_prompt(torch.from_numpy(mask), (16, 16))
    np.testing.assert_allclose(stretched[:8], 1)
    np.testing.assert_allclose(stretched[8:], 0)
    fitted = Frame.fit(mask.shape, 32, "longest-side").mask_prompt(torch.from_numpy(mask), (16, 16))
    assert fitted[:8, :8].min() == 1
    assert fitted[8:].max() == fitted[:, 8:].max() == 0


@pytest.mark.parametrize(
    ("multimask", "expected"), [("always", [3, 3]), ("never", [1, 1]), ("ambiguous", [3, 1])]
)
def test_how_many_masks_are_chosen_from(file, multimask, expected, monkeypatch):
    adapter = SAM(checkpoint=file, device="cpu", multimask=multimask)
    encoded = adapter.encode(picture(3, 40, 30))
    counts = []
    adapter.network.mask_decoder.register_forward_hook(
        lambda module, given, out: counts.append(out[0].shape[1])
    )
    adapter.segment(encoded, [clicks((3, 4)), box(3, 4, 20, 22)])
    assert counts == expected


# -- where things lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preparation", "shape", "point", "expected"),
    [
        ("loader", (16, 20), (0, 0), (6, 8)),  # x, y: centred
        ("loader", (64, 16), (32, 8), (16, 16)),  # one side too long: stretched
        ("loader", (32, 32), (5, 7), (7, 5)),
        ("stretch", (16, 64), (8, 32), (16, 16)),
        ("longest-side", (64, 16), (32, 8), (4, 16)),
        ("longest-side", (16, 16), (8, 4), (8, 16)),
    ],
)
def test_points_follow_the_picture(preparation, shape, point, expected):
    frame = Frame.fit(shape, 32, preparation)
    assert frame.points(np.array([point])).tolist() == [list(expected)]


@pytest.mark.parametrize("preparation", ["loader", "stretch", "longest-side"])
@pytest.mark.parametrize("shape", [(20, 24), (64, 96), (97, 31)])
def test_logits_come_back_to_where_they_were(preparation, shape):
    frame = Frame.fit(shape, 32, preparation)
    inside = np.full((*shape, 3), 255, dtype=np.uint8)
    placed = frame.place(torch.from_numpy(frame.resize(inside)[..., 0].astype(np.float32)))
    restored = frame.restore(placed[None, None])
    assert restored.shape == (1, *shape)
    assert (restored[0, 2:-2, 2:-2] > 127).all()


@pytest.mark.parametrize(("source", "target"), [(1, 5), (5, 1), (7, 7), (50, 256), (300, 256), (513, 256)])
def test_nearest_takes_pixels_that_are_there(source, target):
    at = nearest(source, target)
    assert len(at) == target
    assert at.min() >= 0
    assert at.max() < source
    assert (np.diff(at) >= 0).all()


def test_channels_are_seen_in_the_order_of_the_released_weights(file):
    red = np.zeros((3, 32, 32), dtype=np.uint8)
    red[0] = 255
    image = Image(red, Grid((32, 32), (1.0, 1.0)))
    for order, channel in (("rgb", 0), ("bgr", 2)):
        adapter = SAMMed2D(checkpoint=file, device="cpu", channel_order=order)
        seen = []
        adapter._encoder = lambda square, s=seen: s.append(square) or torch.zeros(1, 16, 8, 8)
        adapter.encode(image)
        assert seen[0][0].mean(dim=(1, 2)).argmax() == channel


# -- prompts that cannot be meant ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt("spleen"), "without a point, a box or a mask"),
        (Prompt("spleen", points=np.empty((0, 2)), labels=np.empty(0)), "without a point, a box or a mask"),
        (box(50, 2, 60, 9), r"lies outside the image of \(40, 30\)"),
        (box(-9, 2, 0, 9), "lies outside the image"),
        (box(20, 4, 3, 22), "is inverted"),
        (box(3, 4, 3, 22), "has no area"),
        (Prompt("spleen", box=np.array([3, 4, 20, 22])), "shape"),
        (clicks((40, 3)), r"point \[40.0, 3.0\] \(row, column\) lies outside"),
        (clicks((-1, 3)), "lies outside"),
        (clicks((3, 4), labels=[1, 0]), "1 points with 2 labels"),
        (Prompt("spleen", mask=np.zeros((30, 40), bool)), r"mask prompt of shape \(30, 40\)"),
        (clicks((3, 4), logits=np.zeros((64, 64))), r"logits of shape \(64, 64\); \(32, 32\)"),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_not_the_model_s_failure(adapter, prompt, message):
    encoded = adapter.encode(picture(3, 40, 30))
    with pytest.raises(EvaluatorFailure, match=message):
        adapter.segment(encoded, [box(3, 4, 20, 22), prompt])


def test_a_jittered_box_may_stick_out(adapter):
    encoded = adapter.encode(picture(3, 40, 30))
    assert adapter.segment(encoded, [box(-4, 20, 10, 35)])[0].mask.shape == (40, 30)


def test_a_mask_all_zero_is_a_prompt(adapter):
    encoded = adapter.encode(picture(3, 40, 30))
    assert adapter.segment(encoded, [Prompt("spleen", mask=np.zeros((40, 30), bool))])[0].mask.shape == (
        40,
        30,
    )


def test_volumes_are_refused(adapter):
    assert adapter.takes.dimensions == {2}
    with pytest.raises(DataError, match="3D image"):
        adapter.encode(Image(np.zeros((1, 4, 4, 4), np.uint8), Grid((4, 4, 4), (1.0, 1.0, 1.0))))


# -- building --------------------------------------------------------------------------------------------------------


def test_a_converted_checkpoint_is_the_same_model(file, tmp_path):
    convert(file, tmp_path / "small.safetensors")
    one, other = (SAMMed2D(checkpoint=path, device="cpu") for path in (file, tmp_path / "small.safetensors"))
    image = picture(3, 40, 30)
    assert torch.equal(one.encode(image).embedding, other.encode(image).embedding)


def test_dropping_the_adapter_layers_changes_the_answer(file):
    image = picture(3, 40, 30)
    whole, without = (SAMMed2D(checkpoint=file, device="cpu", encoder_adapter=use) for use in (None, False))
    assert not torch.allclose(whole.encode(image).embedding, without.encode(image).embedding)
    assert not any("Adapter" in name for name in without.network.state_dict())


def test_another_image_size_resizes_the_positions(file):
    large = SAM(checkpoint=file, device="cpu", image_size=64)
    assert large.segment(large.encode(picture(3, 40, 30)), [box(3, 4, 20, 22)])[0].logits.shape == (64, 64)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "no such file"),
        (b"", {}, "is empty"),
        (
            {"conv.weight": [3, 3]},
            {},
            "is not SAM's or SAM-Med2D's: no usable 'image_encoder.patch_embed.proj.weight'",
        ),
        ("unnecked", {}, "1 missing .*neck.0.weight"),
        ("plain", {"encoder_adapter": True}, "no adapter layers"),
        ("plain", {"image_size": 30}, "no multiple of patch_size 4"),
        ("plain", {"decoder_num_heads": 5}, "decoder_num_heads 5 must divide"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_told(tmp_path, content, options, message):
    path = tmp_path / "a.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        torch.save({name: torch.zeros(shape) for name, shape in content.items()}, path)
    elif content is not None:
        state = sam_med2d.build(**SIZES, encoder_adapter=False).state_dict()
        torch.save({name: t for name, t in state.items() if content == "plain" or "neck.0" not in name}, path)
    with pytest.raises(PluginError, match=message):
        SAM(checkpoint=path, device="cpu", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_that_is_not_there_is_told_before_the_weights_are_read(device, tmp_path):
    with pytest.raises(
        PluginError, match=f"device: '{device}' was asked for, but PyTorch sees none.*device: auto"
    ):
        SAMMed2D(checkpoint=tmp_path / "none.pth", device=device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "expected auto, cpu, cuda or cuda:N"),
        ({"precision": "fp8"}, "expected one of 'auto', 'fp32', 'bf16' or 'fp16'"),
        ({"batch_size": 0}, "batch_size"),
        ({"chekpoint": "a"}, "did you mean 'checkpoint'"),
    ],
)
def test_options_are_checked_without_reading_the_checkpoint(options, message):
    with pytest.raises(OptionsError, match=message):
        validate_options(SAMMed2D, {"checkpoint": "none.pth", **options})


def test_options_of_a_suite_build_it(file):
    built = build(SAMMed2D, {"checkpoint": str(file), "device": "cpu", "window": [0, 100], "channels": [0]})
    assert built.window == (0, 100)
    assert built.preparation == "loader"


def test_bf16_on_a_cpu_stays_near_float32_and_fp16_is_refused(file):
    image = picture(3, 40, 30)
    plain, half = (SAM(checkpoint=file, device="cpu", precision=p) for p in ("auto", "bf16"))
    expected, found = plain.encode(image).embedding, half.encode(image).embedding
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()
    with pytest.raises(PluginError, match="fp16 is for GPUs"):
        SAM(checkpoint=file, device="cpu", precision="fp16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_answers_as_the_cpu(file, precision):
    image, prompts = picture(3, 40, 30), [box(3, 4, 20, 22), clicks((3, 4))]
    cpu, gpu = SAM(checkpoint=file, device="cpu"), SAM(checkpoint=file, device="cuda:0", precision=precision)
    expected, found = (model.segment(model.encode(image), prompts) for model in (cpu, gpu))
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.logits - other.logits).max() < 0.1 * np.abs(other.logits).max()


def test_the_modules_load_no_torch():
    code = (
        "import sys, medeval_adapters.sam, medeval_adapters.sam_med2d, medeval_adapters.sam_predictor;"
        "print([m for m in ('torch', 'safetensors', 'scipy', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
