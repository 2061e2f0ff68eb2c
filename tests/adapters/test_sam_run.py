"""A whole suite with small networks: pictures of every kind through the engine."""

import numpy as np
import pytest
from PIL import Image as Picture

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import medeval  # noqa: E402
from medeval_models import sam_med2d  # noqa: E402

PICTURES = {
    "grey": (np.uint8, "L"),
    "deep": (np.uint16, "I;16"),
    "colour": (np.uint8, "RGB"),
    "alpha": (np.uint8, "RGBA"),
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("pictures")
    drawn = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, (dtype, mode) in PICTURES.items():
        shape = (40, 50, len(mode)) if mode.startswith("RGB") else (40, 50)
        Picture.fromarray(drawn.integers(0, np.iinfo(dtype).max, shape).astype(dtype)).save(
            tmp_path / f"images/{name}.png"
        )
        for structure, part in (
            ("liver", np.s_[4:20, 5:30]),
            ("spleen", np.s_[25:35, 30:45]),
            ("kidney", np.s_[0:0]),
        ):
            mask = np.zeros((40, 50), np.uint8)
            mask[part] = 255
            Picture.fromarray(mask).save(tmp_path / f"masks/{name}_{structure}.png")
    Picture.fromarray(np.array([[7]], np.uint8)).save(tmp_path / "images/pixel.png")
    Picture.fromarray(np.array([[255]], np.uint8)).save(tmp_path / "masks/pixel_liver.png")
    sizes = {"image_size": 32, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "global_attn_indexes": (1,),
             "window_size": 3, "out_chans": 16, "decoder_mlp_dim": 32, "iou_head_hidden_dim": 12}  # fmt: skip
    torch.save({"model": sam_med2d.build(**sizes).state_dict()}, tmp_path / "small.pth")
    return {
        "name": "small-sam",
        "datasets": {"all": {"format": "image-mask-folder", "root": str(tmp_path), "masks": "masks/{id}_{structure}.png"}},
        "models": {
            "ours": {"adapter": "medeval_adapters.sam_med2d:SAMMed2D", "checkpoint": str(tmp_path / "small.pth"), "device": "cpu"},
            "plain": {"adapter": "medeval_adapters.sam:SAM", "checkpoint": str(tmp_path / "small.pth"), "device": "cpu"},
        },
        "tasks": [
            {
                "task": "prompted-segmentation",
                "prompts": ["box", "1 point", "3 points", "3 clicks", "mask", "box + 2 clicks"],
                "metrics": ["dice", "iou"],
            }
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def records(suite, tmp_path_factory):
    return medeval.run(suite, out=tmp_path_factory.mktemp("runs") / "first").records()


def test_every_picture_gives_a_record_for_every_prompt(records):
    absent = records[records.structure == "kidney"]
    assert set(absent.status) == {"undefined"}
    asked = records[records.structure != "kidney"]
    wrong = asked[~asked.status.isin(["ok", "carried"])]
    assert wrong[["case", "structure", "prompt", "status", "error"]].to_dict("records") == []
    per_structure = 4 + 3 + 3  # four single rounds, 3 clicks, box + 2 clicks
    assert len(asked) == 2 * (4 * 2 + 1) * per_structure


def test_the_same_suite_gives_the_same_records(suite, records, tmp_path):
    assert medeval.run(suite, out=tmp_path / "again").records().dice.equals(records.dice)
