"""Small cells of a real run are in no shared file, and do not follow from what is in it."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest

from medeval import api

SITES = {"north": 3, "south": 9, "east": 10, "west": 25}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Questions of 3, 9, 10 and 25 patients by site, and a finer table by site and sex."""
    import medeval
    from medeval.api import RunOptions

    folder = tmp_path_factory.mktemp("asked")
    rows, number = [], 0
    for site, patients in SITES.items():
        for place in range(patients):
            rows.append(
                {"id": f"q{number}", "patient": f"p{number}", "question": f"Number {number}?", "answer": "ABCD"[number * 7 % 4],
                 "options": ["red", "green", "blue", "black"], "site": site, "sex": "f" if place % 3 else "m",
                 "age": str(number)}
            )  # fmt: skip
            number += 1
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = {"client": "scripted", "rules": [{"when": "7", "reply": "Answer: C"}, {"when": "Number 5[?]", "reply": "none"}],
             "otherwise": "Answer: A"}  # fmt: skip
    suite = {
        "name": "asked",
        "datasets": {"mine": {"format": "questions", "file": str(folder / "q.jsonl")}},
        "models": {"chat": model},
        "tasks": [{"task": "question-answering", "samples": 1, "by": ["site", "site x sex", "age"]}],
    }
    run = medeval.run(suite, folder / "run", options=RunOptions(report=False))
    frame = run.records()
    values = {name: part["answer_accuracy"].to_numpy(dtype=float) for name, part in frame.groupby("site")}
    shared = {}
    for least in (2, 10):
        path, _ = api.report(run, folder / f"{least}.json", api.ShareOptions(least, format="json"))
        shared[least] = json.loads(path.read_text())
    page = api.report(run, folder / "shared.html", api.ShareOptions())[0].read_text()
    return values, shared, page


def rows(shared, by):
    return [row for row in shared["scores"] if row["by"] == by and row["metric"] == "answer_accuracy"]


def test_sites_of_ten_patients_or_more_are_told_and_others_are_not(asked):
    values, shared, page = asked
    told = {row["group"]["site"]: row for row in rows(shared[10], "site")}
    assert set(told) == {"east", "west"}
    assert told["east"]["value"] == pytest.approx(values["east"].mean())
    assert (told["east"]["n"], told["west"]["patients"]) == (10, 25)
    assert all(row["n"] >= 10 and row["patients"] >= 10 for row in shared[10]["scores"])
    assert "north" not in page
    assert "south" not in page
    assert "east" in page


def test_with_a_lower_limit_more_is_told(asked):
    assert {row["group"]["site"] for row in rows(asked[1][2], "site")} == set(SITES)
    finer = {(row["group"]["site"], row["group"]["sex"]): row["n"] for row in rows(asked[1][2], "site x sex")}
    assert finer["west", "f"] == 16
    assert ("north", "m") not in finer  # one patient


def test_what_was_withheld_is_counted_and_its_rule_is_told(asked):
    _, shared, page = asked
    withheld = shared[10]["shared"]["withheld"]
    assert withheld["scores of fewer than 10, or from which one would follow"] > 0
    assert withheld["scores of groups by what differs from person to person"] >= 47
    assert "A figure of fewer than 10 people is hidden" in page


@pytest.mark.parametrize("least", [2, 10])
def test_no_hidden_sum_follows_from_published_means_by_any_combination(asked, least):
    values, shared, _ = asked
    sums = [
        (row["value"] * row["n"], row["n"])
        for by in ("", "site", "site x sex")
        for row in rows(shared[least], by)
    ]
    secret = {name: (part.sum(), len(part)) for name, part in values.items() if len(part) < least}
    for weights in itertools.product((-1, 0, 1), repeat=len(sums)):
        got = np.array(sums).T @ np.array(weights) if sums else np.zeros(2)
        for name, (total, count) in secret.items():
            assert not (count == round(got[1]) and abs(got[0] - total) < 1e-6), name


def test_failures_of_few_are_told_in_bands_and_without_their_case(asked):
    _, shared, page = asked
    assert [(row["status"], row["people"]) for row in shared[10]["failures"]] == [("unparsable", "< 10")]
    assert not re.search(r"\bq5\b|\bp5\b", page)


def test_points_in_plots_are_nobody(asked):
    _, _, page = asked
    assert "data-p=" not in page
    assert 'class="points"' not in page
