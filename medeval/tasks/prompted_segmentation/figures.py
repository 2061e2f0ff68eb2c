"""Challenge figures and absent structures as score rows: from records to one value a case, then means over patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.interaction import PromptSetting
from medeval.tasks.prompted_segmentation.challenges import autopet_figures, cvpr25_figures
from medeval.tasks.prompted_segmentation.sessions import Figure, Sessions, figure_row
from medeval.tasks.summary import CellScorer

ABSENT = "absent structures"
_CVPR25 = {
    "DSC_AUC": "trapezoids over the click rounds, not divided; mean over a case's structures first",
    "NSD_AUC": "trapezoids over the click rounds, not divided; 0 where the case's mean DSC is at most 0.2",
    "DSC_Final": "after the last click; mean over a case's structures first",
    "NSD_Final": "after the last click; 0 where the case's mean DSC is at most 0.2",
}
_AUTOPET = {
    "dice": ("dice", "higher", ""),
    "fpv": ("fpv_ml", "lower", "ml"),
    "fnv": ("fnv_ml", "lower", "ml"),
}


def challenge_scores(
    scorer: CellScorer, challenge: str, settings: Sequence[PromptSetting]
) -> list[dict[str, Any]]:
    """The challenge's figures of every setting with several clicks. Cases with a missing round are left out and counted."""
    several = {setting.label: setting for setting in settings if setting.corrections > 1}
    rows: list[dict[str, Any]] = []
    for prompt, members in scorer.by_prompt(np.arange(len(scorer.column("round")))):
        if prompt in several:
            make = _cvpr25 if challenge == "cvpr25" else _autopet
            rows += make(scorer, prompt, members, several[prompt])
    return rows


def _cvpr25(
    scorer: CellScorer, prompt: str, members: NDArray[np.int64], setting: PromptSetting
) -> Iterator[dict[str, Any]]:
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in _CVPR25}
    broken = 0
    for member, groups in _cases(scorer, members):
        curves = {metric: [scorer.curve(metric, group) for group in groups] for metric in ("dice", "nsd@2mm")}
        if any(curve is None for parts in curves.values() for curve in parts):
            broken += 1
            continue
        dsc, nsd = (np.mean(np.array(parts, dtype=np.float64), axis=0) for parts in curves.values())
        for name, value in cvpr25_figures(dsc, nsd, setting.corrections).items():
            found[name].append((member, value))
    for name, values in found.items():
        figure = Figure(name, _CVPR25[name], source="CVPR25_iter_eval.py at 748e862")
        yield figure_row(scorer, figure, prompt, "cvpr25", values, _broken(broken))


def _autopet(
    scorer: CellScorer, prompt: str, members: NDArray[np.int64], setting: PromptSetting
) -> Iterator[dict[str, Any]]:
    found: dict[str, list[tuple[int, float]]] = {}
    broken = 0
    for member, groups in _cases(scorer, members, absent_too=True):
        if any(scorer.curve("dice", group) is None for group in groups):
            broken += 1
            continue
        for group in groups:
            curves = {name: scorer.numbers(metric, group) for name, (metric, _, _) in _AUTOPET.items()}
            for name, value in autopet_figures(curves).items():
                if not np.isnan(value):
                    found.setdefault(name, []).append((member, value))
    for name, values in found.items():
        _, direction, unit = _AUTOPET[name.partition("_")[0]]
        area = name.endswith("_auc")
        words = "trapezoids over the steps, not divided" if area else "after the last step"
        figure = Figure(name, words, direction, unit, "autoPET/CT IV at 80af68d")
        yield figure_row(scorer, figure, prompt, "autopet-iv", values, _broken(broken))


def _cases(
    scorer: CellScorer, members: NDArray[np.int64], *, absent_too: bool = False
) -> Iterator[tuple[int, list[list[int]]]]:
    """(a row number that stands for the case, its structures' sessions), one repetition at a time."""
    sessions = Sessions(scorer, {})
    sample, seed = (scorer.cell.columns.array(name) for name in ("sample", "seed"))
    cases: dict[tuple, list[list[int]]] = {}
    for group in sessions.groups(members):
        if scorer.covered(group[0]) and (absent_too or not sessions.absent(group)):
            identity = (scorer.column("case")[group[0]], seed[group[0]], sample[group[0]])
            cases.setdefault(identity, []).append(group)
    for groups in cases.values():
        yield groups[0][0], groups


def absent_scores(scorer: CellScorer) -> list[dict[str, Any]]:
    """How often the mask of an absent structure ended empty, and how large what is left is, by setting.

    A session that failed has no mask to empty: it counts as not emptied.
    """
    sessions = Sessions(scorer, {})
    rows = []
    for prompt, members in scorer.by_prompt(np.arange(len(scorer.column("round")))):
        groups = [g for g in sessions.groups(members) if scorer.covered(g[0]) and sessions.absent(g)]
        first, last = (_left(scorer, groups, at) for at in (0, -1))
        kinds = (("left empty, first round", first), ("left empty, last round", last))
        for name, values in kinds:
            if values:
                empty = [(member, float(voxels == 0)) for member, voxels in values]
                rows.append(
                    figure_row(scorer, Figure(name, "share of masks without a voxel"), prompt, ABSENT, empty)
                )
        if last:
            figure = Figure(
                "voxels left, last round", "mean number of voxels of the last mask", "lower", "voxels"
            )
            kept = [(member, voxels) for member, voxels in last if voxels == voxels]
            rows.append(figure_row(scorer, figure, prompt, ABSENT, kept))
    return rows


def _left(scorer: CellScorer, groups: Sequence[Sequence[int]], at: int) -> list[tuple[int, float]]:
    voxels = scorer.column("voxels_prediction")
    return [(g[at], np.nan if voxels[g[at]] is None else float(voxels[g[at]])) for g in groups]


def _broken(cases: int) -> Mapping[str, Any]:
    return {"failed": {"session incomplete": cases}, "failed_cases": cases, "missing": cases} if cases else {}
