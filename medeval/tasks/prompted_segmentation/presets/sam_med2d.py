"""``preset: sam-med2d`` (arXiv 2308.16184; OpenGVLab/SAM-Med2D at bfd2b93, test.py, DataLoader.py, utils.py, metrics.py).

| choice | as the script does it | ``sam-med2d-strict`` |
|---|---|---|
| frame | images that reach 256 pixels are stretched to 256 x 256, prompts drawn there | the image's own grid |
| box | of the largest 8-connected component, half-open, no jitter (max_pixel=0 since 22 Mar 2024) | of the whole structure |
| clicks | "1/3/5 pts" read as iter_point 1/3/5: the first uniform on the structure, each next uniform over all error pixels; they accumulate, the mask prompt is the last answer | the same |
| points at once | the other reading (point_num N): N//2 on the structure, the rest on the background, with replacement | N on the structure |
| score | Dice and IoU at original size, both empty = 1, each rounded to 4 decimals | not rounded; both empty is undefined and counted |
| mean | over masks, whatever their image, patient or modality | the same, and macro by structure stands beside it |
| split | random 20% of images: patients leak | the dataset's `split: K/N` cuts by patient |

Both get intervals over patients; the paper has none. What the preset does not repeat: with nothing wrong in the mask the
script draws points that the prompt encoder ignores and asks again, here the mask is carried on.
"""

from __future__ import annotations

from medeval.tasks.prompted_segmentation.presets.base import Quirk, twins

_PROMPTS = ("box", "1 click", "3 clicks", "5 clicks", "3 points", "5 points")

_QUIRKS = (
    Quirk("frame", "stretched to 256 x 256, prompts drawn there", "the image's own grid"),
    Quirk("box", "of the largest 8-connected component", "of the whole structure"),
    Quirk("clicks", "uniform over the structure, then over all wrong pixels", "the same"),
    Quirk("points at once", "half of them on the background", "all on the structure"),
    Quirk(
        "score", "both empty = 1; rounded to 4 decimals", "not rounded; both empty is undefined and counted"
    ),
    Quirk("mean", "over masks", "the same"),
    Quirk("split", "random 20% of images", "the dataset's `split: K/N` cuts by patient"),
)

PRESETS = twins(
    "sam-med2d",
    "arXiv 2308.16184; OpenGVLab/SAM-Med2D at bfd2b93",
    _QUIRKS,
    published={
        "prompts": _PROMPTS,
        "click_rule": "random-in-error",
        "box_rule": "largest-component",
        "point_rule": "sam-med2d",
        "frame": 256,
        "decimals": 4,
        "metrics": ("dice:empty=1", "iou:empty=1"),
        "session_curve": "iou:empty=1",
    },
    strict={"prompts": _PROMPTS, "click_rule": "random-in-error", "metrics": ("dice", "iou")},
)
