"""From a run's records: judges' ratings, the same judge and patient again, and the simulator's conduct."""

import json

import pandas as pd
import pytest

from medeval.dialogue.agreement_run import check_frame, dialogues, fidelity, judge_marks, patient_again
from medeval.types import RunError


def said(*lines):
    return json.dumps(
        [[n, "doctor" if line[0] == "D" else "patient", line[2:]] for n, line in enumerate(lines, start=1)]
    )


def total(case="c", sample=0, talk=None, patient=None, model="m", **violations):
    counts = {"leak": 0, "unasked": 0, "fabrication": 0, "contradiction": 0, "role_flip": 0, **violations}
    return {
        "task": "t", "dataset": "set", "model": model, "arm": "", "seed": 0, "case": case, "patient": patient,
        "structure": "total", "sample": sample, "transcript": talk or said("P:Ow.", "D:Where?", "P:Here."),
        "judges": None, "raw": None, "patient_turns": 2, **counts,
    }  # fmt: skip


def item(judges, structure="1.1", raw=None, **keys):
    return {
        **total(**keys),
        "structure": structure,
        "transcript": None,
        "judges": json.dumps(judges),
        "raw": raw,
    }


def test_a_dialogues_name_tells_neither_model_nor_sample():
    held = dialogues(pd.DataFrame([total(model="gpt"), total(model="other"), total(sample=1)]))
    assert len({one.id for one in held}) == 3
    assert [one.id for one in held] == sorted(one.id for one in held)
    assert not any("gpt" in one.id for one in held)


def test_one_judge_is_a_rater_by_its_name():
    frame = pd.DataFrame(
        [item([{"judge": "rules", "score": 1.0}], raw=1.0), item([{"judge": "rules", "na": True}], "1.2")]
    )
    marks, samples = judge_marks(frame)
    assert [(m.rater, m.score, m.na) for m in marks] == [("rules", 1.0, False), ("rules", None, True)]
    assert samples == {"rules": ["rules"]}


def test_a_panel_and_samples_are_raters_of_their_own():
    ratings = [
        {"judge": "judge 1", "score": 1.0}, {"judge": "judge 1", "score": 0.0}, {"judge": "judge 2", "error": "no JSON"},
        {"judge": "judge 2", "score": 1.0},
    ]  # fmt: skip
    marks, samples = judge_marks(pd.DataFrame([item(ratings, raw=2 / 3)]))
    found = {m.rater: m.score for m in marks}
    assert found == {
        "judge 1": 0.5, "judge 1 / sample 1": 1.0, "judge 1 / sample 2": 0.0, "judge 2": 1.0, "judge 2 / sample 1": None,
        "judge 2 / sample 2": 1.0, "panel": pytest.approx(2 / 3),
    }  # fmt: skip
    assert list(samples) == ["judge 1", "judge 2", "panel"]


def test_a_patient_is_compared_as_long_as_the_doctor_says_the_same():
    first = said(
        "P:Ow.", "D:Where is it?", "P:In my knee.", "D:Since when?", "P:Monday.", "D:Fever?", "P:No."
    )
    second = said(
        "P:Ow.", "D:where is  it?", "P:In my knee.", "D:Since when?", "P:Since Monday.", "D:Cough?", "P:No."
    )
    rows = patient_again(pd.DataFrame([total(talk=first), total(talk=second, sample=1)]))
    assert [(row.name, row.value, row.n) for row in rows] == [
        ("the same words", 0.5, 2),
        ("likeness of words", pytest.approx((1 + 2 / 3) / 2), 2),
    ]


def test_without_two_samples_that_share_a_question_nothing_is_said():
    other = said("P:Ow.", "D:When?", "P:Now.")
    assert patient_again(pd.DataFrame([total(), total(talk=other, sample=1), total(model="n")])) == []


def test_violations_are_counted_per_100_turns_with_intervals_over_patients():
    frame = pd.DataFrame([total(case=f"c{n}", leak=int(n < 4)) for n in range(20)])
    rows = {row.name: row for row in fidelity(frame)}
    assert rows["leak"].value == pytest.approx(100 * 4 / 40)
    assert 0 <= rows["leak"].low < 10 < rows["leak"].high
    assert (rows["leak"].n, rows["leak"].patients) == (40, 20)


def test_of_what_was_never_seen_an_exact_bound_is_told_in_place_of_an_empty_interval():
    row = fidelity(pd.DataFrame([total(case=f"c{n}") for n in range(20)]))[0]
    assert (row.value, row.low, row.high) == (0, None, None)
    assert "at most 16.8% of patients" in row.note


def test_models_are_told_apart_when_there_are_several():
    frame = pd.DataFrame([total(case=f"c{n}", model=model) for n in range(3) for model in ("a", "b")])
    assert [row.model for row in fidelity(frame) if row.name == "leak"] == ["", "a", "b"]


def test_records_of_something_else_are_refused():
    with pytest.raises(RunError, match="holds no judged dialogues"):
        check_frame(pd.DataFrame([{"case": "c", "structure": "liver", "sample": 0}]), "runs/x")
