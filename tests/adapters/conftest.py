"""A small SAM-Med3D with random weights."""

from pathlib import Path

import pytest
from sam_med3d_world import SMALL, count_encodings


@pytest.fixture(scope="session")
def med3d_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights as the official training script saves them, argparse's namespace and all."""
    import argparse

    torch = pytest.importorskip("torch")
    from medeval_models import sam_med3d

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    state = {name: 1.5 * value for name, value in sam_med3d.build(**SMALL).state_dict().items()}
    beside = {"epoch": 3, "args": argparse.Namespace(lr=1e-4), "losses": [0.5], "best_dice": 0.9}
    torch.save({"model_state_dict": state, **beside}, path)
    return path


@pytest.fixture(scope="session")
def med3d(med3d_checkpoint: Path):
    """Makes adapters with these weights; ``encoded`` lists how many patches each call of the encoder took."""

    def made(**options):
        from medeval_adapters.sam_med3d import SAMMed3D

        adapter = SAMMed3D(checkpoint=med3d_checkpoint, device="cpu", **options)
        adapter.encoded = count_encodings(adapter)
        return adapter

    return made
