"""The fixtures of uni-medical/SAM-Med3D at f3de1fa, and models filled with the weights that they were made with."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.parity.sam_med2d.cases import assert_close as close_to
from tests.parity.sam_med2d.cases import weights as drawn_weights

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[3] / "shared"
TOLERANCE = 2e-5  # relative to each array's largest value


@cache
def arrays(name: str) -> dict[str, NDArray]:
    """The arrays of ``case_<name>.npz``."""
    with np.load(HERE / f"case_{name}.npz") as file:
        return dict(file)


@cache
def table(name: str) -> Any:
    """One JSON file."""
    return json.loads((HERE / f"{name}.json").read_text())


def weights(shapes: dict[str, Any]) -> dict[str, Any]:
    """A tensor for each name and shape, by the fixtures' rule."""
    return drawn_weights(shapes, gain=1.0)


def filled_model(variant: str = "small_a", **changes: Any) -> Any:
    """A small model with the fixtures' weights."""
    from medeval_models.sam_med3d import build

    model = build(**{**table("config")[variant], **changes})
    model.load_state_dict(weights({name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}))
    return model


def assert_close(ours: Any, theirs: NDArray, tolerance: float = TOLERANCE) -> None:
    """Equal shapes, and no difference beyond ``tolerance`` of the largest value of ``theirs``."""
    close_to(ours, theirs, tolerance)


def oriented(affine: NDArray, shape: tuple[int, ...], target: float = 1.5) -> tuple[Any, Any]:
    """The ``VolumeGrid`` of a file, and what turns an array in the file's order to the grid's."""
    from nibabel import orientations

    from medeval_models.sam_med3d.grids import VolumeGrid

    affine = affine.astype(np.float32).astype(np.float64)  # as NIfTI stores it
    forward = orientations.io_orientation(affine)
    stored = np.argsort(forward[:, 0])
    grid = VolumeGrid.of(
        np.asarray(shape)[stored],
        np.linalg.norm(affine[:3, :3], axis=0)[stored],
        order=forward[:, 0].astype(int).tolist(),
        flipped=(forward[stored, 1] < 0).tolist(),
        target=target,
    )
    return grid, lambda array: orientations.apply_orientation(array, forward)
