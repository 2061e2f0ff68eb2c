"""``preset: sam-med3d`` (arXiv 2310.15161; uni-medical/SAM-Med3D, utils/infer_utils.py and metric_utils.py).

| choice | as published | ``sam-med3d-strict`` |
|---|---|---|
| prompts | 1, 3, 5, 10 clicks a volume; all clicks and the last logits are fed back | the same |
| click rule | uniform on the structure, then uniform over the wrong voxels; a perfect mask gets a click on the structure and is asked again | a perfect mask is carried on |
| crop | 128^3 at 1.5 mm, centred on the box of the TARGET; clicks fall inside it | none: the whole volume, as a user has it |
| score | Dice and NSD (1 mm) on the volume's own grid | the same |
| empty masks | both empty: undefined | the same |
| mean | over categories, whatever their number of cases (what the tables show; the script pools all) | the same |
| failures | a prediction that is missing is not noticed | the worst value |

The crop is 192 mm wide; clicks are drawn on the volume's own grid, where the script draws them on that of 1.5 mm. A model
that takes boxes is told the structure's box in every round, for its crop (``sam-med3d: {patch: target}``): the target's
place and size leak there as they do in the paper. Models that take points alone are told nothing.
Tables are by structure, anatomy and seen or unseen (``medeval.tasks.prompted_segmentation.anatomy``); where cases know their modality, write
``by: [structure, modality, anatomy, seen]``.
The strict twin tells no box: there the adapter's `patch: clicks` (its default) or `tiled` is what can be asked.
Of older scripts nothing is repeated: they report the maximum over the clicks, and inside the crop. Failures count as the
worst value here, too; that is the one mend that the preset itself has.
"""

from __future__ import annotations

from medeval.tasks.prompted_segmentation.presets.base import Quirk, twins

_PROMPTS = ("1 click", "3 clicks", "5 clicks", "10 clicks")
_METRICS = ("dice", "nsd@1mm")

_QUIRKS = (
    Quirk("clicks", "1, 3, 5, 10 a volume, uniform over the wrong voxels", "the same"),
    Quirk("perfect mask", "clicked on the structure and asked again", "carried on"),
    Quirk("crop", "192 mm around the target's box, from the truth", "none: the whole volume"),
    Quirk("mean", "over categories", "the same"),
    Quirk("failures", "not noticed by the script; counted as worst here", "the same"),
)

PRESETS = twins(
    "sam-med3d",
    "arXiv 2310.15161; uni-medical/SAM-Med3D",
    _QUIRKS,
    published={
        "prompts": _PROMPTS,
        "click_rule": "sam-med3d",
        "crop": 192.0,
        "metrics": _METRICS,
        "session_curve": "dice",
    },
    strict={
        "prompts": _PROMPTS,
        "click_rule": "random-in-error",
        "metrics": _METRICS,
        "session_curve": "dice",
    },
    defaults={"average": "structures", "by": ("structure", "anatomy", "seen")},
)
