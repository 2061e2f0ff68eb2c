"""The fixtures of HiLab-git/UPL-SFDA at 1f62b92, and networks filled with the weights that they were made with."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent


@cache
def arrays(name: str) -> dict[str, NDArray]:
    """The arrays of ``case_<name>.npz``."""
    with np.load(HERE / f"case_{name}.npz") as file:
        return dict(file)


def tensors(name: str) -> dict[str, Any]:
    """The same as tensors; the test may change them."""
    import torch

    return {key: torch.from_numpy(np.array(value)) for key, value in arrays(name).items()}


@cache
def table(name: str) -> Any:
    """One JSON file."""
    return json.loads((HERE / f"{name}.json").read_text())


def fill(model: Any) -> Any:
    """The model with every entry drawn by its name."""
    import torch

    state = {
        name: torch.from_numpy(_entry(name, tuple(tensor.shape)))
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
    model.load_state_dict(state, strict=False)
    return model


def _entry(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        drawn = 1 + 0.1 * np.abs(drawn)
    elif name.endswith("running_mean"):
        drawn = 0.1 * drawn
    elif len(shape) == 1 and name.endswith("weight"):
        drawn = 1 + 0.1 * drawn
    else:
        drawn = 0.05 * drawn
    return np.asarray(drawn, dtype=np.float32)


def close(ours: Any, theirs: Any, atol: float = 1e-5, rtol: float = 0.0) -> None:
    """Equal shapes and values."""
    ours = ours.detach().numpy() if hasattr(ours, "detach") else np.asarray(ours)
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=atol, rtol=rtol)
