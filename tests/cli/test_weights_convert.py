"""``medeval weights convert`` as a user types it: what messages promise is there."""

import re
import shlex

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}


class Settings:
    """A class that a training script leaves in its checkpoint."""

    def __init__(self):
        self.rate = 0.1


@pytest.fixture
def convert(small):
    """Saves a checkpoint and converts it with these arguments."""

    def run(content, *flags):
        torch.save(content, small.folder / "in.pth")
        return small.cli("weights", "convert", "in.pth", "out.safetensors", *flags)

    return run


def test_a_nested_checkpoint_becomes_its_weights(small, convert):
    done = convert({"model": STATE, "epoch": 3})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out.safetensors: 2 tensors, 8 values\n"
    assert load_file(small.folder / "out.safetensors")["layer.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_weights_below_an_unusual_key_are_found_by_the_flag_that_the_message_names(small, convert):
    done = convert({"teacher": STATE, "step": 1})
    assert done.returncode == 2
    assert "its keys: teacher, step" in done.stderr
    assert "--key KEY" in done.stderr
    assert convert({"teacher": STATE, "step": 1}, "--key", "teacher").returncode == 0
    wrong = convert({"teacher": STATE, "step": 1}, "--key", "student")
    assert "'student' holds no weights; its keys: teacher, step" in wrong.stderr


def test_the_command_that_a_refusal_promises_works_as_it_stands(small, convert):
    done = convert({"model": STATE, "settings": Settings()})
    assert done.returncode == 2
    assert not (small.folder / "out.safetensors").exists()
    promised = re.search(r"`medeval (weights convert in\.pth OUT\.safetensors [^`]*)`", done.stderr)
    assert promised is not None, done.stderr
    assert f"--ignore {Settings.__module__}.Settings" in promised[1]
    again = small.cli(*shlex.split(promised[1]))
    assert again.returncode == 0, again.stderr
    assert sorted(load_file(small.folder / "OUT.safetensors")) == sorted(STATE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert", "none.pth", "out.safetensors"), "none.pth: no such file"),
        (("convert", "in.pth", "out.pth"), "must end with .safetensors"),
        (
            ("shrink", "in.pth", "out.safetensors"),
            "there is only `medeval weights convert IN OUT.safetensors`",
        ),
    ],
    ids=["no file", "suffix", "action"],
)
def test_what_cannot_be_done_is_told(small, arguments, message):
    torch.save(STATE, small.folder / "in.pth")
    done = small.cli("weights", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
