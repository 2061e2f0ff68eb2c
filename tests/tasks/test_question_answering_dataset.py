"""Question files in the forms that people have, and what is told of a file that does not hold."""

import json

import pytest
from PIL import Image

from medeval.datasets.questions import Questions
from medeval.dialogue.healthbench_dataset import HealthBench
from medeval.types import DataError, UserError


def png(path, grey=0):
    Image.new("L", (4, 4), grey).save(path)


def lines(folder, *rows, name="q.jsonl"):
    path = folder / name
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def only(folder, row, **options):
    return next(iter(Questions(file=lines(folder, row), **options).questions.values()))[0]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"options": ["x", "y", "z"], "answer": "B"}, 1),
        ({"options": ["x", "y", "z"], "answer": "b"}, 1),
        ({"options": ["x", "y", "z"], "answer": "z"}, 2),
        ({"options": {"A": "x", "B": "y"}, "answer": "y", "answer_idx": "B", "meta_info": "step1"}, 1),
        ({"options": '["x", "y"]', "answer": "A"}, 0),
        ({"A": "x", "B": "y", "C": None, "answer": "B"}, 1),
        ({"options": ["B", "A"], "answer": "A"}, 1),  # an option's text before a letter
        ({"options": ["1", "2"], "answer": "2"}, 1),
    ],
)
def test_options_and_answers_are_read_in_the_forms_of_the_field(tmp_path, row, right):
    assert only(tmp_path, {"question": "?", **row}).right == right


@pytest.mark.parametrize(("first", "right"), [(0, 2), (1, 1)])
def test_a_number_needs_to_be_told_what_it_counts_from(tmp_path, first, right):
    row = {
        "question": "?",
        "opa": "w",
        "opb": "x",
        "opc": "y",
        "opd": "z",
        "cop": 2,
        "subject_name": "Anatomy",
    }
    assert only(tmp_path, row, first_answer=first).right == right
    with pytest.raises(UserError, match="first_answer: 0` or `first_answer: 1"):
        only(tmp_path, row)
    assert Questions(file=lines(tmp_path, row), first_answer=1).index[0].metadata["subject_name"] == "Anatomy"


def test_a_csv_keeps_letters_ids_and_metadata(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text(
        "id,question,A,B,answer,subject,patient\n007,Which?,yes,no,A,heart,p1\n008,Which?,1,2,2,lung,\n"
    )
    data = Questions(file=path)
    assert data.index.ids == ("007", "008")
    assert [info.patient for info in data.index] == ["p1", "008"]
    assert data.index[0].metadata == {"subject": "heart", "kind": "choice", "pictures": 0}
    assert data.read("008").reference == {"answer": 1}


def test_an_open_question_has_texts_that_count_as_right(tmp_path):
    found = only(tmp_path, {"question": "?", "answer": ["gout", "podagra"]})
    assert (found.options, found.right, found.accepted) == ((), None, ("gout", "podagra"))


def test_pictures_belong_to_the_case_and_its_fingerprint(tmp_path):
    png(tmp_path / "a.png")
    data = Questions(file=lines(tmp_path, {"id": "q", "question": "?", "answer": "gout", "image": "a.png"}))
    assert data.read("q").inputs["pictures"] == (tmp_path / "a.png",)
    before = data.fingerprint("q")
    png(tmp_path / "a.png", 7)
    assert data.fingerprint("q") != before
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"question 'q': no picture .*a\.png"):
        data.read("q")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": ""}, "`question` must be a text"),
        ({"question": "?", "options": ["x"], "answer": "A"}, "2 to 10 different options"),
        ({"question": "?", "options": ["x", "x"], "answer": "A"}, "different options"),
        ({"question": "?", "options": {"A": "x", "C": "y"}, "answer": "A"}, "without a gap"),
        ({"question": "?", "options": ["x", "y"], "answer": "C"}, "answer 'C' is none of the 2 options"),
        ({"question": "?", "options": ["x", "y"]}, "answer None"),
        ({"question": "?", "options": "x|y", "answer": "A"}, "JSON list"),
        ({"question": "?"}, "an open question needs `answer`"),
        ({"question": "?", "answer": "x", "image": "../../x.png"}, "x.png"),
        ({"question": "?", "answer": "x", "image": 3}, "`image` must be a path"),
    ],
)
def test_a_question_that_does_not_hold_is_told_with_its_file_and_id(tmp_path, row, told):
    with pytest.raises(UserError, match=r"q\.jsonl: question 'q00001'") as error:
        only(tmp_path, row)
    assert told in str(error.value)


def test_an_id_that_occurs_twice_is_told(tmp_path):
    path = lines(tmp_path, *[{"id": "a", "question": "?", "answer": "x"}] * 2)
    with pytest.raises(UserError, match="'a' occurs more than once; again in row 2"):
        len(Questions(file=path).index)


def test_the_bundled_files_hold_and_say_whose_they_are():
    questions, talks = Questions(), HealthBench()
    assert [q.right is None for q, _ in questions.questions.values()].count(False) == 26
    assert {info.metadata["source"] for info in questions.index} == {"written for medeval"}
    assert len({q.right for q, _ in questions.questions.values() if q.options}) == 4
    assert len(talks.conversations) == 6
    assert all(any(c.points < 0 for c in talk.criteria) for talk in talks.conversations.values())


CONVERSATION = {
    "prompt_id": "p",
    "prompt": [{"role": "user", "content": "?"}],
    "rubrics": [{"criterion": "x", "points": 1}],
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prompt": []}, "prompt"),
        (
            {"prompt": [{"role": "doctor", "content": "?"}]},
            "message 1: expected a role of system, user, assistant",
        ),
        ({"prompt": [{"role": "user", "content": None}]}, "message 1"),
        ({"rubrics": []}, "rubrics"),
        ({"rubrics": [{"criterion": "x", "points": 0}]}, "criterion 1: points: a criterion of 0 points"),
        ({"rubrics": [{"criterion": "", "points": 1}]}, "criterion 1: text"),
        ({"rubrics": [{"criterion": "x"}]}, "criterion 1: points"),
        ({"ideal_completions_data": {"ideal_completion": 3}}, "ideal_completion must be a text"),
    ],
)
def test_a_conversation_that_does_not_hold_is_told_with_its_line(tmp_path, change, told):
    with pytest.raises(UserError, match=r"q\.jsonl:1") as error:
        len(HealthBench(file=lines(tmp_path, {**CONVERSATION, **change})).index)
    assert told in str(error.value)


def test_a_conversations_tags_become_its_metadata(tmp_path):
    line = {
        **CONVERSATION,
        "example_tags": ["theme:hedging", "theme:x", "physician_agreed_category:y", "hard"],
        "canary": "c",
    }
    info = HealthBench(file=lines(tmp_path, line)).index[0]
    assert info.metadata["theme"] == "hedging; x"
    assert info.metadata["physician_agreed_category"] == "y"
    assert info.metadata["hard"] == "hard"
