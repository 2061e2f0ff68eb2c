"""``preset: autopet-iv``: autoPET/CT IV, interactive track (lab-midas/autoPETCTIV at 80af68d).

| choice | as published | ``autopet-iv-strict`` |
|---|---|---|
| clicks | drawn beforehand, independent of the model: 10 pairs of a lesion and a background click; round 1 has none | the same |
| lesion click | the first deepest voxel of up to 10 lesions (26 neighbours), then shallowest voxels of the same ones | the same |
| background click | the same on what is above the 99.75th percentile of the PET outside the lesions; of a piece without an inside anywhere in the volume, where the script breaks off on a lesion (here it draws again) | inside its piece |
| seed | 42 for every case | of the case |
| DSC | undefined where there is no lesion | the same |
| FPV, FNV | ml of 18-connected pieces without an overlap | the same |
| areas | trapezoids over the 11 steps, not divided: DSC at most 10 | divided: at most 1 |
| cases without a lesion | FPV alone | the same, and how often the mask was left empty |
| missing predictions | printed and skipped | the worst value, in both |

The PET is the last channel of the image (``uptake_channel``). A model that cannot answer without a click fails round 1.
"""

from __future__ import annotations

from medeval.tasks.prompted_segmentation.presets.base import Quirk, twins

_QUIRKS = (
    Quirk("clicks", "10 pairs, drawn beforehand", "the same"),
    Quirk("background click", "of a flat piece anywhere in the volume", "inside its piece"),
    Quirk("seed", "42 for every case", "of the case"),
    Quirk("areas", "not divided: DSC at most 10", "divided: at most 1"),
    Quirk("missing predictions", "skipped by the script; the worst value here", "the same"),
)
_FIELDS = {
    "prompts": ("10 click pairs",),
    "absent": "scored",
    "metrics": ("dice", "fpv_ml", "fnv_ml"),
    "session_curve": "dice",
}

PRESETS = twins(
    "autopet-iv",
    "lab-midas/autoPETCTIV at 80af68d",
    _QUIRKS,
    published={**_FIELDS, "click_rule": "autopet", "figures": "autopet-iv"},
    strict=_FIELDS,
    defaults={"session_metrics": ("auc", "final")},
)
