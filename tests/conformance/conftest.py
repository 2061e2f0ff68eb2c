"""What the planted bugs and the first-party models are built with."""

from __future__ import annotations

import pytest
from first_party import World


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug that writes files does not write them into the project."""
    monkeypatch.chdir(tmp_path_factory.mktemp("working"))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Options of registered names, in a folder of their own."""
    return World(tmp_path_factory.mktemp("first_party"))


@pytest.fixture(scope="session")
def bright(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Options of ``torch-segmenter`` around a network of one weight that finds what is bright."""
    torch = pytest.importorskip("torch")
    network = torch.nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1))
        network.bias.copy_(torch.tensor([0.5, -0.5]))
    checkpoint = tmp_path_factory.mktemp("bright") / "bright.pth"
    torch.save(network.state_dict(), checkpoint)
    arguments = {"in_channels": 1, "out_channels": 2, "kernel_size": 1}
    return {
        "builder": "torch.nn:Conv2d", "arguments": arguments, "checkpoint": str(checkpoint), "device": "cpu", "channels": [0],
        "intensity": "range", "scale": [0.0, 1.0],
    }  # fmt: skip
