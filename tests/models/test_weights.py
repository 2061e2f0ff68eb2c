"""Checkpoints of strangers: read without running what they hold, and told apart by name."""

import argparse
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

from medeval_models.weights import WeightsError, convert, load_weights, read_weights  # noqa: E402


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def trained():
    model = network()
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return model, optimiser


def equal(found, model):
    state = model.state_dict()
    return set(found) == set(state) and all(torch.equal(found[name], state[name]) for name in state)


class Shout:
    """Pickles as a call of ``os.system`` that leaves a file."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def leave(path):
    path.touch()


class Call:
    """Pickles as a call of ``leave``."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return leave, (self.path,)


class Config:
    """What some project pickles beside its weights."""

    ran = False

    def __init__(self):
        self.depth = 3

    def __setstate__(self, state):
        type(self).ran = True


# -- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": state, "best": 0.5, "name": "run 1"},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model_state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["flat", "model", "state_dict", "data-parallel", "nested data-parallel"],
)
def test_weights_are_found_where_training_scripts_put_them(tmp_path, wrap):
    model = network()
    torch.save(wrap(model.state_dict()), tmp_path / "a.pth")
    assert equal(read_weights(tmp_path / "a.pth"), model)


def test_a_key_says_which_of_several_weights_is_meant(tmp_path):
    model, other = network(), network()
    torch.save({"model": other.state_dict(), "ema": model.state_dict()}, tmp_path / "a.pth")
    assert equal(read_weights(tmp_path / "a.pth", key="ema"), model)
    with pytest.raises(WeightsError, match="'emma' holds no weights; its keys: model, ema"):
        read_weights(tmp_path / "a.pth", key="emma")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_training_checkpoints_with_objects_beside_the_weights_are_read(tmp_path, zipped):
    model, optimiser = trained()
    content = {
        "model": model.state_dict(),
        "optimizer": optimiser,
        "scheduler": torch.optim.lr_scheduler.MultiStepLR(optimiser, [5, 10]),
        "args": argparse.Namespace(lr=1e-4, out=pathlib.Path("runs"), steps=[1, 2], more={"a": 1}),
        "best": np.float64(0.7),
        "curve": np.arange(3.0),
    }
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.pth", weights_only=True)
    assert equal(read_weights(tmp_path / "a.pth"), model)


def test_the_process_s_list_of_safe_globals_is_as_before(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save({"model": network().state_dict()}, tmp_path / "a.pth")
    read_weights(tmp_path / "a.pth")
    assert set(torch.serialization.get_safe_globals()) == before


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_file_with_code_is_refused_and_nothing_of_it_runs(tmp_path, form):
    touched = tmp_path / "touched"
    content = {"model": network().state_dict() if form != "pickle" else {}, "args": Shout(f"touch {touched}")}
    path = tmp_path / "evil.pth"
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError) as refused:
        read_weights(path)
    assert not touched.exists()
    for word in (str(path), "system", "Nothing was run", "medeval weights convert", "sandboxed process"):
        assert word in str(refused.value)


def test_an_unknown_class_is_refused_by_name_and_can_be_ignored(tmp_path):
    model = network()
    torch.save({"model": model.state_dict(), "config": Config()}, tmp_path / "a.pth")
    name = f"{Config.__module__}.Config"
    with pytest.raises(WeightsError, match=f"--ignore {name}"):
        read_weights(tmp_path / "a.pth")
    assert equal(read_weights(tmp_path / "a.pth", ignore=[name]), model)
    assert Config.ran is False


def test_what_means_harm_cannot_be_ignored_and_even_an_ignored_call_is_not_run(tmp_path):
    touched = tmp_path / "touched"
    torch.save({"model": network().state_dict(), "args": Shout(f"touch {touched}")}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"Nothing was run\. Otherwise"):
        read_weights(tmp_path / "a.pth", ignore=[f"{os.system.__module__}.system"])
    assert not touched.exists()

    torch.save({"model": network().state_dict(), "args": Call(touched)}, tmp_path / "b.pth")
    read_weights(tmp_path / "b.pth", ignore=[f"{__name__}.leave"])
    assert not touched.exists()


@pytest.mark.parametrize("suffix", ["pth", "old.pth", "safetensors"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_half_a_file_is_told_as_such(tmp_path, suffix, part):
    state = nn.Linear(40, 40).state_dict()
    whole, half = tmp_path / f"whole.{suffix}", tmp_path / f"half.{suffix}"
    if suffix == "safetensors":
        save_file(state, whole)
    else:
        torch.save({"model": state}, whole, _use_new_zipfile_serialization=suffix == "pth")
    half.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
    with pytest.raises(WeightsError, match=r"is no whole checkpoint.*download it again"):
        read_weights(half)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"just some text\n" * 20, "is no whole checkpoint"),
    ],
    ids=["empty", "lfs", "html", "text"],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_a_failed_download_leaves_is_recognised(tmp_path, content, message, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="is a folder"):
        read_weights(tmp_path)


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3, "loss": 0.1}, torch.zeros(3)], ids=str)
def test_a_file_without_weights_says_what_it_holds(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"no weights found|not a mapping"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.trace(network(), torch.ones(1, 3)).save(tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_weights(tmp_path / "a.pt")


# -- what fits -------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_told_by_name_and_the_model_is_left_alone():
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {**network().state_dict(), "2.weight": torch.zeros(5, 4), "head.weight": torch.zeros(1)}
    del state["0.bias"]
    with pytest.raises(WeightsError) as told:
        load_weights(model, state, source="mine.pth")
    assert str(told.value) == (
        "mine.pth does not fit this Sequential: 1 missing (0.bias); 1 unexpected (head.weight); "
        "1 of another shape (2.weight (5, 4) instead of (2, 4))"
    )
    assert equal(before, model)


def test_long_lists_of_names_are_cut_and_counted():
    state = {f"layer{n}.weight": torch.zeros(1) for n in range(20)}
    with pytest.raises(WeightsError, match=r"20 unexpected \(layer0.weight, .* and 12 more\)"):
        load_weights(nn.Sequential(), state)


def test_fresh_and_dropped_names_are_said():
    model, other = network(), network()
    first = model.state_dict()["2.weight"].clone()
    report = load_weights(
        model, {**other.state_dict(), "extra.weight": torch.zeros(1)}, fresh=["2."], drop=["extra"]
    )
    assert (report.loaded, report.fresh, report.dropped) == (2, ("2.bias", "2.weight"), ("extra.weight",))
    assert torch.equal(model.state_dict()["2.weight"], first)
    assert torch.equal(model.state_dict()["0.weight"], other.state_dict()["0.weight"])


def test_half_precision_weights_go_into_a_float32_model():
    model = network()
    load_weights(model, {name: tensor.half() for name, tensor in model.state_dict().items()})
    assert all(tensor.dtype == torch.float32 for tensor in model.state_dict().values())


# -- conversion ------------------------------------------------------------------------------------------------------


def test_convert_writes_the_weights_alone(tmp_path):
    model, optimiser = trained()
    torch.save({"model": model.state_dict(), "optimizer": optimiser}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "out" / "a.safetensors")
    assert equal(load_file(tmp_path / "out" / "a.safetensors"), model)
    assert equal(read_weights(tmp_path / "out" / "a.safetensors"), model)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.safetensors"]


def test_convert_writes_tied_and_strided_tensors(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": shared, "b": shared, "c": shared.T}, tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert torch.equal(read_weights(tmp_path / "a.safetensors")["c"], shared.T)


def test_convert_wants_a_safetensors_target_and_leaves_nothing_when_it_fails(tmp_path):
    torch.save(network().state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"must end with \.safetensors"):
        convert(tmp_path / "a.pth", tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="no such file"):
        convert(tmp_path / "none.pth", tmp_path / "b.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_importing_the_loader_does_not_load_torch():
    code = (
        "import sys, medeval_models.weights; print([m for m in ('torch', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
