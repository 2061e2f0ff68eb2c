"""Clicks as autoPET/CT IV simulates them, before and whatever any model answers (lab-midas/autoPETCTIV at 80af68d).

On the structure: of its pieces (26 neighbours) up to N are drawn without replacement, and each is clicked at the first of
its deepest voxels; what is missing to N is drawn from the shallowest voxels of the same pieces, round and round. On the
background: the same on what takes up most, the voxels above the 99.75th percentile of the image outside the structure, but
what is missing to N is drawn from all voxels of a piece, and of a piece without an inside from the whole rest of the volume.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medeval.interaction.corrections import Given, Round, correction_rule
from medeval.interaction.drawing import bounds, slices
from medeval.interaction.slices import Draw, Points

PERCENTILE = 99.75
SEED = 42
BUDGET = 10


class Pairs(NamedTuple):
    """inside, outside: (n, ndim) voxels on the structure and on the background, in the order in which they are given.

    Either may be empty: no structure, no image, or nothing that takes up more than the rest.
    """

    inside: Points
    outside: Points


def click_pairs(
    mask: NDArray[np.bool_], uptake: NDArray | None, n: int, draw: Draw | None = None, *, strict: bool = False
) -> Pairs:
    """N clicks on the structure and N beside it.

    mask: bool. uptake: the PET image, same shape; None: no background clicks (autoPET's CT task). draw: what decides;
    None: ``RandomState(42)`` anew, as upstream, so that all cases share their draws. Where upstream's click into the rest of
    the volume hits a lesion it breaks off; here it is drawn again. strict: background clicks stay in their pieces.
    """
    draw = np.random.RandomState(SEED) if draw is None else draw
    inside = _clicks(mask, n, draw, lambda piece: piece.shallowest())
    if uptake is None:
        return Pairs(inside, np.empty((0, mask.ndim), dtype=np.int64))
    hot = hot_background(mask, uptake)

    def filling(piece: _Piece) -> Points:
        return piece.voxels() if strict or not piece.flat else piece.elsewhere()

    outside = _clicks(hot, n, draw, filling, barred=mask)
    return Pairs(inside, outside)


def hot_background(mask: NDArray[np.bool_], uptake: NDArray) -> NDArray[np.bool_]:
    """Bool: outside of the structure, above the 99.75th percentile of what is outside of it, in the image's own type."""
    outside = uptake[~mask]
    if not outside.size:
        return np.zeros_like(mask)
    return (uptake > np.percentile(outside, PERCENTILE)) & ~mask


@correction_rule("autopet")
def autopet(state: Round, rng: np.random.Generator) -> Given | None:
    """The next of 10 lesion clicks that were drawn beforehand, whatever the model answers (autoPET/CT IV without pairs)."""
    given = len(state.clicked)
    drawn = click_pairs(state.truth, None, max(BUDGET, given + 1)).inside
    return Given.clicked(drawn[given : given + 1], [1], state.slice_axis) if len(drawn) else None


class _Piece:
    """One connected piece with the depth of its voxels; the image's edge is no outside."""

    def __init__(self, labels: NDArray[np.integer], label: int) -> None:
        self._labels, self._label = labels, label
        box = bounds(labels == label)
        assert box is not None  # a piece has at least one voxel
        self._corner = np.maximum(box[0] - 1, 0)
        grown = np.stack([self._corner, np.minimum(box[1] + 1, labels.shape)])
        self._depth = ndimage.distance_transform_edt(labels[slices(grown)] == label)
        self.flat = bool(self._depth.max() == self._depth[self._depth > 0].min())

    def deepest(self) -> Points:
        """(ndim,) the first of the deepest voxels in C order."""
        found: Points = self._corner + np.argwhere(self._depth == self._depth.max())[0]
        return found

    def shallowest(self) -> Points:
        """(k, ndim) all voxels that are least deep."""
        least = self._depth[self._depth > 0].min()
        return np.asarray(self._corner + np.argwhere(self._depth == least))

    def voxels(self) -> Points:
        """(k, ndim) all of them."""
        return np.asarray(self._corner + np.argwhere(self._depth > 0))

    def elsewhere(self) -> Points:
        """(k, ndim) all voxels of the volume that are not of the piece."""
        return np.argwhere(self._labels != self._label)


def _clicks(
    region: NDArray[np.bool_],
    n: int,
    draw: Draw,
    filling: Callable[[_Piece], Points],
    barred: NDArray[np.bool_] | None = None,
) -> Points:
    labels, count = ndimage.label(region, structure=np.ones((3,) * region.ndim))
    if not count:
        return np.empty((0, region.ndim), dtype=np.int64)
    chosen = draw.choice(np.arange(1, count + 1), size=min(n, count), replace=False)
    pieces = [_Piece(labels, int(label)) for label in chosen]
    clicks = [piece.deepest() for piece in pieces]
    while len(clicks) < n:
        for piece in pieces[: n - len(clicks)]:
            click = _drawn(filling(piece), draw, barred)
            clicks.append(piece.deepest() if click is None else click)
    return np.array(clicks, dtype=np.int64)


def _drawn(candidates: Points, draw: Draw, barred: NDArray[np.bool_] | None) -> Points | None:
    """One of the candidates that is not barred; None when all are."""
    if barred is not None and barred[tuple(candidates.T)].all():
        return None
    while True:
        click: Points = candidates[draw.choice(len(candidates))]
        if barred is None or not barred[tuple(click)]:
            return click
