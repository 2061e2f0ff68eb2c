"""What every registered mask metric owes: its table row, a finite worst, rules for empty masks, pickling."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from medeval.metrics import MaskPair, get_metric, registered
from medeval.metrics.clicks import ClickCurve
from medeval.types import Grid

EXAMPLES = [
    "dice", "dice:empty=1", "iou", "iou:empty=1", "precision", "recall", "specificity", "volume_similarity",
    "volume_difference", "rvd", "rvd:absolute", "centre_distance", "hd", "hd95", "hd99.5", "hd95:pooled", "hd95:surfel",
    "hd95_surfel", "hd95_pooled", "assd", "assd:surfel", "masd", "asd", "nsd@2mm", "nsd@0.5mm:voxel", "nsd_voxel@1mm",
    "nsd@2mm:fractions", "nsd@flare22", "nsd@liver=5,*=2mm", "boundary_iou", "boundary_iou@0.1", "boundary_iou@2mm",
    "boundary_iou@3px", "cldice", "betti_error", "betti_error@0", "lesion_f1", "lesion_f1:any", "lesion_recall@0.1",
    "lesion_precision:hungarian", "pq", "pq:dice", "sq@0.25:many", "rq:6-connected", "fpv_ml", "fnv_ml", "ece", "ece@15:box",
    "cwece", "mce", "brier", "nll", "auroc", "soft_dice:box",
]  # fmt: skip
CLICKS = [
    "noc@90",
    "nof@85",
    "nof@85:ritm",
    "auc_dice",
    "auc_dice:raw",
    "dice@1click",
    "dice@3clicks",
    "final_dice",
]


def pair(shape=(9, 10, 11), prediction=True, reference=True):
    masks = [np.zeros(shape, bool) for _ in range(2)]
    if prediction:
        masks[0][(slice(2, 7),) * len(shape)] = True
    if reference:
        masks[1][(slice(3, 8),) * len(shape)] = True
    spacing = (1.5, 1.0, 2.0)[: len(shape)]
    return MaskPair(*masks, spacing, structure="liver", probabilities=0.8 * masks[0] + 0.1)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("shape", [(9, 10, 11), (12, 13)])
def test_value_lies_in_its_range(name, shape):
    if name.endswith("6-connected") and len(shape) == 2:
        pytest.skip("3D only")
    metric = get_metric(name)
    value = metric.observe(pair(shape)).statistic["value"]
    assert metric.range[0] <= value <= metric.range[1]
    assert isinstance(value, float)
    worst = metric.failed(pair(shape).grid)["value"]
    assert math.isfinite(worst)
    if name != "rvd":
        assert worst <= value if metric.direction == "higher" else worst >= value


@pytest.mark.parametrize("name", EXAMPLES)
def test_empty_masks(name):
    """Never a silent 0 or 1: the rule that applied stands in the value, unless empty masks need none."""
    metric = get_metric(name)
    counted = name.startswith(
        ("specificity", "volume_difference", "ece", "cwece", "mce", "brier", "nll", "soft", "auroc")
    )
    for sides in ((False, False), (True, False), (False, True)):
        found = metric.observe(pair(prediction=sides[0], reference=sides[1]))
        assert found.rule or counted or name == "fpv_ml", (name, sides)
        if found.statistic is None:
            assert found.rule
        else:
            assert math.isfinite(found.statistic["value"])
        if not any(sides) and not counted and name not in ("fpv_ml", "dice:empty=1", "iou:empty=1"):
            assert found.statistic is None


@pytest.mark.parametrize("name", EXAMPLES + CLICKS)
def test_table_row(name):
    metric = get_metric(name)
    assert metric.name == name
    assert metric.definition
    assert metric.source
    assert metric.empties
    assert metric.direction in ("higher", "lower")
    assert type(metric).__doc__
    assert metric.linear
    again = pickle.loads(pickle.dumps(metric))
    assert vars(again) == vars(metric)


def test_listing():
    """Each registered pattern has the whole row on its class: that is what a list of metrics prints."""
    for pattern, cls in registered().items():
        if not issubclass(cls.pair, MaskPair | ClickCurve):
            continue
        assert cls.definition, pattern
        assert cls.source, pattern
        assert cls.empties, pattern
        assert cls.unit in ("", "mm", "ml", "clicks"), pattern


@pytest.mark.parametrize("name", CLICKS)
def test_click_metrics(name):
    metric = get_metric(name)
    assert metric.observe(ClickCurve(())).statistic is None
    best = metric.observe(ClickCurve((1.0,), limit=5)).statistic["value"]
    worst = metric.observe(ClickCurve((0.0,), limit=5)).statistic["value"]
    assert metric.failed(ClickCurve((), limit=5))["value"] == worst
    assert (best > worst) == (metric.direction == "higher")


def test_worst_distance_knows_the_whole_image():
    """A pair that is a crop still has the full image's diagonal and voxel count."""
    grid = Grid((100, 100, 50), (1.0, 1.0, 2.0))
    crop = np.ones((4, 4, 4), bool)
    empty = MaskPair(crop, np.zeros_like(crop), grid.spacing, grid=grid)
    found = get_metric("hd95").observe(empty)
    assert found.statistic["value"] == pytest.approx(math.sqrt(3) * 100)
    assert found.rule == "reference empty: worst"
    full = MaskPair(crop, crop, grid.spacing, grid=grid)
    assert full.counts == (64, 0, 0, 500_000 - 64)


def test_tolerance_tables():
    from medeval.metrics.tolerances import add_tolerances
    from medeval.types import MetricError

    shifted = [np.zeros((20, 20), bool) for _ in range(2)]
    shifted[0][5:10, 5:10], shifted[1][8:13, 5:10] = True, True

    def nsd(name, structure):
        return get_metric(name).observe(MaskPair(*shifted, (1, 1), structure)).statistic["value"]

    assert nsd("nsd@flare22", "Liver") == nsd("nsd@5mm", "") == 1.0
    assert nsd("nsd@flare22", "adrenal gland left") == nsd("nsd@2mm", "") < 1.0
    assert nsd("nsd@liver=5,*=1mm", "spleen") == nsd("nsd@1mm", "")
    with pytest.raises(MetricError, match="no tolerance for structure 'tumour'"):
        nsd("nsd@flare22", "tumour")
    add_tolerances("ours", {"tumour": 3.0, "*": 1.0})
    assert nsd("nsd@ours", "tumour") == nsd("nsd@3mm", "")
    with pytest.raises(MetricError, match="must be >= 0"):
        add_tolerances("bad", {"tumour": -1.0})


def test_one_surface_pass_serves_all(monkeypatch):
    """hd, assd and every tolerance read one table of distances."""
    from medeval.metrics import compare_masks, kernels

    calls = []
    surfaces = kernels.surfaces
    monkeypatch.setattr(kernels, "surfaces", lambda *args: calls.append(args) or surfaces(*args))
    one = pair()
    names = [
        "hd",
        "hd95",
        "hd95:pooled",
        "assd",
        "masd",
        "nsd@1mm:voxel",
        "nsd@2mm:voxel",
        "nsd@5mm",
        "hd95:surfel",
    ]
    compare_masks(one.prediction, one.reference, one.spacing, names)
    assert len(calls) == 2  # border voxels, and surface elements
    compare_masks(one.prediction, one.reference, one.spacing, names, surface="surfel")
    assert len(calls) == 3


def test_every_name_is_documented():
    text = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
    for pattern, cls in registered().items():
        if issubclass(cls.pair, MaskPair | ClickCurve):
            base = re.split(r"[\[<:]", pattern)[0]
            assert f"`{base}" in text, pattern
