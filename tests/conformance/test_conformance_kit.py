"""What cannot be checked is told; one bug is one line; the command's options, exit code and table."""

import subprocess
import sys

import pytest

from medeval.conformance import check_model, findings_table
from medeval.types import PluginError

MINE = """
import numpy as np
from medeval.types import Capabilities, Segmentation

class Mine:
    takes = Capabilities(dimensions=frozenset({{{takes}}}))

    def encode(self, image):
        return image.grid.shape

    def segment(self, encoded, prompts):
        return [Segmentation({mask}) for _ in prompts]
"""


def alarms(found):
    return [finding for finding in found if finding.verdict == "fail"]


@pytest.mark.parametrize(
    ("reference", "task", "message"),
    [
        ("empty", "mini-cex", "it needs the methods `ask`"),
        ("empty", "chess", "task 'chess' has no conformance checks; prompted-segmentation, "),
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
    assert "`encode(image)` and `segment(encoded, prompts)`" in found[0].mend
    assert "Capabilities(dimensions=frozenset({2}))" in found[0].mend


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


def test_one_bug_is_one_line(tmp_path):
    """Checks that rest on another are noted as not made, not failed by accident."""
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(takes="2", mask="np.random.random(encoded) > 0.5"))
    found = check_model(f"{file}:Mine")
    assert [finding.check for finding in alarms(found)] == ["determinism"]
    unmade = [
        finding
        for finding in found
        if finding.what.startswith("not checked: says nothing unless `determinism`")
    ]
    assert {finding.check for finding in unmade} >= {"no hidden state", "batch invariance", "another process"}


@pytest.mark.parametrize("takes", ["", "4"])
def test_dimensions_that_there_are_not_are_told(takes, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(takes=takes, mask="np.zeros(encoded, bool)"))
    with pytest.raises(PluginError, match=r"takes\.dimensions"):
        check_model(f"{file}:Mine")


def test_a_mask_in_any_memory_order_conforms(tmp_path):
    """The tasks take it as it comes."""
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(takes="2", mask="np.asfortranarray(np.zeros(encoded, bool))[::-1]"))
    assert alarms(check_model(f"{file}:Mine")) == []


def test_studies_of_a_users_own_dataset(tmp_path):
    (tmp_path / "studies.csv").write_text("age,y\n50,1\n60,0\n70,1\n")
    (tmp_path / "mine.py").write_text(
        "class Old:\n    def classify(self, inputs):\n        return inputs['age'] / 100\n"
    )
    table = {"format": "table", "file": "studies.csv", "inputs": {"age": "age"}, "reference": {"label": "y"}}
    found = check_model("mine.py:Old", base=tmp_path, data=table)
    assert alarms(found) == []
    assert "KeyError: 'age'" in check_model("mine.py:Old", base=tmp_path)[0].what


@pytest.mark.parametrize(("data", "message"), [("{file: x}", "format: ..."), ("[", "format: ...")])
def test_a_dataset_that_is_none_is_told(data, message):
    command = [sys.executable, "-m", "medeval.cli", "check", "oracle", "--data", data]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
