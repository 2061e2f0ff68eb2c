"""The fixtures of OpenGVLab/SAM-Med2D at bfd2b93, and models filled with the weights that they were made with."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4  # relative to each array's largest value


@cache
def arrays(name: str) -> dict[str, NDArray]:
    """The arrays of ``case_<name>.npz``."""
    with np.load(HERE / f"case_{name}.npz") as file:
        return dict(file)


@cache
def table(name: str) -> dict[str, Any]:
    """One JSON file."""
    return json.loads((HERE / f"{name}.json").read_text())


def sizes(variant: str) -> dict[str, Any]:
    """``build``'s keywords of the small model ``adapter`` or ``noadapter``."""
    return {key: value for key, value in table("config")[variant].items() if key != "weight_gain"}


def weights(shapes: dict[str, Any], gain: float = 5.0) -> dict[str, Any]:
    """A tensor for each name and shape, by the fixtures' rule."""
    import torch

    filled = {}
    for name, shape in shapes.items():
        drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
        scale = len(shape) == 1 and name.endswith("weight")
        filled[name] = torch.from_numpy(
            np.asarray(1 + 0.1 * drawn if scale else 0.05 * gain * drawn, np.float32)
        )
    return filled


def filled_model(variant: str, **changes: Any) -> Any:
    """The small model with the fixtures' weights."""
    from medeval_models.sam_med2d import build

    model = build(**{**sizes(variant), **changes})
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights(shapes))
    return model


def checkpoint(variant: str, folder: Path) -> Path:
    """The small model's weights as the official training script saves them: nested, beside other things."""
    import torch

    path = folder / f"{variant}.pth"
    torch.save({"model": weights(table(f"small_keys_{variant}")), "epoch": 3}, path)
    return path


def assert_close(ours: Any, theirs: NDArray, tolerance: float = TOLERANCE) -> None:
    """Equal shapes, and no difference beyond ``tolerance`` of the largest value of ``theirs``."""
    ours = ours.detach().numpy() if hasattr(ours, "detach") else np.asarray(ours)
    assert ours.shape == theirs.shape
    if theirs.size:
        off = float(np.abs(ours.astype(np.float64) - theirs).max())
        largest = float(np.abs(theirs).max())
        assert off <= tolerance * largest, f"off by {off:.3g} where the largest value is {largest:.3g}"
