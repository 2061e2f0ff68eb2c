"""Figures of challenges, read off the curves of whole cases as their own scripts do. Pure functions.

cvpr25      JunMa11/CVPR-MedSegFMCompetition at 748e862, CVPR25_iter_eval.py
autopet-iv  lab-midas/autoPETCTIV at 80af68d, evaluation_metrics.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.clicks import area_under_clicks

HOPELESS = 0.2
"""Mean DSC of a case at which CVPR 2025 sets its NSD to 0."""

Curve = NDArray[np.float64]


def cvpr25_nsd(dsc: Curve, nsd: Curve) -> Curve:
    """The case's NSD by round: 0 where its mean DSC is at most 0.2."""
    return np.where(dsc <= HOPELESS, 0.0, nsd)


def cvpr25_figures(dsc: Sequence[float], nsd: Sequence[float], clicks: int = 5) -> dict[str, float]:
    """DSC_AUC, NSD_AUC (trapezoids over the click rounds, not divided: at most clicks - 1), DSC_Final, NSD_Final.

    dsc, nsd: (rounds,) means over the case's structures, nsd before the rule of ``cvpr25_nsd``; the box round comes first
    where there is one, and enters no area.
    """
    scores = np.asarray(dsc, dtype=np.float64)
    kept = cvpr25_nsd(scores, np.asarray(nsd, dtype=np.float64))
    found = {}
    for name, curve in (("DSC", scores), ("NSD", kept)):
        found[f"{name}_AUC"] = area_under_clicks(curve[-clicks:].tolist(), normalised=False)
        found[f"{name}_Final"] = float(curve[-1])
    return found


def autopet_figures(curves: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Name_auc (trapezoids over the steps, not divided) and name_final of each curve; NaN where a step has none.

    curves: name ("dice", "fpv", "fnv") -> (steps,) values, NaN where undefined: Dice and FNV without a lesion.
    """
    found = {}
    for name, values in curves.items():
        found[f"{name}_auc"] = area_under_clicks(values, normalised=False)
    return found | {f"{name}_final": float(values[-1]) for name, values in curves.items()}
