"""A trained source network, once a process, and a world of target pictures around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from target_world import World, trained_source


@pytest.fixture(scope="session")
def source_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small U-Net; skipped without PyTorch."""
    return trained_source(tmp_path_factory.mktemp("source") / "source.pth")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source_checkpoint: Path) -> World:
    """Target training and test pictures; the working directory is theirs."""
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, source_checkpoint)
