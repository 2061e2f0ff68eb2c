"""A report as a run of two datasets would give it, on phantoms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medeval.report import Section
from medeval.types import Key
from medeval.types.views import (
    CaseGroup,
    CasePoint,
    Chat,
    Column,
    Curve,
    Forest,
    Gallery,
    GalleryItem,
    Matrix,
    Passage,
    Picture,
    Series,
    Table,
    TextDiff,
    Turn,
)

MODELS = ("random-walker", "geodesic", "region-growing", "chan-vese", "box-as-mask", "empty")
BASELINES = MODELS[4:]
STRUCTURES = ("grey matter", "white matter", "ventricles")
FEW = "fewer than 50 patients: intervals are likely too narrow"


def interval(draw: np.random.Generator, value: float, width: float, **more: Any) -> dict[str, Any]:
    """A cell around a value."""
    low, high = value - width * draw.uniform(0.4, 0.6), value + width * draw.uniform(0.4, 0.6)
    return {"value": value, "low": low, "high": high, "n": 126, "patients": 42, "note": FEW, **more}


def missing(model: str, worst: float, best: float) -> dict[str, Any]:
    return {"bounds": [worst, best]} if model == "geodesic" else {}


def score_table(draw: np.random.Generator) -> Table:
    rows = []
    for dataset in ("mni152-slices", "microscopy"):
        for number, model in enumerate(MODELS):
            dice = (0.86, 0.81, 0.74, 0.69, 0.52, 0.0)[number] - (
                0.07 if dataset == "microscopy" and number < 5 else 0
            )
            counts = {"failed": 3} if model == "chan-vese" else {}
            gap = {"missing": 2} if model == "geodesic" else {}
            hd95 = 4 + 60 * (1 - dice)
            share = 0.05 if dice else 0.0
            rows.append({
                "model": model, "_baseline": model in BASELINES, "_group": dataset, "prompt": "3 points",
                "dice": interval(draw, dice, share, **counts, **gap, **missing(model, dice - 0.02, dice + 0.01)),
                "nsd@2mm": interval(draw, max(0.0, dice - 0.06), share, **counts, **gap, **missing(model, dice - 0.08, dice - 0.05)),
                "hd95": interval(draw, hd95, 4.0, **counts, **gap, **missing(model, hd95 + 3.2, hd95 - 0.4)),
            })  # fmt: skip
            if model == "empty":
                rows[-1]["hd95"]["note"] += "; prediction empty in all cases: image diagonal"
    return Table(
        "Scores by model",
        [Column("model", "model"), Column("prompt", "prompt", note="from ground truth"),
         Column("dice", "Dice", "interval", "2|A∩B| / (|A|+|B|); both empty: undefined", "higher"),
         Column("nsd@2mm", "NSD@2mm", "interval", "share of surface within 2 mm", "higher"),
         Column("hd95", "HD95 (mm)", "interval", "95th percentile of surface distances", "lower")],
        rows, "Mean over all records. A model's failure counts as the worst value.",
    )  # fmt: skip


def clicked(model: str, number: int, mean: float) -> CaseGroup:
    """Three of ten records behind the mean of one round."""
    points = [
        CasePoint(
            f"slice-{n}", Key("ventricles", "5 clicks", number), 0, mean + d, scores=(mean + d, 4.0 + n)
        )
        for n, d in enumerate((-0.1, 0.0, 0.1))
    ]
    return CaseGroup(model, "mni152-slices", model, "", points, 10, {}, "5 clicks", scores=("Dice (higher is better)", "HD95 [mm]"))  # fmt: skip


def clicks_curve(draw: np.random.Generator) -> Curve:
    clicks = [1, 2, 3, 4, 5]
    series = []
    for number, model in enumerate(MODELS[:5]):
        top = 0.9 - 0.06 * number
        y = [top - 0.3 * 0.55**k + (0 if number < 4 else 0.3 * 0.55**k - 0.1) for k in range(5)]
        width = draw.uniform(0.015, 0.03, 5)
        shown = [clicked(model, n, value) for n, value in zip(clicks, y, strict=True)] if number < 2 else ()
        series.append(
            Series(model, clicks, y, [v - w for v, w in zip(y, width, strict=True)], [v + w for v, w in zip(y, width, strict=True)],
                   model in BASELINES, shown)
        )  # fmt: skip
    return Curve("Dice against number of clicks", "clicks", "Dice (higher is better)", series,
                 "Clicks from ground truth, each next one in the largest error; mean with 95% interval.")  # fmt: skip


def phantom(draw: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy slice with one bright ellipse, and the ellipse."""
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    head = (rows / 0.46) ** 2 + (columns / 0.38) ** 2 < 1
    r0, c0 = draw.uniform(-0.15, 0.15, 2)
    structure = ((rows - r0) / draw.uniform(0.05, 0.16)) ** 2 + (
        (columns - c0) / draw.uniform(0.05, 0.16)
    ) ** 2 < 1
    image = 90 * head + 80 * structure + draw.normal(0, 12, (side, side)) + 10
    return np.clip(image, 0, 255).astype(np.uint8), structure


def draw_picture(item: GalleryItem) -> Picture | None:
    """None for a case that failed without any picture."""
    if item.case_id == "slice-none":
        return None
    draw = np.random.default_rng(len(item.case_id) + sum(map(ord, item.model + item.rank)))
    background, truth = phantom(draw, 197)
    found = {"best": 1, "median": 4, "worst": 11}.get(item.rank, 0)
    outlines = {"reference": truth}
    if item.rank != "failed":
        outlines["prediction"] = np.roll(truth, (found, -found), (0, 1))
    where = np.argwhere(truth)
    inside, outside = where[len(where) // 2], where[0] - 9
    points = np.array([[*inside, 1], [*outside, 0]])
    box = (*where.min(axis=0), *(where.max(axis=0) + 1))
    return Picture(background, outlines, points, tuple(int(v) for v in box), "slice 91 of 189")  # type: ignore[arg-type]


def gallery() -> Gallery:
    items = [
        GalleryItem("mni152-slices", model, "", 0, f"slice-{rank if rank != 'failed' else 'none'}",
                    Key(STRUCTURES[i], "3 points"), f"Dice {dice}" if rank != "failed" else "model_failed: out of labels", rank)
        for model, i in (("random-walker", 0), ("chan-vese", 2))
        for rank, dice in (("best", 0.95), ("median", 0.84), ("worst", 0.31), ("failed", 0))
    ]  # fmt: skip
    return Gallery("Best, median and worst cases", items)  # type: ignore[arg-type]


def sample_sections() -> list[Section]:
    draw = np.random.default_rng(0)
    table = score_table(draw)
    rows = [
        {"label": f"{row['model']} on {row['_group']}", "baseline": row["_baseline"], **row["dice"]}
        for row in table.rows
    ]
    values = [[0.9 - 0.05 * i - 0.09 * j for j in range(3)] for i in range(6)]
    matrix = Matrix("Dice by model and structure", MODELS, STRUCTURES, [*values[:5], [None, 0.0, 0.0]])
    failures = Table(
        "Failures and their causes",
        [Column("status"), Column("whose"), Column("model"), Column("records", "records", "integer"), Column("error", "error")],
        [{"status": "model_failed", "whose": "the model's", "model": "chan-vese", "records": 3, "error": "ValueError: out of labels"},
         {"status": "infrastructure", "whose": "the machine's", "model": "geodesic", "records": 2, "error": "MemoryError"}],
    )  # fmt: skip
    chat = Chat(
        "A dialogue", [Turn("doctor", "What brings you here?"), Turn("patient", "A cough, for three weeks.")]
    )
    diff = TextDiff("Report of study 12", "No pleural effusion. Heart size is normal.",
                    "Small pleural effusion. Heart size is normal.")  # fmt: skip
    return [
        Section("Scores", [table, Forest("Dice", "Dice (higher is better)", rows)],
                "Prompts are simulated from the reference masks.\n\n- 3 points: drawn at once\n- clicks: one by one"),
        Section("Interaction", [clicks_curve(draw)]),
        Section("By structure", [matrix]),
        Section("Cases", [gallery()]),
        Section("Texts", [chat, diff]),
        Section("Failures", [failures]),
        Section("Methods", [Passage("References (BibTeX)", "@article{dice1945,\n  year = {1945}}")], "Intervals are 95% percentile bootstrap intervals over 2,000 resamples of patients."),
    ]  # fmt: skip


SAMPLE_META: dict[str, Any] = {
    "suite": "demo", "date": "2025-01-01", "medeval": "0.1.0", "seed": 0, "records": 5292, "machine": "2 cores, 23 GB",
    "Datasets": [{"name": "mni152-slices", "cases": 42, "patients": 42, "fingerprint": "9f2c01ab77de"},
                 {"name": "microscopy", "cases": 7, "patients": "unknown", "fingerprint": "0a13fe55c0d2"}],
    "Models": [{"name": m, "adapter": m, "version": "0.1.0", "role": "baseline" if m in BASELINES else ""} for m in MODELS],
    "Versions": {"python": "3.11.7", "numpy": "2.2.6", "scikit-image": "0.26.0"},
    "Suite (YAML)": "name: demo\nseed: 0\ntasks:\n  - task: prompted-segmentation\n    prompts: [box, 3 points]\n",
}  # fmt: skip


@pytest.fixture
def sections() -> list[Section]:
    return sample_sections()


@pytest.fixture
def meta() -> dict[str, Any]:
    return dict(SAMPLE_META)


@pytest.fixture
def pictures() -> Any:
    return draw_picture
