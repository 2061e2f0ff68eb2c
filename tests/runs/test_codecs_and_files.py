"""What is kept reads back as it was; what is written is there whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medeval.runs.codecs import decode, encode
from medeval.runs.files import attempt, locked, sweep, write_json, writing
from medeval.runs.journal import FileJournal
from medeval.runs.parts import read_meta, read_part, write_part
from medeval.tasks.context import MISSING
from medeval.types import LabelMap, MaskStack, RunError, Segmentation

SCHEMA = pa.schema([("case", pa.string()), ("value", pa.float64())])


def same(a, b):
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    return type(a) is type(b) and a == b


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)))
def test_any_mask_reads_back(mask):
    assert same(decode(encode(mask)), mask)
    answer = decode(encode(Segmentation(mask, score=0.25)))
    assert same(answer.mask, mask)
    assert answer.score == 0.25


@given(
    hnp.arrays(st.sampled_from([np.uint8, np.int32, np.float32, np.float64]), hnp.array_shapes(max_dims=3))
)
def test_any_array_reads_back(array):
    assert same(decode(encode(array)), array)
    assert same(decode(encode({"step": [array, 1]}))["step"][0], array)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_plain_value_reads_back(value):
    assert same(decode(encode(value)), value)


def test_structures_read_back():
    array = np.array([[0, 1], [700, 2]])
    labels = decode(encode(LabelMap(array, {"a": (1, 2), "b": (700,)}, ignore=9)))
    assert np.array_equal(labels.array, array)
    assert (labels.labels, labels.ignore) == ({"a": (1, 2), "b": (700,)}, 9)
    stack = decode(encode(MaskStack({"a": array == 1, "b": array > 1}, (2, 2))))
    assert stack.names == ("a", "b")
    assert np.array_equal(stack.mask("b"), array > 1)


def test_probabilities_are_kept_with_their_mask():
    probabilities = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    answer = decode(encode(Segmentation(probabilities > 0.5, probabilities=probabilities)))
    assert np.array_equal(answer.probabilities, probabilities)


def test_an_organ_packs_to_a_thousandth():
    mask = np.zeros((200, 200, 100), bool)
    mask[80:120, 90:120, 40:60] = True
    assert len(encode(mask).payload) < mask.size / 1000


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), {"a": object()}])
def test_what_has_no_codec_is_told(value):
    with pytest.raises(TypeError):
        encode(value)


def test_a_part_reads_back_with_what_it_was_made_under(tmp_path):
    path = tmp_path / "part.parquet"
    write_part(path, [{"case": "a", "value": 1.5}, {"case": "b"}], SCHEMA, {"predict": "x"})
    assert read_meta(path) == {"predict": "x"}
    assert read_part(path).to_pylist() == [{"case": "a", "value": 1.5}, {"case": "b", "value": None}]


@pytest.mark.parametrize("keep", [0, 3, 20, 100, -1])
def test_a_torn_part_is_no_part(tmp_path, keep):
    path = tmp_path / "part.parquet"
    write_part(path, [{"case": "a", "value": 1.5}], SCHEMA, {})
    path.write_bytes(path.read_bytes()[:keep])
    assert read_meta(path) is None
    with pytest.raises(RunError, match=r"part\.parquet"):
        read_part(path)


def test_a_value_that_its_column_cannot_hold_is_told(tmp_path):
    with pytest.raises(RunError, match="column 'value' of type double cannot hold"):
        write_part(tmp_path / "part.parquet", [{"case": "a", "value": "high"}], SCHEMA, {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_not_there(tmp_path):
    with pytest.raises(KeyError), writing(tmp_path / "a.txt") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n "a": 2,\n "b": 1\n}\n'


def test_what_a_killed_run_left_is_swept(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / ".tmp-1-a.parquet").write_text("x")
    (tmp_path / "artifacts" / ".tmp-made").mkdir(parents=True)
    (tmp_path / "artifacts" / ".tmp-made" / "model.bin").write_text("x")
    (tmp_path / "records" / "whole.parquet").write_text("x")
    assert sweep(tmp_path) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["whole.parquet"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (28, "the disk is full"),
        (122, "the disk is full"),
        (13, "choose another output folder"),
        (30, "choose another"),
        (5, "cannot be written"),
    ],
)
def test_what_the_system_refuses_is_told(tmp_path, code, told):
    def refuse():
        raise OSError(code, "no")

    with pytest.raises(RunError, match=told):
        attempt(refuse, tmp_path / "file")


def test_a_run_is_held_by_one(tmp_path):
    with locked(tmp_path), pytest.raises(RunError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


# -- the journal --------------------------------------------------------------------------------------------------


def test_a_finished_step_is_replayed_and_a_torn_one_is_not(tmp_path):
    journal = FileJournal(tmp_path / "unit.jsonl")
    assert journal.put("one", {"reply": "yes", "mask": np.eye(2, dtype=bool)})["reply"] == "yes"
    journal.put("two", [1, 2])
    journal.close()
    path = tmp_path / "unit.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    again = FileJournal(path)
    assert np.array_equal(again.get("one")["mask"], np.eye(2, dtype=bool))
    assert again.get("two") is MISSING
    again.put("two", [3])
    assert FileJournal(path).get("two") == [3]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_step_is_given_as_it_will_be_read_back(tmp_path):
    from medeval.tasks.context import Context

    context = Context(journal=FileJournal(tmp_path / "unit.jsonl"))
    first = context.step("pair", lambda: (1, np.float32(2)))
    again = Context(journal=FileJournal(tmp_path / "unit.jsonl")).step(
        "pair", lambda: pytest.fail("asked twice")
    )
    assert first == again == [1, 2.0]
    assert type(first) is type(again)


def test_step_names_are_unique_in_a_unit(tmp_path):
    journal = FileJournal(tmp_path / "unit.jsonl")
    journal.put("one", 1)
    with pytest.raises(ValueError, match="must be unique"):
        journal.put("one", 2)


def test_a_journal_without_steps_leaves_no_file(tmp_path):
    journal = FileJournal(tmp_path / "unit.jsonl")
    assert journal.get("one") is MISSING
    journal.close()
    assert not (tmp_path / "unit.jsonl").exists()
