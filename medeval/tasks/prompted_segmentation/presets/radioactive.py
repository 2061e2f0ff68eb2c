"""``preset: radioactive``: RadioActive (arXiv 2411.07885; MIC-DKFZ/radioactive at 1796386), formerly IntRaBench.

| choice | as published | ``radioactive-strict`` |
|---|---|---|
| realistic prompts | points or boxes in 1, 3, 5 slices, interpolated between; a point may lie beside a bent structure | the same |
| unrealistic prompts | a point or a box on every slice | the same |
| point of a slice | nearest to the middle of the box of its largest piece | the same |
| refinement | with probability FN / (FN + FP) a point on each slice of the largest missed piece, else a scribble on the worst plane across the second array axis; at most 5 | the same |
| seed | 1 at every scribble, whatever the configuration says; the choice between the two is unseeded (ours here) | of case, structure and round |
| history | the newest points with the last mask; "previous prompts passed again" is another prompter | all points |
| early stop | a right mask is repeated to six results | the same (``carried``) |
| empty target | an empty prediction with performance 0, the model is not asked | undefined and counted, in both |
| effort | "degrees of freedom", which the code returns as 0 | clicks, boxes, lines, slices, mm, in both |

Lesions are prompted one by one where the dataset gives instances. Models that take no ``boxes`` are not asked for them.
"""

from __future__ import annotations

from medeval.tasks.prompted_segmentation.presets.base import Quirk, twins

_QUIRKS = (
    Quirk("prompts", "in 1, 3, 5 slices, interpolated; or on every slice", "the same"),
    Quirk("seed", "1 at every scribble", "of case, structure and round"),
    Quirk("history", "the newest points with the last mask", "all points"),
    Quirk("empty target", "performance 0, not asked; undefined and counted here", "the same"),
    Quirk("effort", "returned as 0; counted here", "the same"),
)
_FIELDS = {
    "prompts": (
        "1 slice box", "3 slice boxes", "5 slice boxes", "3 slice points", "5 slice points + 5 clicks", "box",
        "point per slice", "box per slice",
    ),
    "metrics": ("dice", "nsd@2mm"),
    "session_curve": "dice",
}  # fmt: skip

PRESETS = twins(
    "radioactive",
    "arXiv 2411.07885; MIC-DKFZ/radioactive at 1796386",
    _QUIRKS,
    published={**_FIELDS, "click_rule": "radioactive-seed-1", "history": "newest"},
    strict={**_FIELDS, "click_rule": "radioactive"},
    defaults={"session_metrics": ("auc", "final")},
)
