"""The report's first section tells a stranger what was evaluated and which model stands where."""

from __future__ import annotations

import pytest

from medeval.engine.overview import model_rows, overview_section
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.segmentation import AutomaticSegmentation
from medeval.types.views import Matrix, Table

MANIFEST = {
    "suite": {"models": {"a": {"adapter": "unet", "timeout": None, "core": 0.5, "baseline": False, "trained_on": []},
                         "b": {"adapter": "oracle", "baseline": True}}},
    "datasets": {"ct": {"cases": 12, "patients": 1}, "mr": {"cases": 1, "patients": None}},
}  # fmt: skip
PROMPTED = PromptedSegmentation(prompts=("box", "1 click"))


def row(model, value, prompt="", *, metric="dice", dataset="ct", by="", direction="higher"):
    return {
        "task": "t", "dataset": dataset, "model": model, "arm": "", "baseline": model == "b", "prompt": prompt, "by": by,
        "group": {}, "metric": metric, "direction": direction, "unit": "", "definition": "overlap", "value": value,
        "low": value, "high": value,
    }  # fmt: skip


def glance(section) -> Table:
    return next(view for view in section.views if isinstance(view, Table))


def test_it_says_how_much_was_evaluated_and_what_failed():
    section = overview_section([(AutomaticSegmentation(), [row("a", 0.5)])], MANIFEST, {"model_failed": 3})
    for said in ("2 models on 2 datasets", "ct: 12 cases, 1 patient", "mr: 1 case, patients unknown", "3 model_failed",
                 "dice: overlap, from 0 (worst) to 1 (best)", "confidence interval"):  # fmt: skip
        assert said in section.text
    assert "No record failed" in overview_section([], MANIFEST, {}).text


@pytest.mark.parametrize(
    ("direction", "expected"), [("higher", ["b", "a", "none"]), ("lower", ["a", "b", "none"])]
)
def test_models_stand_best_first_and_those_without_a_score_last(direction, expected):
    rows = [row("none", None, direction=direction), row("a", 0.5, direction=direction), row("b", 0.9, direction=direction)]  # fmt: skip
    table = glance(overview_section([(AutomaticSegmentation(), rows)], MANIFEST, {}))
    assert [line["model"] for line in table.rows] == expected


def test_of_several_prompts_the_suites_first_is_shown_and_a_map_has_them_all():
    rows = [row(model, value, prompt) for prompt, value in (("1 click", 0.2), ("box", 0.7)) for model in "ab"]
    section = overview_section([(PROMPTED, rows)], MANIFEST, {})
    assert {line["0"]["value"] for line in glance(section).rows} == {0.7}
    assert "box" in glance(section).columns[1].note
    (found,) = [view for view in section.views if isinstance(view, Matrix)]
    assert (found.columns, found.values[0]) == (["box", "1 click"], [0.7, 0.2])


def test_one_task_on_one_dataset_shows_some_metrics_and_several_the_first_of_each():
    many = [row("a", 0.5, metric=name) for name in ("dice", "iou", "hd95", "nsd")]
    assert len(glance(overview_section([(AutomaticSegmentation(), many)], MANIFEST, {})).columns) == 1 + 3
    more = [*many, row("a", 0.4, dataset="mr")]
    assert len(glance(overview_section([(AutomaticSegmentation(), more)], MANIFEST, {})).columns) == 1 + 2


def test_groups_and_session_figures_are_no_part_of_it():
    rows = [row("a", 0.5), row("a", 0.1, by="site"), {**row("a", 0.2), "curve": "dice"}]
    table = glance(overview_section([(AutomaticSegmentation(), rows)], MANIFEST, {}))
    assert [line["0"]["value"] for line in table.rows] == [0.5]


def test_a_models_options_are_told_in_words():
    assert model_rows(MANIFEST) == [
        {"model": "a", "adapter": "unet", "role": "", "options": "core 0.5"},
        {"model": "b", "adapter": "oracle", "role": "baseline", "options": ""},
    ]
