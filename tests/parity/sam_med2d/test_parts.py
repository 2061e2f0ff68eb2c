"""Each part against the official code's outputs."""

import pytest

torch = pytest.importorskip("torch")

from medeval_models.sam_med2d import VARIANTS, build, sizes_of  # noqa: E402
from tests.parity.sam_med2d.cases import arrays, assert_close, filled_model, sizes, table  # noqa: E402

VARIANT = pytest.mark.parametrize("variant", ["adapter", "noadapter"])
PROMPTS = {
    "points": ("points",),
    "box": ("boxes",),
    "mask": ("masks",),
    "points_box": ("points", "boxes"),
    "points_mask": ("points", "masks"),
    "box_mask": ("boxes", "masks"),
}


def tensor(values):
    return torch.from_numpy(values)


def prompts(variant, name):
    given = arrays(f"{variant}_prompt_encoder")
    every = {
        "points": (tensor(given["point_coords"]), tensor(given["point_labels"])),
        "boxes": tensor(given["boxes"]),
        "masks": tensor(given["mask_inputs"]),
    }
    return {kind: every[kind] for kind in PROMPTS[name]}


def shapes(model):
    return {name: list(values.shape) for name, values in model.state_dict().items()}


@pytest.mark.parametrize(("encoder_adapter", "keys"), [(True, "keys"), (False, "keys_noadapter")])
def test_the_full_model_has_the_official_names_and_shapes(encoder_adapter, keys):
    with torch.device("meta"):
        model = build(encoder_adapter=encoder_adapter)
    assert shapes(model) == table(keys)
    assert list(model.state_dict()) == list(table(keys))


@VARIANT
def test_a_small_model_has_the_official_names_and_shapes(variant):
    assert shapes(build(**sizes(variant))) == table(f"small_keys_{variant}")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("sam_med2d_b", 271_241_776), ("ft_sam_b", 90_737_200), ("sam_vit_b", 93_735_472), ("sam_vit_l", 312_342_832),
     ("sam_vit_h", 641_090_608)],
)  # fmt: skip
def test_every_published_variant_has_the_published_number_of_parameters(name, parameters):
    with torch.device("meta"):
        model = build(**VARIANTS[name])
    assert sum(p.numel() for p in model.parameters()) == parameters


@VARIANT
def test_sizes_are_read_back_from_a_state_dict(variant):
    model = build(**sizes(variant))
    found = sizes_of(model.state_dict())
    assert {
        key: list(v) if isinstance(v := found[key], tuple) else v for key in found if key in sizes(variant)
    } == {key: value for key, value in sizes(variant).items() if key != "decoder_num_heads"}


@VARIANT
@torch.inference_mode()
def test_image_encoder(variant):
    expected = arrays(f"{variant}_image_encoder")
    seen = {}
    model = filled_model(variant)
    encoder = model.image_encoder

    def keep(name):
        return lambda module, inputs, output: seen.update({name: output, f"{name}_in": inputs[0]})

    for index in (0, 1, 3):
        encoder.blocks[index].register_forward_hook(keep(f"after_block{index}"))
    assert_close(encoder(tensor(expected["image"])), expected["image_embeddings"])
    assert_close(seen["after_block0_in"], expected["after_patch_and_pos"])
    for name in ("after_block0", "after_block1", "after_block3"):
        assert_close(seen[name], expected[name])


@torch.inference_mode()
def test_adapter_layer():
    expected = arrays("adapter_image_encoder")
    layer = filled_model("adapter").image_encoder.blocks[0].Adapter
    assert_close(layer(tensor(expected["block0_adapter_in"])), expected["block0_adapter_out"])


@VARIANT
@pytest.mark.parametrize("name", PROMPTS)
@torch.inference_mode()
def test_prompt_encoder(variant, name):
    expected = arrays(f"{variant}_prompt_encoder")
    encoder = filled_model(variant).prompt_encoder
    sparse, dense = encoder(**prompts(variant, name))
    assert_close(sparse, expected[f"{name}_sparse"])
    assert_close(dense, expected[f"{name}_dense" if "mask" in name else "points_dense"])
    assert_close(encoder.get_dense_pe(), expected["dense_pe"])


@VARIANT
@pytest.mark.parametrize("several", [True, False], ids=["multi", "single"])
@pytest.mark.parametrize("name", PROMPTS)
@torch.inference_mode()
def test_mask_decoder(variant, name, several):
    expected = arrays(f"{variant}_mask_decoder")
    model = filled_model(variant)
    sparse, dense = model.prompt_encoder(**prompts(variant, name))
    masks, iou = model.mask_decoder(
        image_embeddings=tensor(expected["image_embeddings"]),
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=several,
    )
    stem = f"{name}_{'multi' if several else 'single'}"
    assert_close(masks, expected[f"{stem}_low_res"])
    assert_close(iou, expected[f"{stem}_iou"])


@VARIANT
@torch.inference_mode()
def test_end_to_end_and_the_choice_among_three_masks(variant):
    expected = arrays(f"{variant}_pipeline")
    model = filled_model(variant)
    given = {name: tensor(expected[name]) for name in ("image", "boxes")}
    found = model({**given, "original_size": expected["original_size"]}, multimask_output=True)
    for name, values in found.items():
        assert_close(values, expected[name])
    best = model.decode(model.image_encoder(given["image"]), boxes=given["boxes"])
    assert_close(best.logits, expected["selected_low_res"])
    assert found["iou_predictions"].argmax(dim=1).tolist() == expected["selected_index"].tolist()
    at_image_size = model.postprocess_masks(best.logits, (model.image_size, model.image_size))
    assert_close(at_image_size, expected["selected_at_image_size"])
