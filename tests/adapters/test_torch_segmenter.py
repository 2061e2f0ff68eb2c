"""Any network from a checkpoint: placement, intensities, outputs, and what is told when it does not fit."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from torch import nn  # noqa: E402

from medeval.plugins import build  # noqa: E402
from medeval.types import DataError, Grid, Image, LabelMap, MaskStack, PluginError  # noqa: E402
from medeval_adapters.image_tensors import Placement, scaled  # noqa: E402
from medeval_adapters.torch_segmenter import TorchSegmenter  # noqa: E402

CODE = """
import torch
from torch import nn

class Bright(nn.Module):
    '''Class 1 where the first channel is above 0; 2 where it is above 0.5.'''
    def __init__(self, classes: int = 3, dims: int = 2, inputs: int = 1):
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.last = conv(inputs, classes, 1)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.zero_()
            for c in range(1, classes):
                self.last.weight[c, 0] = c * 10.0
                self.last.bias[c] = -2.5 * c * (c - 1)
            if classes == 1:
                self.last.weight[0, 0] = 10.0
    def forward(self, x):
        return self.last(x)

class Probabilities(Bright):
    def forward(self, x):
        return super().forward(x).softmax(1)
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)

    def made(name="Bright", arguments=None, **options):
        namespace: dict = {}
        exec(CODE, namespace)
        torch.save(namespace[name](**(arguments or {})).state_dict(), tmp_path / "net.pth")
        given = {
            "builder": f"net.py:{name}", "arguments": arguments or {}, "checkpoint": "net.pth", "device": "cpu",
            "intensity": "none", **options,
        }  # fmt: skip
        return build(TorchSegmenter, given)

    return made


def image(shape=(20, 30), channels=1, seed=0):
    array = np.random.default_rng(seed).uniform(-1, 1, (channels, *shape)).astype(np.float32)
    return Image(array, Grid(shape, (1.0,) * len(shape)))


def expected(array):
    return (array > 0).astype(int) + (array > 0.5)


def test_a_picture_of_any_size_keeps_its_grid(make):
    seen = image()
    found = make().segment_image(seen, ["a", "b"])
    assert found.shape == (20, 30)
    assert (found == expected(seen.array[0])).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_is_a_batch_of_slices_to_a_2d_network(make, axis):
    seen = image((6, 7, 8))
    model = make(slice_axis=axis)
    assert len(model.tensor(seen)) == (6, 7, 8)[axis]
    assert (model.segment_image(seen, []) == expected(seen.array[0])).all()


def test_a_volume_is_one_sample_to_a_3d_network(make):
    seen = image((6, 7, 8))
    model = make(arguments={"dims": 3})
    assert model.tensor(seen).shape == (1, 1, 16, 16, 16)
    assert (model.segment_image(seen, []) == expected(seen.array[0])).all()


def test_a_picture_is_no_volume(make):
    with pytest.raises(DataError, match="a 2D image came to a 3D network"):
        make(arguments={"dims": 3}).segment_image(image(), [])


def test_what_is_resized_comes_back(make):
    rows, columns = np.mgrid[:40, :60]
    disk = ((rows - 20) ** 2 + (columns - 30) ** 2 < 150).astype(np.float32) * 2 - 1
    seen = Image(disk[None], Grid((40, 60), (1.0, 1.0)))
    model = make(size=(32, 32))
    assert model.tensor(seen).shape == (1, 1, 32, 32)
    found = model.segment_image(seen, [])
    assert found.shape == (40, 60)
    assert ((found > 0) != (disk > 0)).mean() < 0.03


def test_classes_have_names(make):
    found = make(classes=["background", "dim", "bright"]).segment_image(image(), ["dim", "other"])
    assert isinstance(found, LabelMap)
    assert found.labels == {"dim": (1,), "bright": (2,)}


def test_one_channel_is_a_foreground(make):
    seen = image()
    found = make(arguments={"classes": 1}).segment_image(seen, [])
    assert (found == (seen.array[0] > 0)).all()
    named = make(arguments={"classes": 1}, output="sigmoid", classes=["tumour"]).segment_image(
        seen, ["tumour"]
    )
    assert (named.mask("tumour") == (seen.array[0] > 0)).all()


def test_sigmoid_channels_are_masks_that_may_overlap(make):
    seen = image()
    found = make(arguments={"classes": 3}, output="sigmoid", classes=["none", "a", "b"]).segment_image(
        seen, ["a", "b"]
    )
    assert (found["a"] == (seen.array[0] > 0)).all()
    assert (found["b"] == (seen.array[0] > 0.25)).all()


def test_probabilities_segment_but_do_not_adapt(make):
    model = make("Probabilities", output="probabilities")
    seen = image()
    assert (model.segment_image(seen, []) == expected(seen.array[0])).all()
    with pytest.raises(PluginError, match="without its last activation"):
        _ = model.module


def test_another_network_in_its_place_leaves_the_first(make):
    model = make()
    other = nn.Conv2d(1, 3, 1)
    nn.init.zeros_(other.weight)
    with torch.no_grad():
        other.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))
    assert (model.with_module(other).segment_image(image(), []) == 2).all()
    assert (model.segment_image(image(), []) == expected(image().array[0])).all()


def test_labels_lie_on_the_networks_grid(make):
    array = np.zeros((20, 30), np.int64)
    array[5:10, 5:10] = 7
    labels = LabelMap(array, {"liver": (7,), "spleen": (3,)})
    named = make(classes=["background", "spleen", "liver"]).label_tensor(labels)
    assert named.shape == (1, 32, 32)
    assert named.unique().tolist() == [0, 2]
    assert (named == 2).sum() == 25
    assert make().label_tensor(labels).unique().tolist() == [0, 7]
    masks = MaskStack({"liver": array > 0}, (20, 30))
    assert (make(classes=["background", "spleen", "liver"]).label_tensor(masks) == 2).sum() == 25
    with pytest.raises(PluginError, match="name the network's `classes`"):
        make().label_tensor(masks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"builder": "net.py:Brigth"}, "Bright"),
        ({"arguments": {"depth": 3}}, "cannot be built"),
        ({"arguments": {"classes": 4}}, "of another shape"),
        ({"checkpoint": "no.pth"}, "no such file"),
        ({"device": "cuda:7"}, "device"),
        ({"size": [3]}, "needs 2 numbers"),
        ({"classes": ["a", "b"]}, "the network gives 3 channels; classes names 2"),
    ],
)
def test_what_does_not_fit_is_told(make, tmp_path, options, message):
    make()
    given = {"builder": "net.py:Bright", "checkpoint": "net.pth", "device": "cpu", **options}
    with pytest.raises((PluginError, DataError), match=message):
        build(TorchSegmenter, given).segment_image(image(), [])


def test_nan_and_missing_channels_are_told(make):
    seen = image()
    seen.array[0, 3, 3] = np.nan
    with pytest.raises(DataError, match="NaN"):
        make().segment_image(seen, [])
    with pytest.raises(DataError, match="channels: \\[1\\]; the image has 1"):
        make(channels=[1]).tensor(image())


@pytest.mark.parametrize("intensity", ["percentiles", "range", "z-score"])
def test_intensities(intensity):
    array = np.linspace(0, 1000, 400, dtype=np.float32).reshape(1, 20, 20)
    grid = Grid((20, 20), (1.0, 1.0))
    found = scaled(Image(array, grid), intensity=intensity, scale=(-1, 1))
    assert found.dtype == np.float32
    if intensity == "z-score":
        assert found.mean() == pytest.approx(0, abs=1e-4)
        assert found.std() == pytest.approx(1, abs=1e-4)
    else:
        assert (found.min(), found.max()) == pytest.approx((-1, 1), abs=1e-5)
    constant = scaled(Image(np.full((1, 20, 20), 3.0), grid), intensity=intensity)
    assert (constant == 0).all()


def test_a_window_comes_first():
    array = np.array([[[-1000.0, 0.0, 50.0, 3000.0]]])
    found = scaled(Image(array, Grid((1, 4), (1.0, 1.0))), window=(0, 100), intensity="range", scale=(0, 1))
    assert found.tolist() == [[[0.0, 0.0, 0.5, 1.0]]]


@pytest.mark.parametrize("shape", [(20, 33), (5, 20, 33)])
def test_a_placement_restores_what_it_placed(shape):
    placement = Placement.of(shape, 2, 0, None, 16)
    array = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    assert torch.equal(placement.restore(placement.image(array)), torch.from_numpy(array))


def test_the_windows_of_monai_cover_a_larger_volume(make):
    pytest.importorskip("monai")
    seen = image((20, 33, 18))
    model = make(arguments={"dims": 3}, roi=(16, 16, 16))
    assert (model.segment_image(seen, []) == expected(seen.array[0])).all()


def test_a_source_is_trained_and_then_loaded(tmp_path):
    from PIL import Image as Pil

    from medeval_adapters.train_segmentation import TrainSegmentation

    for sub in ("images", "masks"):
        (tmp_path / sub).mkdir()
    for number in range(4):
        mask = np.zeros((24, 24), np.uint8)
        mask[4 + number : 14 + number, 6:16] = 1
        Pil.fromarray(mask * 150 + 40).save(tmp_path / "images" / f"{number}.png")
        Pil.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    options = {
        "dataset": {"format": "image-mask-folder", "root": str(tmp_path), "labels": {"square": 1}},
        "arguments": {"ft_chns": [4, 8, 16, 32, 64], "n_classes": 2, "dropout_p": [0.0, 0.0]},
        "epochs": 30, "learning_rate": 1e-2, "loss": "dice+ce", "decay": 1.0, "device": "cpu",
    }  # fmt: skip
    recipe = build(TrainSegmentation, options)
    weights = recipe.run(tmp_path / "out", lambda _: None)
    first = weights.read_bytes()
    assert recipe.run(tmp_path / "out", lambda _: None).read_bytes() == first
    model = build(
        TorchSegmenter,
        {"builder": "medeval_models.upl_sfda:build_source", "arguments": options["arguments"],
         "checkpoint": str(weights), "device": "cpu"},
    )  # fmt: skip
    array = np.asarray(Pil.open(tmp_path / "images" / "0.png"))[None]
    found = model.segment_image(Image(array, Grid((24, 24), (1.0, 1.0))), ["square"])
    truth = np.asarray(Pil.open(tmp_path / "masks" / "0.png"))
    assert 2 * (found * truth).sum() / (found.sum() + truth.sum()) > 0.9
