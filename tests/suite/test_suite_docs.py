"""The suite that the documentation shows is a suite that loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medeval.plugins import names
from medeval.suite import Suite

DOCS = Path(__file__).parents[2] / "docs" / "suite.md"


def test_the_documented_suite_loads(tmp_path):
    if "random-walker" not in names("medeval.adapters"):
        pytest.skip("medeval's entry points are not installed")
    (tmp_path / "suite.yaml").write_text(re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)[0])
    (tmp_path / "my_models.py").write_text(
        "class MySegmenter:\n    def __init__(self, threshold: float = 0.5) -> None: ...\n"
    )
    suite = Suite.load(tmp_path / "suite.yaml")
    assert len(suite.cells()) == 2
    assert suite.model_specs["mine"].timeout == 60
