"""Instances of two masks, and which belongs to which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.inputs import as_labels, check_same_shape
from medeval.types.errors import MetricError

Matcher = Literal["greedy", "many", "hungarian", "any"]
Score = Literal["iou", "dice"]

# Neighbours that join a component, by number, and scipy's rank of it.
CONNECTIVITY = {2: {4: 1, 8: 2}, 3: {6: 1, 18: 2, 26: 3}}


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Which instances meet.

    reference, prediction: (pairs,) 0-based instances; voxels: (pairs,) voxels that they share.
    reference_sizes, prediction_sizes: voxels of each instance.
    """

    reference: NDArray[np.int64]
    prediction: NDArray[np.int64]
    voxels: NDArray[np.int64]
    reference_sizes: NDArray[np.int64]
    prediction_sizes: NDArray[np.int64]

    def scores(self, score: Score) -> NDArray[np.float64]:
        """IoU or Dice of each pair."""
        both = self.reference_sizes[self.reference] + self.prediction_sizes[self.prediction]
        return self.voxels / (both - self.voxels) if score == "iou" else 2 * self.voxels / both


@dataclass(frozen=True, eq=False)
class Matched:
    """Result of matching.

    groups: reference instance -> its prediction instances (one, but for the matcher "many"); 0-based.
    iou, dice: of each group, in the same order; several predictions are joined first.
    """

    n_reference: int
    n_prediction: int
    groups: dict[int, tuple[int, ...]]
    iou: tuple[float, ...]
    dice: tuple[float, ...]

    @property
    def tp(self) -> int:
        """Reference instances that were found."""
        return len(self.groups)

    @property
    def fp(self) -> int:
        """Predicted instances that belong to no reference instance."""
        return self.n_prediction - sum(len(group) for group in self.groups.values())

    @property
    def fn(self) -> int:
        """Reference instances that were not found."""
        return self.n_reference - self.tp


def components(mask: NDArray[np.bool_], connectivity: int = 0) -> NDArray[np.int32]:
    """Connected components as an instance map.

    connectivity: 4 or 8 neighbours in 2D; 6, 18 or 26 in 3D; 0 for all (8, 26), as cc3d.
    """
    from scipy.ndimage import generate_binary_structure, label  # not at the first `dice`

    known = CONNECTIVITY[mask.ndim]
    if connectivity and connectivity not in known:
        raise MetricError(f"connectivity must be one of {sorted(known)} in {mask.ndim}D, not {connectivity}")
    rank = known.get(connectivity, mask.ndim)
    return np.asarray(label(mask, generate_binary_structure(mask.ndim, rank))[0], dtype=np.int32)


def overlaps(prediction: NDArray[np.integer], reference: NDArray[np.integer]) -> Overlaps:
    """Sizes and overlaps of all instances of two instance maps (0 is background)."""
    pred, ref = as_labels(prediction, "prediction"), as_labels(reference, "reference")
    check_same_shape(pred, ref)
    pred_ids, pred_sizes = np.unique(pred[pred > 0], return_counts=True)
    ref_ids, ref_sizes = np.unique(ref[ref > 0], return_counts=True)
    both = (pred > 0) & (ref > 0)
    rows = np.searchsorted(ref_ids, ref[both])
    columns = np.searchsorted(pred_ids, pred[both])
    pairs, voxels = np.unique(rows * max(len(pred_ids), 1) + columns, return_counts=True)
    row, column = np.divmod(pairs, max(len(pred_ids), 1))
    return Overlaps(row, column, voxels, ref_sizes, pred_sizes)


def match(
    found: Overlaps, threshold: float = 0.5, matcher: Matcher = "greedy", score: Score = "iou"
) -> Matched:
    """Match instances whose score is ``>= threshold``.

    matcher: "greedy": best pair first, one to one (panoptica's naive); "many": further predictions may join a
        reference instance that has one; "hungarian": one to one with the largest sum of scores. "any": as "many" for
        every pair that shares a voxel, whatever the threshold.
    """
    scores = found.scores(score)
    able = np.flatnonzero(found.voxels > 0 if matcher == "any" else scores >= threshold)
    if matcher == "hungarian":
        pairs = _hungarian(found, scores, able)
    else:
        pairs = _greedy(found, scores, able, many=matcher in ("many", "any"))
    rows, columns = found.reference.tolist(), found.prediction.tolist()
    shared = {(row, column): n for row, column, n in zip(rows, columns, found.voxels.tolist(), strict=True)}
    groups: dict[int, list[int]] = {}
    for row, column in pairs:
        groups.setdefault(row, []).append(column)
    iou, dice = [], []
    for row, members in groups.items():
        common = sum(shared[row, column] for column in members)
        both = int(found.reference_sizes[row] + found.prediction_sizes[members].sum())
        iou.append(common / (both - common))
        dice.append(2 * common / both)
    return Matched(
        len(found.reference_sizes),
        len(found.prediction_sizes),
        {row: tuple(members) for row, members in groups.items()},
        tuple(iou),
        tuple(dice),
    )


def _greedy(
    found: Overlaps, scores: NDArray[np.float64], able: NDArray[np.int64], many: bool
) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for at in able[np.argsort(-scores[able], kind="stable")].tolist():
        row, column = int(found.reference[at]), int(found.prediction[at])
        if column in columns or (row in rows and not many):
            continue
        rows.add(row)
        columns.add(column)
        pairs.append((row, column))
    return pairs


def _hungarian(
    found: Overlaps, scores: NDArray[np.float64], able: NDArray[np.int64]
) -> list[tuple[int, int]]:
    from scipy.optimize import linear_sum_assignment

    gain = np.zeros((len(found.reference_sizes), len(found.prediction_sizes)))
    gain[found.reference[able], found.prediction[able]] = scores[able]
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if gain[r, c] > 0.0]
