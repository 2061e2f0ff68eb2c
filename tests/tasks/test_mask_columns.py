"""The columns that every mask record has."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics.masks import MaskPair
from medeval.tasks.masks import MASK_COLUMNS, mask_columns, voxel_ml
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.robustness import Robustness
from medeval.tasks.segmentation import AutomaticSegmentation
from medeval.types import Grid


@pytest.mark.parametrize(
    ("grid", "expected"),
    [(Grid((4, 4, 4), (1.0, 1.0, 1.0)), 0.001), (Grid((4, 4, 4), (0.5, 2.0, 5.0)), 0.005), (Grid((4, 4), (1.0, 1.0)), None),
     (Grid((4, 4), (1.0, 1.0), unit="px"), None), (Grid((4, 4, 4), (1.0, 1.0, 1.0), unit="px"), None)],
)  # fmt: skip
def test_a_voxel_has_a_volume_where_there_is_space_in_millimetres(grid, expected):
    assert voxel_ml(grid) == expected


def test_a_record_has_every_column():
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[1] = True
    grid = Grid(mask.shape, (1.0, 1.0, 2.0))
    columns = mask_columns(MaskPair(mask, mask, grid.spacing, grid=grid), 0.5)
    assert list(columns) == list(MASK_COLUMNS)
    assert columns == {"voxels_reference": 9, "voxels_prediction": 9, "voxel_ml": 0.002, "model_score": 0.5}


@pytest.mark.parametrize("task", [AutomaticSegmentation, PromptedSegmentation, Robustness])
def test_records_from_before_the_column_are_scored_again(task):
    assert task().fingerprint("score")["version"] == 2
