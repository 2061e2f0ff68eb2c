"""The paper's tables as data agree with one another, and say what the paper claims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

FILE = Path(__file__).resolve().parents[2] / "benchmarks/medeval_suites/published/sam_med3d.yaml"
TABLES = {
    table["source"].split(", ")[-1]: table for table in yaml.safe_load(FILE.read_text("utf-8"))["tables"]
}

# Numbers of categories (fact sheet 4.2: inferred, the tables fix them up to a common factor).
SEEN = {"A&T": 31, "Bone": 59, "Brain": 2, "Cardiac": 5, "Muscle": 10, "Lesion": 3}
UNSEEN = {"Unseen organ": 14, "Unseen lesion": 2}


def rows(name):
    """(model, prompt) -> {column: Dice}."""
    table = TABLES[name]
    named = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    return {(row.pop("model"), row.pop("prompt")): row for row in named}


def weighted(row, weights):
    return sum(row[name] * weight for name, weight in weights.items()) / sum(weights.values())


@pytest.mark.parametrize("key", rows("Table 5"))
def test_category_counts_turn_groups_into_averages(key):
    groups, averages = rows("Table 5")[key], rows("Table 3")[key]
    assert weighted(groups, SEEN) == pytest.approx(averages["seen"], abs=0.0065)
    assert weighted(groups, UNSEEN) == pytest.approx(averages["unseen"], abs=0.01)
    assert weighted(groups, SEEN | UNSEEN) == pytest.approx(averages["overall"], abs=0.01)


def test_a_mean_over_groups_would_be_another_number():
    groups = rows("Table 5")["SAM-Med3D", "1 pt"]
    assert np.mean([groups[name] for name in SEEN]) == pytest.approx(73.80, abs=0.005)


def test_one_point_a_volume_beats_sam_med2d_with_one_a_slice_in_all_columns_but_one():
    def columns(key):
        return rows("Table 5")[key] | {n: rows("Table 3")[key][n] for n in ("seen", "unseen", "overall")}

    three, two = columns(("SAM-Med3D", "1 pt")), columns(("SAM-Med2D", "N pts"))
    assert len(three) == 11
    assert [name for name in three if three[name] <= two[name]] == ["Unseen lesion"]


def test_dice_rises_with_points_and_more_for_unseen_targets():
    found = [rows("Table 3")["SAM-Med3D", prompt] for prompt in ("1 pt", "3 pts", "5 pts", "10 pts")]
    for column in ("seen", "unseen", "overall"):
        assert (np.diff([row[column] for row in found]) > 0).all()
    gain = {column: found[-1][column] - found[0][column] for column in ("seen", "unseen")}
    assert gain["unseen"] > gain["seen"]


def test_a_run_can_be_shown_beside_them():
    from medeval.engine.published import published_tables

    *tables, citation = published_tables("sam-med3d")
    assert [len(table.rows) for table in tables] == [10, 10, 6, 3, 5, 5, 4]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert "2310.15161" in citation
