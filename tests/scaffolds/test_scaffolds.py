"""What ``medeval new`` writes works as it is: its own tests pass."""

import subprocess
import sys

import pytest

from medeval.scaffolds import KINDS, scaffold
from medeval.types import UserError


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_own_test(kind, tmp_path):
    code, test = scaffold(kind, f"my-{kind}", tmp_path)
    assert code.name == f"my_{kind}.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name], cwd=tmp_path, text=True, capture_output=True
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_overwritten(tmp_path):
    scaffold("adapter", "mine", tmp_path)
    with pytest.raises(UserError, match=r"mine\.py exists already"):
        scaffold("adapter", "mine", tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("adaptor", "mine", "nothing to write for 'adaptor'.*adapter"),
        ("adapter", "3d", "name '3d': letters, digits"),
        ("adapter", "class", "name 'class'.*my-adapter would do"),
        ("adapter", "--", "name '--'"),
        ("dataset", "", "name ''.*my-dataset would do"),
        ("adapter", "my model", "name 'my model'.*my-model would do"),
        ("task", "übung", "name 'übung'.*ubung would do"),
        ("adapter", "../mine", r"name '\.\./mine'.*mine would do"),
        ("adapter", "test_mine", "name 'test_mine'.*mine would do"),
        ("adapter", "numpy", r"numpy\.py would hide the module 'numpy'.*my-numpy would do"),
        ("dataset", "json", r"json\.py would hide the module 'json'"),
        ("task", "medeval", r"medeval\.py would hide the module 'medeval'"),
        ("adapter", "image", "class Image would hide the Image that its file needs; my-image would do"),
        ("dataset", "mask-stack", "class MaskStack would hide"),
        ("task", "exception", "class Exception would hide"),
    ],
)
def test_what_cannot_be_written_is_told(kind, name, message, tmp_path):
    with pytest.raises(UserError, match=message):
        scaffold(kind, name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["CT-Net", "x_y", "unet2", "a"])
def test_names_become_modules_and_classes(name, tmp_path):
    code, _ = scaffold("adapter", name, tmp_path)
    assert code.stem.isidentifier()
    assert code.stem == code.stem.lower()


def test_the_command_says_what_to_do_next_and_that_works(tmp_path):
    def medeval(*words):
        command = [sys.executable, "-m", "medeval.cli", *words]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)

    written = medeval("new", "adapter", "ct-net", "--folder", "models")
    assert written.returncode == 0, written.stderr
    assert "medeval check models/ct_net.py:CtNet" in written.stdout
    checked = medeval("check", "models/ct_net.py:CtNet")
    assert checked.returncode == 0, checked.stdout
    assert "fail" not in checked.stdout
