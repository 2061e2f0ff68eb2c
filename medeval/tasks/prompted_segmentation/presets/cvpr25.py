"""``preset: cvpr25-interactive``: CVPR 2025, Foundation Models for Interactive 3D Biomedical Image Segmentation.

JunMa11/CVPR-MedSegFMCompetition at 748e862, CVPR25_iter_eval.py and get_boxes.py.

| choice | as the script does it | ``cvpr25-interactive-strict`` |
|---|---|---|
| box | of the middle slice (element n // 2 of those that hold the structure) with the range of slices; widened on all sides by ``int(s * side / 256)`` with one s of {0..5}; it need not enclose the structure | the tight box of the whole structure |
| no box | the round is skipped and counts 0; here the setting ``5 clicks`` | the same |
| click | one of the deepest voxels of the largest piece of the error (26 neighbours), whichever kind it is; missed and extra voxels that touch are one piece; depth in voxels | deepest voxel, in mm, of the largest piece of missed or of extra voxels |
| ties | number ``RandomState(42).choice(n)`` at every click, so that clicks repeat | first in C order, voxels clicked before are passed over |
| one call | all classes at once, also those that are right: their masks may change | right masks are carried on |
| DSC | per case the mean over the classes of the reference | the same |
| NSD | 2 mm; 0 for a case whose mean DSC is 0.2 or less | 2 mm, as measured |
| areas | trapezoids over the five click rounds, not divided: at most 4 | divided: at most 1 (``auc``) |
| failures | a case without its last file is left out; an exception abandons the rest of the cases | the worst value, in both |
| time | 90 s a class and case, the container's start included; only warned of | told, in neither scored |

Both are for volumes; arrays are as the reader gives them (ties are numbered in their C order, where the script's are
z, y, x). Labels are the reference's own names: what the script gets wrong where they are not 1, 2, 3 is not repeated.
"""

from __future__ import annotations

from medeval.tasks.prompted_segmentation.presets.base import Quirk, twins

_QUIRKS = (
    Quirk(
        "box",
        "the middle slice's, randomly widened, with the range of slices",
        "tight, of the whole structure",
    ),
    Quirk(
        "click",
        "in the largest piece of the error of both kinds",
        "in the largest piece of missed or of extra voxels",
    ),
    Quirk("depth", "in voxels", "in mm"),
    Quirk(
        "ties", "seed 42 at every click: clicks repeat", "the first; voxels clicked before are passed over"
    ),
    Quirk("one call", "all classes, also those that are right", "right masks are carried on"),
    Quirk("NSD", "0 for a case whose mean DSC is at most 0.2", "as measured"),
    Quirk("areas", "not divided: at most 4", "divided: at most 1"),
    Quirk("failures", "left out by the script; the worst value here", "the same"),
)

PRESETS = twins(
    "cvpr25-interactive",
    "JunMa11/CVPR-MedSegFMCompetition at 748e862",
    _QUIRKS,
    published={
        "prompts": ("middle box + 5 clicks", "5 clicks"),
        "click_rule": "cvpr25",
        "joint": True,
        "metrics": ("dice", "nsd@2mm"),
        "figures": "cvpr25",
    },
    strict={
        "prompts": ("box + 5 clicks", "5 clicks"),
        "click_rule": "centre-of-largest-error",
        "metrics": ("dice", "nsd@2mm"),
    },
    defaults={
        "average": "cases",
        "session_curve": "dice",
        "session_metrics": ("auc", "final", "ctt@90", "rmct@90"),
    },
)
