"""Published protocols of prompted segmentation as presets, faithful with their quirks, and their strict twins.

``preset: sam-med2d`` (arXiv 2308.16184; OpenGVLab/SAM-Med2D at bfd2b93, test.py, DataLoader.py, utils.py, metrics.py):

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

from collections.abc import Mapping
from typing import Any

from medeval.types import nearest

FREE = frozenset(
    {
        "task", "preset", "name", "datasets", "models", "metrics", "by", "average", "on_failure", "structures", "batch_size",
        "session_metrics", "session_curve",
    }
)  # fmt: skip

_PROMPTS = ("box", "1 click", "3 clicks", "5 clicks", "3 points", "5 points")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "sam-med2d": {
        "prompts": _PROMPTS,
        "click_rule": "random-in-error",
        "box_rule": "largest-component",
        "point_rule": "sam-med2d",
        "frame": 256,
        "decimals": 4,
        "metrics": ("dice:empty=1", "iou:empty=1"),
        "session_curve": "iou:empty=1",
    },
    "sam-med2d-strict": {
        "prompts": _PROMPTS,
        "click_rule": "random-in-error",
        "metrics": ("dice", "iou"),
    },
}


def with_preset(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A task's fields with its preset's filled in; metrics that are given are added to the preset's.

    defaults: what a field is when nobody writes it; written out, it contradicts nothing.
    Raises ``ValueError`` for an unknown preset, or for a field that the preset fixes.
    """
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    name = given.get("preset")
    if name is None:
        return given
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; {nearest(str(name), PRESETS)}")
    fixed = PRESETS[name]
    clash = sorted(
        key for key in given if key not in FREE and given[key] != fixed.get(key, defaults.get(key))
    )
    if clash:
        raise ValueError(
            f"preset {name!r} fixes {', '.join(clash)}: a changed protocol is not the published one. Leave it out, or leave "
            "the preset out and write the fields"
        )
    metrics = (*fixed["metrics"], *(m for m in given.get("metrics") or () if m not in fixed["metrics"]))
    return {**fixed, **given, "metrics": metrics}
