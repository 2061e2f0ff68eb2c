"""Views of single records for the tests: a distribution and Bland-Altman panels whose cases stand in a gallery."""

from __future__ import annotations

from typing import Any

import numpy as np

from medeval.report import Section
from medeval.types import Key
from medeval.types.views import (
    BlandAltman,
    CaseGroup,
    CasePoint,
    Distribution,
    Gallery,
    GalleryItem,
    Picture,
)


def group(
    word: str, values: np.ndarray, part: str = "", model: str = "", baseline: bool = False
) -> CaseGroup:
    """Records of one model, one a case; y is a tenth of x's distance from its mean."""
    points = [
        CasePoint(f"{word}-{n}", Key(word, part), 0, float(v), float(v - values.mean()) / 10)
        for n, v in enumerate(values)
    ]
    q1, median, q3 = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    marks = {"q1": q1, "median": median, "q3": q3, "bias": 0.0, "low": -0.04, "high": 0.04}
    return CaseGroup(model or word, word, model or word, "", points, len(points), marks, part, baseline)


def record_sections(word: str = "liver", cases: int = 40, models: int = 2) -> list[Section]:
    """One section: gallery of the first and second case of the first model, distribution in two parts, agreement."""
    draw = np.random.default_rng(3)
    groups = [
        group(word, draw.beta(8, 2, cases), part, f"{word} {m}", m == 1)
        for part in ("box", "1 click") for m in range(models)
    ]  # fmt: skip
    items = [
        GalleryItem(word, f"{word} 0", "", 0, f"{word}-{n}", Key(word, "box"), f"Dice of {word}", rank)
        for n, rank in enumerate(("best", "worst"))
    ]  # fmt: skip
    views: list[Any] = [
        Gallery("Cases", items),  # type: ignore[arg-type]
        Distribution("Dice by case", "dice", groups, "Final rounds."),
        BlandAltman("Volumes", "mean [ml]", "difference [ml]", groups[:models]),
    ]
    return [Section(word, views)]


def volume_picture(item: GalleryItem) -> Picture | None:
    """Five slices of a ball, the third of them the picture itself."""
    planes = [np.hypot(*(np.mgrid[:40, :40] - 20)) < radius for radius in (4, 8, 10, 8, 4)]
    drawn = [
        Picture(np.where(mask, 200, 40).astype(np.uint8), {"reference": mask}, caption=f"slice {n}")
        for n, mask in enumerate(planes)
    ]
    return Picture(drawn[2].background, drawn[2].outlines, caption="slice 2", slices=[*drawn[:2], *drawn[3:]], place=2)  # fmt: skip
