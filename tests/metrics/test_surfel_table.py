"""The table of areas, derived again from its rules and compared with the expected areas of the field's table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from medeval.metrics.surfels import surfel_areas
from tests.parity.segmentation.cases import load

CORNERS = list(itertools.product((0, 1), repeat=3))
WEIGHT = {corner: 1 << (7 - (4 * corner[0] + 2 * corner[1] + corner[2])) for corner in CORNERS}


def loops(code):
    """Polygons of cut edges' middles; on ambiguous faces the colour with fewer corners is kept apart."""
    inside = {corner for corner in CORNERS if code & WEIGHT[corner]}
    apart = len(inside) <= 4
    joined: dict = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        ring = []
        for u, v in ((0, 0), (0, 1), (1, 1), (1, 0)):
            corner = [u, v]
            corner.insert(axis, side)
            ring.append(tuple(corner))
        edges = [(ring[i], ring[(i + 1) % 4]) for i in range(4)]
        cut = [frozenset(e) for e in edges if (e[0] in inside) != (e[1] in inside)]
        if len(cut) == 2:
            pairs = [tuple(cut)]
        else:
            pairs = [tuple(e for e in cut if c in e) for c in ring if (c in inside) == apart] if cut else []
        for a, b in pairs:
            joined.setdefault(a, []).append(b)
            joined.setdefault(b, []).append(a)
    while joined:
        loop = [next(iter(joined))]
        while nexts := [e for e in joined.pop(loop[-1]) if e in joined]:
            loop.append(nexts[0])
        yield [np.mean([np.array(c) for c in edge], axis=0) for edge in loop]


def triangulations(i, j):
    if j - i < 2:
        yield []
        return
    for k in range(i + 1, j):
        for left, right in itertools.product(triangulations(i, k), triangulations(k, j)):
            yield [*left, *right, (i, k, j)]


def area(polygon, triangles, spacing):
    points = [point * spacing for point in polygon]
    return sum(
        float(np.linalg.norm(np.cross(points[b] - points[a], points[c] - points[a]))) / 2
        for a, b, c in triangles
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 0.9), (0.8, 0.8, 2.5)])
def test_derived_again(spacing):
    ones = np.ones(3)
    for code in range(256):
        total = 0.0
        for polygon in loops(code):
            choices = triangulations(0, len(polygon) - 1)
            largest = max(choices, key=lambda triangles: round(area(polygon, triangles, ones), 9))
            total += area(polygon, largest, np.array(spacing))
        assert surfel_areas(spacing)[code] == pytest.approx(total, rel=1e-12, abs=1e-12), code


@pytest.mark.parametrize("key", [k for k in load("surfel_tables") if "_spacing_" in k])
def test_expected_areas(key):
    spacing = tuple(float(s) for s in key.partition("spacing_")[2].split("_"))
    assert surfel_areas(spacing) == pytest.approx(np.array(load("surfel_tables")[key]), abs=1e-9)


def test_turns_and_mirrors():
    """A turned or mirrored neighbourhood has the area of the turned spacing: memory order does not matter."""
    spacing = (0.7, 1.9, 3.1)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((0, 1), repeat=3):
            turned = surfel_areas(tuple(spacing[a] for a in axes))
            for code in range(256):
                cells = np.array([code >> (7 - i) & 1 for i in range(8)]).reshape(2, 2, 2).transpose(axes)
                cells = np.flip(cells, [i for i in range(3) if flips[i]])
                other = int("".join(map(str, cells.ravel())), 2)
                assert turned[other] == pytest.approx(surfel_areas(spacing)[code], rel=1e-12)
