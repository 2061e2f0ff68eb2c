"""The guide's examples hold: every entry builds, and the reader of one's own runs."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "datasets.md").read_text("utf-8")
READERS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"][
    "medeval.datasets"
]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


ENTRIES = {
    name: entry for block in blocks("yaml") for name, entry in yaml.safe_load(block)["datasets"].items()
}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_of_the_guide_builds(name):
    module, cls = READERS[ENTRIES[name]["format"]].split(":")
    options = {key: value for key, value in ENTRIES[name].items() if key != "format"}
    getattr(import_module(module), cls)(**options)


def test_every_reader_is_in_the_guide():
    assert {entry["format"] for entry in ENTRIES.values()} == set(READERS)
    assert all(f"**`{name}`**" in GUIDE for name in READERS)


def test_the_guides_own_reader_reads(tmp_path, nifti):
    volume = np.zeros((3, 4, 5), np.int16)
    nifti(tmp_path / "p1" / "ct.nii.gz", volume)
    nifti(tmp_path / "p1" / "nodule.nii.gz", volume + 1)
    [block] = blocks("python")
    scope: dict = {"__name__": "guide"}
    exec(compile(block, "docs/datasets.md", "exec", dont_inherit=True), scope)
    dataset = scope["Nodules"](root=tmp_path)
    case = dataset.read("p1")
    assert case.patient == "p1"
    assert case.reference["structures"].mask("nodule").all()
    assert len(dataset.fingerprint("p1")) == 64
    assert dataset.check() == []
