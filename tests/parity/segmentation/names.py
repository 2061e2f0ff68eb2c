"""Our names, and the peer whose definition each follows: (peer, its key, relative tolerance)."""

from __future__ import annotations

EXACT = 1e-6
SINGLE = 1e-5  # MONAI computes in float32

OVERLAP = [
    ("dice", "surface_distance", "dice", EXACT),
    ("dice", "medpy", "dc", EXACT),
    ("dice", "metrics_reloaded", "dsc", EXACT),
    ("dice", "metrics_reloaded", "fbeta", EXACT),
    ("dice", "panoptica_binary", "DSC", EXACT),
    ("dice", "monai", "dice", SINGLE),
    ("dice", "seg_metrics_fully_connected", "dice", EXACT),
    ("dice", "simpleitk", "dice", EXACT),
    ("iou", "medpy", "jc", EXACT),
    ("iou", "metrics_reloaded", "iou", EXACT),
    ("iou", "panoptica_binary", "IOU", EXACT),
    ("iou", "monai", "iou", SINGLE),
    ("iou", "simpleitk", "jaccard", EXACT),
    ("precision", "medpy", "precision", EXACT),
    ("precision", "metrics_reloaded", "ppv", EXACT),
    ("recall", "medpy", "recall", EXACT),
    ("recall", "metrics_reloaded", "sensitivity", EXACT),
    ("rvd", "medpy", "ravd", EXACT),
    ("rvd", "panoptica_binary", "RVD", EXACT),
    ("rvd:absolute", "metrics_reloaded", "avdr", EXACT),
    ("rvd:absolute", "panoptica_binary", "RVAE", EXACT),
]

SURFACE = [
    ("hd", "medpy", "hd", EXACT),
    ("hd", "metrics_reloaded", "hd", EXACT),
    ("hd", "panoptica_binary", "HD", EXACT),
    ("hd", "monai", "hd", SINGLE),
    ("hd:surfel", "surface_distance", "hausdorff_100", EXACT),
    ("hd95", "metrics_reloaded", "hd_perc_95", EXACT),
    ("hd95", "monai", "hd95", SINGLE),
    ("hd95:pooled", "medpy", "hd95", EXACT),
    ("hd95:pooled", "panoptica_binary", "HD95", EXACT),
    ("hd95:surfel", "surface_distance", "hausdorff_95", EXACT),
    ("assd", "medpy", "assd", EXACT),
    ("assd", "metrics_reloaded", "assd", EXACT),
    ("assd", "monai", "assd", SINGLE),
    ("masd", "metrics_reloaded", "masd", EXACT),
    ("masd", "panoptica_binary", "ASSD", EXACT),
    ("asd", "medpy", "asd_pred_to_ref", EXACT),
    ("asd", "monai", "asd_pred_to_ref", SINGLE),
]


def surface_dice(tolerance: float) -> list[tuple[str, str, str, float]]:
    """The surface Dice variants at one tolerance (mm)."""
    t = f"{tolerance:g}"
    return [
        (f"nsd@{t}mm", "surface_distance", f"surface_dice_{t}", EXACT),
        (f"nsd@{t}mm", "monai", f"surface_dice_subvoxel_{t}", SINGLE),
        (f"nsd@{t}mm:voxel", "metrics_reloaded", f"nsd_{t}", EXACT),
        (f"nsd@{t}mm:voxel", "monai", f"surface_dice_{t}", SINGLE),
        (f"nsd@{t}mm:fractions", "panoptica_binary", f"NSD_{t}", EXACT),
    ]
