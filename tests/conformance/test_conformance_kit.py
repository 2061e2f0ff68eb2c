"""First-party adapters raise no alarm; what cannot be checked is told; the command's exit code and table."""

import subprocess
import sys

import pytest

from medeval.conformance import check_model, findings_table
from medeval.types import PluginError

CLASSICAL = ["box-as-mask", "empty", "region-growing"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("geodesic", "random-walker", "chan-vese")]


def alarms(found):
    return [finding for finding in found if finding.verdict == "fail"]


@pytest.mark.parametrize("name", CLASSICAL + SLOW)
def test_a_classical_adapter_raises_no_alarm(name):
    assert alarms(check_model(name)) == []


def test_an_automatic_model_is_checked_too():
    found = check_model("empty", task="segmentation")
    assert alarms(found) == []
    assert len(found) > 10


@pytest.mark.parametrize(
    ("reference", "task", "message"),
    [
        ("oracle", None, "an output source"),
        ("empty", "mini-cex", "no conformance checks; prompted-segmentation, segmentation have"),
        ("region-growing", "segmentation", "needs the methods `segment_image`"),
        ("regiongrowing", None, "region-growing"),
        ("builtins:dict", None, "`encode`, `segment`"),
    ],
)
def test_what_cannot_be_checked_is_told(reference, task, message):
    with pytest.raises(PluginError, match=message):
        check_model(reference, task=task)


def test_a_model_that_only_raises_gets_one_failure_with_its_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(
        "class Broken:\n    def encode(self, image):\n        raise KeyError('weights')\n    segment = encode\n"
    )
    found = check_model(f"{file}:Broken")
    assert {finding.check for finding in alarms(found)} == {"answers (2D)", "answers (3D)"}
    assert "KeyError: 'weights' (encode, line 3)" in found[0].what


def test_the_table_tells_what_to_mend_only_where_a_check_failed(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nfrom medeval.types import Segmentation\nclass Floats:\n"
        "    def encode(self, image):\n        return image.grid.shape\n"
        "    def segment(self, encoded, prompts):\n        return [Segmentation(np.full(encoded, 0.3)) for _ in prompts]\n"
    )
    found = check_model(f"{file}:Floats")
    table = findings_table("mine", found)
    assert len(table.rows) == len(found)
    assert all(bool(row["mend"]) == (row["verdict"] == "fail") for row in table.rows)
    done = subprocess.run(
        [sys.executable, "-m", "medeval.cli", "check", f"{file}:Floats"], text=True, capture_output=True, check=False
    )  # fmt: skip
    assert done.returncode == 1
    assert "threshold in the adapter" in done.stdout


# -- networks with random weights ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_sam(tmp_path_factory):
    """A small SAM-Med2D with random weights in the official file form."""
    torch = pytest.importorskip("torch")
    from medeval_models import sam_med2d

    torch.manual_seed(0)
    sizes = {
        "image_size": 32, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "global_attn_indexes": (1,),
        "window_size": 3, "out_chans": 16, "decoder_mlp_dim": 32, "iou_head_hidden_dim": 12,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save({"model": sam_med2d.build(**sizes).state_dict()}, path)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam", "sam-med2d"])
def test_a_promptable_network_raises_no_alarm(name, small_sam):
    assert alarms(check_model(name, {"checkpoint": small_sam, "device": "cpu"})) == []


@pytest.mark.slow
def test_a_slicewise_model_raises_no_alarm():
    assert alarms(check_model("slicewise", {"model": "region-growing"})) == []


@pytest.mark.slow
def test_a_segmentation_network_raises_no_alarm(tmp_path):
    torch = pytest.importorskip("torch")
    nets = pytest.importorskip("monai.networks.nets")
    sizes = {
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 0,
    }
    torch.manual_seed(0)
    torch.save(nets.UNet(**sizes).state_dict(), tmp_path / "unet.pth")
    options = {"builder": "monai.networks.nets:UNet", "arguments": sizes, "checkpoint": str(tmp_path / "unet.pth"), "device": "cpu", "channels": [0]}  # fmt: skip
    assert alarms(check_model("torch-segmenter", options)) == []
