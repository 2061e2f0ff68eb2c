"""Reporting items: each guideline for its tasks, its numbers whole, answered by the run or left to the authors."""

from __future__ import annotations

import pytest

from medeval.engine.checklists import AUTHORS, checklist_text, checklists
from medeval.tasks.classification import Classification
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.question_answering import QuestionAnswering

MANIFEST = {
    "medeval": "0.1.0", "updated": "2025-01-02T03:04:05+0000", "seeds": [0, 1], "versions": {"numpy": "2.2.6"},
    "machine": {"system": "Linux", "cores": 2}, "git": {"commit": "a55d7c140cb50c9e58d7aea376208e8112e7e236"},
    "datasets": {"ct": {"cases": 12, "patients": 4, "fingerprint": "9f2c01ab77de" + "0" * 52}},
    "suite": {"datasets": {"ct": {"format": "nnunet", "limit": 12, "split": None}},
              "models": {"net": {"adapter": "unet", "threshold": 0.4}}},
    "base": "/home/someone/secret",
}  # fmt: skip
PICTURES = PromptedSegmentation(name="clicks", metrics=("dice",), by=("structure",))
WORDS = QuestionAnswering(name="exam")


def answers(table):
    return {row["item"]: row["answer"] for row in table.rows}


@pytest.mark.parametrize(
    ("tasks", "titles"),
    [([PICTURES], ["CLAIM 2024"]), ([WORDS], ["TRIPOD-LLM"]), ([Classification()], ["CLAIM 2024"]),
     ([WORDS, PICTURES], ["CLAIM 2024", "TRIPOD-LLM"]), ([], [])],
)  # fmt: skip
def test_each_guideline_is_for_its_tasks(tasks, titles):
    assert [table.title for table in checklists(tasks, MANIFEST, {})] == [
        f"Reporting items of {name}" for name in titles
    ]


def test_claim_has_its_44_items_in_order():
    (table,) = checklists([PICTURES], MANIFEST, {})
    assert [row["item"] for row in table.rows] == [str(number) for number in range(1, 45)]


@pytest.mark.parametrize(
    ("item", "said"),
    [("7", "ct, read as nnunet, fingerprint 9f2c01ab77de"), ("10", "ct: limit 12"), ("12", "counts as the worst value"),
     ("22", "net: unet, threshold 0.4"), ("23", "medeval 0.1.0, numpy 2.2.6"), ("28", "dice: "), ("29", "resamples of patients"),
     ("30", "clicks by structure; 2 seeds"), ("35", "ct: 12 cases, 4 patients"), ("39", "2 model_failed"), ("43", "commit a55d7c140cb5")],
)  # fmt: skip
def test_what_the_run_knows_is_answered(item, said):
    (table,) = checklists([PICTURES], MANIFEST, {"model_failed": 2})
    assert said in answers(table)[item]


@pytest.mark.parametrize(
    ("item", "said"),
    [("6a", "net; asked up to 2025-01-02"), ("6b", "seeds 0, 1"), ("12", "cores 2"), ("16a", "ct: 12 cases"), ("14f", "medeval 0.1.0")],
)  # fmt: skip
def test_what_the_run_knows_of_a_language_model_is_answered(item, said):
    (table,) = checklists([WORDS], MANIFEST, {})
    assert said in answers(table)[item]


@pytest.mark.parametrize(("task", "answered"), [(PICTURES, False), (Classification(), True)])
def test_diagnostic_accuracy_is_answered_where_it_was_measured(task, answered):
    (table,) = checklists([task], MANIFEST, {})
    assert (answers(table)["38"] != AUTHORS) is answered


def test_the_text_leaves_what_no_run_knows_to_the_authors_and_names_no_path():
    (table,) = checklists([PICTURES], MANIFEST, {})
    text = checklist_text(table)
    told, _, open_ = text.partition("To be told by the authors: ")
    assert "- 23 (software and versions): medeval 0.1.0" in told
    assert "14 how the reference standard was obtained" in open_
    assert "secret" not in text
    assert f"{sum(row['answer'] != AUTHORS for row in table.rows)} of 44" in table.note


def test_an_empty_manifest_leaves_nearly_all_to_the_authors():
    (table,) = checklists([PICTURES], {}, {})
    assert {"7", "10", "22", "35"} <= {item for item, answer in answers(table).items() if answer == AUTHORS}
