"""The methods section says what was done and cites only works that a source names."""

from __future__ import annotations

import re

import pytest

from medeval.engine.bibliography import _WORKS, bibtex
from medeval.engine.methods import methods_section
from medeval.metrics import registry
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.types.views import Table

MANIFEST = {
    "medeval": "0.1.0", "versions": {"python": "3.11.7", "numpy": "2.2.6"},
    "datasets": {"ct": {"cases": 12, "patients": 4}, "mr": {"cases": 3, "patients": None}},
    "suite": {"seeds": [0, 7], "tasks": [{"name": "clicks", "task": "prompted-segmentation", "prompts": ["box", "3 clicks"],
                                          "click_rule": "centre-of-largest-error", "structures": None}]},
}  # fmt: skip


def section(metrics=("dice", "hd95"), notes=""):
    task = PromptedSegmentation(name="clicks", metrics=metrics)
    return methods_section([task], [Table("t", [], [], notes)], MANIFEST)


@pytest.mark.parametrize(
    "said",
    ["medeval 0.1.0", "ct (cases: 12, patients: 4)", "mr (cases: 3, patients not known)", "the seeds: 0, 7",
     "prompts: box, 3 clicks", "click_rule: centre-of-largest-error", "dice (higher is better)", "after Dice 1945",
     "hd95 (lower is better, mm)", "empty masks:", "python 3.11.7, numpy 2.2.6", "resamples of patients",
     "means over records", "On a model's failure: worst"],
)  # fmt: skip
def test_the_text_says_it(said):
    assert said in section().text


def test_settings_that_are_not_set_are_not_told():
    assert "None" not in section().text


@pytest.mark.parametrize(
    ("metrics", "notes", "there", "not_there"),
    [(("dice",), "", "{dice1945", "{bland1986"), (("iou",), "", "{jaccard1912", "{dice1945"),
     (("dice",), "limits (Bland & Altman 1986)", "{bland1986", "{jaccard1912"),
     (("dice",), "", "{field2007", "{kirillov2019")],
)  # fmt: skip
def test_bibtex_is_of_what_the_report_rests_on(metrics, notes, there, not_there):
    passage = section(metrics, notes).views[-1]
    assert there in passage.text
    assert not_there not in passage.text


def test_a_source_that_names_no_known_work_gets_no_citation():
    assert bibtex(["an average of three numbers"]) == bibtex([]) == ""


def test_every_entry_is_whole_and_its_key_is_its_own():
    entries = [entry for _, entry in _WORKS]
    assert all(re.match(r"@\w+\{\w+,\n", entry) and entry.count("{") == entry.count("}") for entry in entries)
    keys = [re.findall(r"@\w+\{(\w+)", entry)[0] for entry in entries]
    assert len(keys) == len(set(keys))
    assert all("author = {" in entry and "year = {" in entry and "title = {" in entry for entry in entries)


def test_every_work_but_those_of_intervals_plots_and_guidelines_is_a_source_of_a_metric():
    registry.load_group(registry.GROUP)
    told = " ".join(kind.source for kind, _ in registry._parsers.values())
    others = {
        "CLAIM 2024",
        "TRIPOD-LLM",
        "Bland & Altman 1986",
        "Davison & Hinkley 1997",
        "Field & Welsh 2007",
    }
    assert {name for name, _ in _WORKS if name not in told} == others
