"""``medeval train sam-med2d``: weights that the adapter loads, the same after a kill, and what is said of bad input."""

import copy
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from small_world import picture  # noqa: E402

from medeval import api  # noqa: E402
from medeval.types import DataError, Grid, Image, PluginError, Prompt, SuiteError  # noqa: E402
from medeval_adapters.sam_med2d import SAMMed2D  # noqa: E402
from medeval_adapters.sam_med2d_examples import SquareCases, squares  # noqa: E402
from medeval_adapters.train_sam_med2d import TrainSAMMed2D  # noqa: E402
from medeval_adapters.training_recipe import TrainingRecipe  # noqa: E402
from medeval_models.sam_med2d import build  # noqa: E402
from medeval_models.sam_med2d.training import InteractiveRecipe  # noqa: E402
from medeval_models.training import FileCheckpoint, Trainer  # noqa: E402

SIZES = {
    "image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "global_attn_indexes": [1],
    "window_size": 2, "out_chans": 16, "decoder_num_heads": 2, "decoder_mlp_dim": 16, "iou_head_hidden_dim": 8,
}  # fmt: skip


@pytest.fixture
def config(small):
    """Writes the toy's config with changes; returns its path."""

    def write(**changes):
        options = {
            "dataset": small.pictures(), "sizes": SIZES, "epochs": 3, "masks": 2, "clicks": 2,
            "learning_rate": 1e-3, "device": "cpu", **changes,
        }  # fmt: skip
        path = small.folder / "train.yaml"
        path.write_text(yaml.safe_dump(options))
        return path

    return write


def train(config, out, tell=lambda text: None):
    return api.train("sam-med2d", config, out, tell)


def test_what_is_trained_is_loaded_by_the_adapter_and_told_on_the_way(small, config):
    told = []
    weights = train(config(), small.folder / "out", told.append)
    assert told[0] == "6 images, 9 masks; 0 masks below 1 pixels left out"
    assert "100% epoch 3/3, step 9: first " in told[-2]
    assert told[-1] == f"9 steps done: {weights}"
    history = json.loads((small.folder / "out" / "history.json").read_text())
    assert [sorted(entry) for entry in history] == [["first", "last"]] * 3
    model = SAMMed2D(checkpoint=weights, device="cpu", decoder_num_heads=2)
    image = Image(picture(0)[0][None], Grid((24, 24), (1.0, 1.0)))
    (answer,) = model.segment(model.encode(image), [Prompt("disk", box=np.array([[4, 4], [16, 16]]))])
    assert answer.mask.shape == (24, 24)


def test_the_frozen_encoder_stays_and_adapters_learn(small, config):
    plain = build(**SIZES, encoder_adapter=False)
    save_file(plain.state_dict(), small.folder / "sam.safetensors")
    path = config(checkpoint=str(small.folder / "sam.safetensors"), sizes={"decoder_num_heads": 2})
    state = load_file(train(path, small.folder / "out"))
    before = plain.state_dict()
    encoder = [name for name in before if name.startswith("image_encoder.")]
    assert all(torch.equal(state[name], before[name]) for name in encoder)
    assert sum(".Adapter." in name for name in state) == 2 * 6
    learned = {name for name in before if not torch.equal(state[name], before[name])}
    assert {"mask_decoder.mask_tokens.weight", "prompt_encoder.mask_downscaling.0.weight"} <= learned


def test_a_stopped_training_goes_on_and_ends_in_the_same_bytes(small, config, monkeypatch):
    path = config()
    whole = train(path, small.folder / "whole").read_bytes()
    write, written = FileCheckpoint.write, []

    def stop_after_two(self, state):
        write(self, state)
        written.append(state)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FileCheckpoint, "write", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train(path, small.folder / "out")
    assert train(path, small.folder / "out").read_bytes() == whole
    assert len(written) == 3  # the epochs that were done are not done again


def test_images_that_are_read_again_give_the_same_bytes(small, config):
    kept = train(config(min_pixels=60), small.folder / "kept").read_bytes()
    assert train(config(min_pixels=60, memory=0.0), small.folder / "again").read_bytes() == kept


def test_lazy_examples_are_those_of_a_list(small, config):
    recipe = TrainSAMMed2D(dataset=small.pictures(), min_pixels=60)
    network = build(**SIZES)
    lazy = squares(SquareCases.of(recipe.open_dataset(small.folder), network, 60), memory=0)
    assert (len(lazy.examples), lazy.masks, lazy.dropped) == (3, 3, 6)  # the bars of the even cases
    states = []
    for examples in (lazy.examples, list(lazy.examples)):
        trained = InteractiveRecipe(copy.deepcopy(network), examples, batch_size=2, masks=2, clicks=1)
        Trainer(trained, epochs=2).run()
        states.append(trained.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_state_may_be_gone_on_with_under_another_memory(small, config):
    first = train(config(), small.folder / "out").read_bytes()
    assert train(config(memory=0.0), small.folder / "out").read_bytes() == first


def test_a_mask_that_vanished_is_told_with_its_case(small, config):
    recipe = TrainSAMMed2D(dataset=small.pictures(), min_pixels=60)
    cases = SquareCases.of(recipe.open_dataset(small.folder), build(**SIZES), 60)
    lazy = squares(cases, memory=0)
    cases.min_pixels = 5000
    with pytest.raises(DataError, match="case 'p0-c00': its masks are no longer what they were"):
        lazy.examples[0]


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_bytes(small, config):
    path = config(epochs=20, masks=1, clicks=1)
    killed = small.folder / "killed"
    command = [sys.executable, "-m", "medeval.cli", "train", "sam-med2d", "-c", str(path), "-o", str(killed)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (killed / "last.safetensors").exists():
        assert process.poll() is None, "it ended before its first epoch did"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "weights.safetensors").exists()
    first = train(path, killed).read_bytes()
    assert train(path, small.folder / "whole").read_bytes() == first
    assert train(path, killed).read_bytes() == first  # done: nothing is added


def test_a_folder_of_another_training_is_not_gone_on_with(small, config):
    train(config(), small.folder / "out")
    with pytest.raises(PluginError, match=r"last\.safetensors: the checkpoint belongs to another training"):
        train(config(learning_rate=1e-4), small.folder / "out")


def test_a_dataset_with_other_masks_is_another_training(small, config):
    path = config()
    train(path, small.folder / "out")
    small.pictures(seed=5)  # the same names, other contents
    with pytest.raises(PluginError, match="belongs to another training"):
        train(path, small.folder / "out")


def test_other_weights_to_begin_from_are_another_training(small, config):
    path = config(checkpoint="sam.safetensors", sizes={"decoder_num_heads": 2})
    target = small.folder / "sam.safetensors"
    options = yaml.safe_load(path.read_text()) | {"checkpoint": str(target)}
    path.write_text(yaml.safe_dump(options))
    save_file(build(**SIZES).state_dict(), target)
    train(path, small.folder / "out")
    save_file(build(**SIZES).state_dict(), target)  # the same name and sizes, other values
    with pytest.raises(PluginError, match="belongs to another training"):
        train(path, small.folder / "out")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epoch": 3}, SuiteError, r"train\.yaml: .*epoch.*epochs"),
        ({"epochs": 0}, SuiteError, "epochs"),
        ({"trainable": "encoder"}, SuiteError, "trainable"),
        ({"dataset": {"root": "data"}}, PluginError, "dataset: give `format:`"),
        ({"dataset": {"format": "sa-med2"}}, PluginError, "sa-med2d"),
        ({"sizes": {**SIZES, "image_size": 33}}, PluginError, "image_size 33 is no multiple of patch_size 8"),
        ({"sizes": {"image_siz": 32}}, PluginError, "sizes: .*image_siz"),
        ({"sizes": {**SIZES, "encoder_adapter": False}}, PluginError, "no adapter layers"),
        ({"checkpoint": "none.pth"}, PluginError, r"none\.pth: no such file"),
        ({"min_pixels": 5000}, DataError, "no mask of at least 5000 pixels to train on"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_bad_options_are_told_before_anything_is_written(small, config, changes, error, message):
    with pytest.raises(error, match=message):
        train(config(**changes), small.folder / "out")
    assert not (small.folder / "out").exists()


def test_a_recipe_without_its_two_parts_cannot_be_made():
    with pytest.raises(TypeError, match="build_network"):
        TrainingRecipe(dataset={})
