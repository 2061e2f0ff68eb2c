"""Each part against the official code's outputs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medeval_models.sam_med3d import VARIANTS, build, sizes_of  # noqa: E402
from tests.parity.sam_med3d.cases import arrays, assert_close, filled_model, table  # noqa: E402


def tensor(values):
    return torch.from_numpy(values)


def shapes(model):
    return {name: list(values.shape) for name, values in model.state_dict().items()}


@pytest.mark.parametrize(
    ("variant", "keys"),
    [("vit_b_ori", "keys"), ("vit_b", "keys_vit_b"), ("vit_l", "keys_vit_l"), ("vit_h", "keys_vit_h"), ("default", "keys_vit_h")],
)  # fmt: skip
def test_every_registered_model_has_the_official_names_and_shapes(variant, keys):
    with torch.device("meta"):
        model = build(**VARIANTS[variant])
    assert shapes(model) == table(keys)
    assert list(model.state_dict()) == list(table(keys))


@pytest.mark.parametrize(
    ("variant", "values"),
    [("vit_b_ori", 100_509_616), ("vit_b", 36_187_312), ("vit_l", 322_787_248), ("vit_h", 652_435_376)],
)
def test_every_registered_model_has_the_official_number_of_values(variant, values):
    with torch.device("meta"):
        model = build(**VARIANTS[variant])
    assert sum(v.numel() for v in model.state_dict().values()) == values


@pytest.mark.parametrize("variant", ["small_a", "small_c_end_to_end"])
def test_sizes_are_read_back_from_a_state_dict(variant):
    wanted = table("config")[variant]
    found = sizes_of(build(**wanted).state_dict())
    assert {
        name: list(found[name]) if isinstance(found[name], tuple) else found[name] for name in wanted
    } == wanted


@torch.inference_mode()
def test_image_encoder():
    expected = arrays("image_encoder")
    encoder = filled_model().image_encoder
    seen = {}
    encoder.patch_embed.register_forward_hook(lambda *call: seen.update(patch_embed=call[2]))
    for index, block in enumerate(encoder.blocks):
        block.register_forward_hook(lambda *call, name=f"block_{index}": seen.update({name: call[2]}))
    assert_close(encoder(tensor(expected["image"])), expected["embedding"])
    for name in ("patch_embed", "block_0", "block_1", "block_2"):
        assert_close(seen[name], expected[name])


@torch.inference_mode()
def test_prompt_encoder():
    expected = arrays("prompt_encoder")
    encoder = filled_model().prompt_encoder
    points = [tensor(expected["points"]), tensor(expected["labels"])]
    sparse, dense = encoder(points=points, boxes=None, masks=tensor(expected["mask"]))
    assert_close(sparse, expected["sparse"])
    assert_close(dense, expected["dense_mask"])
    _, dense = encoder(points=points, boxes=None, masks=None)
    assert_close(dense[:1], expected["dense_no_mask"])
    assert_close(encoder.get_dense_pe(), expected["dense_pe"])


@torch.inference_mode()
def test_a_mask_without_points_makes_no_token():
    sparse, dense = filled_model().prompt_encoder(
        points=None, boxes=None, masks=torch.zeros(2, 1, 16, 16, 16)
    )
    assert sparse.shape == (2, 0, 48)
    assert dense.shape == (2, 48, 4, 4, 4)


@pytest.mark.parametrize(("several", "kind"), [(True, "multi"), (False, "single")])
@torch.inference_mode()
def test_mask_decoder(several, kind):
    expected = arrays("mask_decoder")
    masks, iou = filled_model().mask_decoder(
        image_embeddings=tensor(expected["image_embedding"]),
        image_pe=tensor(expected["image_pe"]),
        sparse_prompt_embeddings=tensor(expected["sparse"]),
        dense_prompt_embeddings=tensor(expected["dense"]),
        multimask_output=several,
    )
    assert_close(masks, expected[f"masks_{kind}"])
    assert_close(iou, expected[f"iou_{kind}"])


@pytest.mark.parametrize("fed", ["accumulate", "newest"])
@torch.inference_mode()
def test_four_clicks_with_the_previous_logits_fed_back(fed):
    expected = arrays("pipeline")
    model = filled_model()
    embedding = model.image_encoder(tensor(expected["image"]))
    assert_close(embedding, expected["embedding"])
    low = torch.zeros(1, 1, 16, 16, 16)
    ious = []
    for count in range(1, 5):
        some = slice(0 if fed == "accumulate" else count - 1, count)
        points = [tensor(expected["points"][None, some]), tensor(expected["labels"][None, some])]
        low, iou = model.decode(embedding, points, low)
        assert_close(low, expected[f"{fed}_low_res_{count}"])
        ious.append(iou)
    # All four together: the fourth alone is 0.0006, what is left of terms 100 times as large.
    assert_close(torch.cat(ious), np.concatenate([expected[f"{fed}_iou_{count}"] for count in range(1, 5)]))
    mask = model.upscale(low)[0, 0] > 0
    assert (mask.numpy() == expected[f"{fed}_mask_4"]).mean() >= 0.995


@torch.inference_mode()
def test_a_mask_prompt_alone():
    expected = arrays("pipeline")
    model = filled_model()
    last = tensor(expected["newest_low_res_4"])
    found = model.decode(tensor(expected["embedding"]), masks=last)
    assert_close(found.logits, expected["mask_only_low_res"])


def test_boxes_and_wrong_shapes_are_refused_with_what_is_right():
    model = filled_model()
    with pytest.raises(ValueError, match="takes no boxes"):
        model.prompt_encoder(boxes=torch.zeros(1, 6))
    with pytest.raises(ValueError, match=r"\(B, 1, 32, 32, 32\)"):
        model.image_encoder(torch.zeros(1, 1, 16, 32, 32))
    with pytest.raises(ValueError, match=r"\(B, 1, 16, 16, 16\) is expected"):
        model.prompt_encoder(masks=torch.zeros(1, 1, 8, 8, 8))
    points = (torch.zeros(2, 1, 3), torch.ones(2, 1))
    with pytest.raises(ValueError, match="as many of each kind"):
        model.prompt_encoder(points=points, masks=torch.zeros(1, 1, 16, 16, 16))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_size": 100}, "no multiple of patch_size"),
        ({"global_attn_indexes": (12,)}, "beyond the 12 blocks"),
        ({"prompt_embed_dim": 256}, "no multiple of 3"),
        ({"num_heads": 7}, "cannot be split"),
    ],
)
def test_sizes_that_do_not_go_together_are_told(sizes, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build(**sizes)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8, 8), (2, 3, 4, 4, 4), (1, 1, 16, 16, 16)])
def test_logits_are_upscaled_as_the_official_code_interpolates(shape):
    model = filled_model("small_a")
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(
        logits, [model.image_size] * 3, mode="trilinear", align_corners=False
    )
    assert_close(model.upscale(logits), expected.numpy())
