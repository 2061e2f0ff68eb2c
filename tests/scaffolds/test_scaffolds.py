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
        ("adapter", "class", "name 'class'"),
        ("adapter", "--", "name '--'"),
    ],
)
def test_what_cannot_be_written_is_told(kind, name, message, tmp_path):
    with pytest.raises(UserError, match=message):
        scaffold(kind, name, tmp_path)
    assert list(tmp_path.iterdir()) == []
