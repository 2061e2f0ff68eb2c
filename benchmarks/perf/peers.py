"""The peers, called as their documentation shows, and which of our names each of their numbers answers to.

Each peer is a function (prediction, reference, spacing) -> {our name: its value}, over bool masks of any size; it
computes what it can of {dice, hd, hd95, assd, nsd@1mm, nsd@2mm}.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

Function = Callable[[np.ndarray, np.ndarray, tuple[float, ...]], dict[str, float]]


class Peer(NamedTuple):
    """One peer.

    exact: relative difference that its numbers may have from ours; None for the names in ``other``.
    other: names that it defines in another way: computed and timed, not compared.
    """

    distribution: str
    call: Function
    exact: float = 1e-9
    other: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Name and version for tables."""
        return f"{self.distribution} {version(self.distribution)}"


def deepmind(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """google-deepmind/surface-distance; it crops by itself."""
    import surface_distance as sd

    for name, value in (("Inf", np.inf), ("NaN", np.nan)):  # release 0.1 uses names that numpy 2 dropped
        if not hasattr(np, name):
            setattr(np, name, value)
    found = sd.compute_surface_distances(reference, prediction, spacing)
    return {
        "dice": sd.compute_dice_coefficient(reference, prediction),
        "hd:surfel": sd.compute_robust_hausdorff(found, 100),
        "hd95:surfel": sd.compute_robust_hausdorff(found, 95),
        "masd:surfel": sum(sd.compute_average_surface_distance(found)) / 2,
        "nsd@1mm": sd.compute_surface_dice_at_tolerance(found, 1),
        "nsd@2mm": sd.compute_surface_dice_at_tolerance(found, 2),
    }


def monai(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """MONAI's functions on a batch of one with one channel."""
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    torch.set_num_threads(1)  # one thread against one thread

    one, two = (
        torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (prediction, reference)
    )
    both = {"include_background": True, "spacing": spacing}
    return {
        "dice": float(compute_dice(one, two)),
        "hd": float(compute_hausdorff_distance(one, two, **both)),
        "hd95": float(compute_hausdorff_distance(one, two, percentile=95, **both)),
        "assd": float(compute_average_surface_distance(one, two, symmetric=True, **both)),
        "nsd@1mm:voxel": float(compute_surface_dice(one, two, [1.0], **both)),
        "nsd@2mm:voxel": float(compute_surface_dice(one, two, [2.0], **both)),
    }


def medpy(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """MedPy; it has no surface Dice."""
    from medpy.metric import binary

    return {
        "dice": binary.dc(prediction, reference),
        "hd": binary.hd(prediction, reference, spacing),
        "hd95:pooled": binary.hd95(prediction, reference, spacing),
        "assd": binary.assd(prediction, reference, spacing),
    }


def panoptica(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """panoptica's metrics on one pair of masks."""
    from panoptica.metrics import Metric

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = partial(dict, reference_arr=reference, prediction_arr=prediction)
        return {
            "dice": Metric.DSC(**call()),
            "hd": Metric.HD(**call(), voxelspacing=spacing),
            "hd95:pooled": Metric.HD95(**call(), voxelspacing=spacing),
            "masd": Metric.ASSD(**call(), voxelspacing=spacing),
        }


def seg_metrics(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]
) -> dict[str, float]:
    """seg-metrics; its contour is thicker, so only Dice is the same number."""
    import contextlib
    import io

    import seg_metrics.seg_metrics as sg

    with contextlib.redirect_stdout(io.StringIO()):
        found = sg.write_metrics(
            labels=[1],
            gdth_img=reference.astype(np.uint8),
            pred_img=prediction.astype(np.uint8),
            spacing=np.array(spacing),
            metrics=["dice", "hd", "hd95", "msd"],
        )
    found = found[0] if isinstance(found, list) else found
    return {"dice": found["dice"][0], "hd": found["hd"][0], "hd95": found["hd95"][0], "assd": found["msd"][0]}


PEERS = {
    "DeepMind": Peer("surface-distance", deepmind),
    "MONAI": Peer("monai", monai, exact=2e-4),
    "MedPy": Peer("medpy", medpy),
    "panoptica": Peer("panoptica", panoptica),
    "seg-metrics": Peer("seg-metrics", seg_metrics, other=("hd", "hd95", "assd")),
}
