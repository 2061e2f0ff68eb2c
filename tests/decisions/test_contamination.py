"""A model that declares its training sets is told where it is evaluated on them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from small_world import Small

from medeval.engine.describe import warnings
from medeval.engine.plan import Plan
from medeval.suite import Suite
from medeval.types import SuiteError


def told(small: Small, *trained_on: str, **models: Any) -> list[str]:
    path = small.suite(models={"mine": small.model(trained_on=list(trained_on))} | models)
    return [line for line in warnings(Plan(Suite.load(path))) if "train" in line]


@pytest.mark.parametrize("name", ["pics", "PICS", "Pics "])
def test_the_datasets_name_is_met_however_it_is_written(small: Small, name: str) -> None:
    (line,) = told(small, name)
    assert line.startswith("mine declares")
    assert "evaluated on pics" in line


@pytest.mark.parametrize("declared", [(), ("other data",), ("pic",)])
def test_other_names_are_silent(small: Small, declared: tuple[str, ...]) -> None:
    assert told(small, *declared) == []


def test_cases_are_met_by_their_files_hashes(small: Small) -> None:
    small.suite()
    images = (
        sorted((small.folder / "pics").rglob("*.png"))[:2] or sorted(small.folder.rglob("images/*.png"))[:2]
    )
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in images]
    Path("train.sha256").write_text("\n".join(lines))
    (line,) = told(small, "train.sha256")
    assert "2 of " in line
    assert "train.sha256 lists as training data" in line


def test_a_file_without_hashes_is_told(small: Small) -> None:
    Path("train.txt").write_text("case 1\ncase 2\n")
    with pytest.raises(SuiteError, match="without SHA-256 hashes"):
        told(small, "train.txt")
