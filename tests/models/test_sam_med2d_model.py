"""The reference model beyond the fixtures: other sizes, other inputs, slow formulations, what it refuses."""

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

from medeval_models.sam_med2d import build, load_checkpoint, sizes_of  # noqa: E402
from medeval_models.sam_med2d.attention import Attention  # noqa: E402
from medeval_models.sam_med2d.image_encoder import (  # noqa: E402
    Block,
    attend_in_windows,
    join_windows,
    split_windows,
)
from medeval_models.weights import WeightsError  # noqa: E402

TINY = {
    "image_size": 40, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "global_attn_indexes": (2,),
    "window_size": 4, "out_chans": 16, "decoder_num_heads": 2, "decoder_mlp_dim": 32, "iou_head_hidden_dim": 12,
}  # fmt: skip


def randomised(module, seed=0):
    """Every parameter drawn anew, relative positions and position embeddings too (they begin at zero)."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slow_attention(layer, x):
    """The definition, one score at a time: q.k / sqrt(d) + q.Rh[i - k] + q.Rw[j - l]."""
    height, width, channels = x.shape
    d = channels // layer.num_heads
    out = torch.zeros(height, width, channels)
    q, k, v = (part.reshape(height, width, layer.num_heads, d) for part in layer.qkv(x).chunk(3, dim=-1))
    places = list(itertools.product(range(height), range(width)))
    for head, (i, j) in itertools.product(range(layer.num_heads), places):
        query = q[i, j, head]
        scores = torch.stack([
            query @ k[m, n, head] / math.sqrt(d)
            + query @ layer.rel_pos_h[i - m + height - 1]
            + query @ layer.rel_pos_w[j - n + width - 1]
            for m, n in places
        ])  # fmt: skip
        weights = scores.softmax(dim=0)
        values = torch.stack([v[m, n, head] for m, n in places])
        out[i, j, head * d : (head + 1) * d] = weights @ values
    return layer.proj(out)


@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (1, 6), (1, 1)])
@torch.inference_mode()
def test_attention_is_its_definition(grid):
    layer = randomised(Attention(12, 3, grid))
    x = drawn(2, *grid, 12)
    expected = torch.stack([slow_attention(layer, one) for one in x])
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_windows_attend_to_the_zeros_that_fill_them():
    block = randomised(Block(Attention(8, 2, (3, 3)), attend_in_windows, dim=8, mlp_ratio=2, window_size=3))
    x = drawn(1, 5, 5, 8)
    padded = torch.zeros(6, 6, 8)
    padded[:5, :5] = block.norm1(x)[0]
    attended = torch.zeros(6, 6, 8)
    for top, left in itertools.product((0, 3), (0, 3)):
        window = slice(top, top + 3), slice(left, left + 3)
        attended[window] = slow_attention(block.attn, padded[window])
    h = x + attended[:5, :5]
    torch.testing.assert_close(block(x), h + block.mlp(block.norm2(h)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "size"), [((6, 6), 3), ((7, 5), 4), ((2, 3), 5), ((1, 1), 1)])
def test_windows_are_joined_as_they_were_split(shape, size):
    x = drawn(2, *shape, 3)
    windows = split_windows(x, size)
    assert windows.shape == (2 * -(-shape[0] // size) * -(-shape[1] // size), size, size, 3)
    assert torch.equal(join_windows(windows, size, shape), x)


@torch.inference_mode()
def test_a_table_of_another_length_is_resampled():
    layer = randomised(Attention(8, 2, (7, 7)))
    other = randomised(Attention(8, 2, (4, 4)))
    other.load_state_dict(
        {name: t for name, t in layer.state_dict().items() if "rel_pos" not in name}, strict=False
    )
    for name in ("rel_pos_h", "rel_pos_w"):
        table = getattr(layer, name)
        # 13 rows to 7: the centres of the new rows, in the old ones' coordinates
        at = ((torch.arange(7) + 0.5) * 13 / 7 - 0.5).clamp(0, 12)
        low = at.floor().long()
        share = (at - low)[:, None]
        getattr(other, name).data = table[low] * (1 - share) + table[(low + 1).clamp(max=12)] * share
    x = drawn(1, 4, 4, 8)
    torch.testing.assert_close(layer(x), other(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder_adapter", [True, False])
@pytest.mark.parametrize("changes", [{}, {"window_size": 7, "depth": 4}, {"patch_size": 5}, {"num_multimask_outputs": 2},
    {"mlp_ratio": 2.5, "mask_in_chans": 8, "iou_head_depth": 2, "decoder_depth": 1}], ids=str)  # fmt: skip
@torch.inference_mode()
def test_models_of_any_size_run_and_their_sizes_are_read_back(encoder_adapter, changes):
    sizes = {**TINY, "encoder_adapter": encoder_adapter, **changes}
    model = randomised(build(**sizes))
    grid = sizes["image_size"] // sizes["patch_size"]
    embedding = model.image_encoder(drawn(2, 3, 40, 40))
    assert embedding.shape == (2, 16, grid, grid)
    found = model.decode(embedding[:1], boxes=torch.tensor([[1.0, 2, 20, 30], [0, 0, 40, 40]]))
    assert found.logits.shape == (2, 1, 4 * grid, 4 * grid)
    assert found.iou.shape == (2,)
    read = sizes_of(model.state_dict())
    assert {name: read[name] for name in sizes if name in read} == {
        name: value for name, value in sizes.items() if name != "decoder_num_heads"
    }
    again = build(**read, decoder_num_heads=2)
    load_checkpoint(again, model.state_dict())


@torch.inference_mode()
def test_prompts_that_share_an_image_are_answered_as_one_by_one():
    model = randomised(build(**TINY))
    embedding = model.image_encoder(drawn(1, 3, 40, 40))
    points = (20 * drawn(5, 3, 2).sigmoid(), torch.tensor([[1, 0, -1]] * 5))
    boxes = 40 * drawn(5, 4).sigmoid()
    masks = drawn(5, 1, 40, 40)
    for given in ({"points": points}, {"boxes": boxes}, {"points": points, "masks": masks}, {"masks": masks}):
        together = model.decode(embedding, **given)
        repeated = model.decode(embedding.expand(5, -1, -1, -1), **given)
        for row in range(5):
            one = {
                name: tuple(part[row : row + 1] for part in value)
                if name == "points"
                else value[row : row + 1]
                for name, value in given.items()
            }
            alone = model.decode(embedding, **one)
            torch.testing.assert_close(alone.logits[0], together.logits[row], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(repeated.logits[row], together.logits[row], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_point_with_label_minus_one_says_nothing_of_its_place():
    encoder = randomised(build(**TINY)).prompt_encoder
    labels = torch.tensor([[1, -1]])
    here, _ = encoder(points=(torch.tensor([[[3.0, 4], [5, 6]]]), labels))
    there, _ = encoder(points=(torch.tensor([[[3.0, 4], [35, 1]]]), labels))
    assert torch.equal(here, there)


@torch.inference_mode()
def test_positions_keep_float32_under_autocast():
    encoder = build(**TINY).prompt_encoder
    plain = encoder.get_dense_pe()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.get_dense_pe(), plain)


def test_only_what_a_mask_touches_has_a_gradient():
    model = randomised(build(**TINY))
    found = model.decode(model.image_encoder(drawn(1, 3, 40, 40)), boxes=torch.tensor([[1.0, 2, 20, 30]]))
    found.logits.sum().backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not any(name.startswith("image_encoder") for name in without)
    assert any(name.startswith("prompt_encoder.mask_downscaling") for name in without)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 7}, "image_size 40 is no multiple of patch_size 7"),
        ({"num_heads": 5}, "embed_dim 24 cannot be split into num_heads 5"),
        ({"global_attn_indexes": (1, 3)}, r"\[3\] lie beyond the 3 blocks"),
        ({"decoder_num_heads": 3}, "decoder_num_heads 3 must divide"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**{**TINY, **changes})


def test_inputs_of_the_wrong_shape_are_refused():
    model = build(**TINY)
    with pytest.raises(
        ValueError, match=r"image of shape \(1, 3, 41, 40\); this encoder takes \(B, 3, 40, 40\)"
    ):
        model.image_encoder(torch.zeros(1, 3, 41, 40))
    with pytest.raises(
        ValueError, match=r"mask prompts of shape \(1, 1, 64, 64\); \(B, 1, 40, 40\) is expected"
    ):
        model.prompt_encoder(masks=torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="as many of each kind"):
        model.prompt_encoder(boxes=torch.zeros(2, 4), masks=torch.zeros(1, 1, 40, 40))
    with pytest.raises(ValueError, match="even number of patches"):
        build(**{**TINY, "image_size": 36}).image_encoder(torch.zeros(1, 3, 36, 36))


def test_a_checkpoint_with_another_window_is_another_model():
    state = build(**TINY).state_dict()
    with pytest.raises(WeightsError, match=r"blocks.0.attn.rel_pos_h \(7, 8\) instead of \(9, 8\)"):
        load_checkpoint(build(**{**TINY, "window_size": 5}), state)


@pytest.mark.parametrize("image_size", [24, 64])
@torch.inference_mode()
def test_weights_of_another_image_size_load_and_run(image_size):
    state = randomised(build(**TINY)).state_dict()
    model = build(**{**TINY, "image_size": image_size})
    report = load_checkpoint(model, state)
    assert report.loaded == len(state)
    assert model.image_encoder(drawn(1, 3, image_size, image_size)).isfinite().all()


def test_adapters_are_dropped_only_when_that_is_said():
    state = build(**TINY).state_dict()
    plain = build(**{**TINY, "encoder_adapter": False})
    with pytest.raises(WeightsError, match=r"18 unexpected .*Adapter"):
        load_checkpoint(plain, state)
    assert len(load_checkpoint(plain, state, drop=(".Adapter.",)).dropped) == 18


def test_fresh_adapters_are_told_when_that_was_not_said():
    state = build(**{**TINY, "encoder_adapter": False}).state_dict()
    model = build(**TINY)
    with pytest.raises(WeightsError, match=r"18 missing .*Adapter"):
        load_checkpoint(model, state)
    assert len(load_checkpoint(model, state, fresh=(".Adapter.",)).fresh) == 18
