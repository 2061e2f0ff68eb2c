"""Tables: what is a file, what is a value, what is metadata, and rows that do not hold."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from medeval.datasets import TableDataset
from medeval.types import DataError, DatasetError

ROWS = [
    {
        "study": "007",
        "person": "01",
        "report": "no effusion",
        "y": 0,
        "score": 0.25,
        "site": "A",
        "split": "train",
    },
    {
        "study": "008",
        "person": "01",
        "report": "effusion, left",
        "y": 1,
        "score": 0.75,
        "site": None,
        "split": "test",
    },
]
MAPPING = {
    "id": "study",
    "patient": "person",
    "inputs": {"text": "report"},
    "reference": {"label": "y", "score": "score"},
}


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        pd.DataFrame(rows).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_every_format_gives_the_same_cases(tmp_path, name):
    dataset = TableDataset(file=write(tmp_path / name, ROWS), **MAPPING)
    assert dataset.index.ids == ("007", "008")
    assert [c.patient for c in dataset.index] == ["01", "01"]
    case = dataset.read("008")
    assert (case.inputs, case.reference) == ({"text": "effusion, left"}, {"label": 1, "score": 0.75})
    assert type(case.reference["label"]) is int
    assert case.metadata == {"split": "test"}
    assert dataset.index.info("007").metadata == {"site": "A", "split": "train"}
    assert dataset.structures == ()
    assert dataset.check() == []


def test_the_split_column_and_metadata_select(tmp_path):
    file = write(tmp_path / "t.csv", ROWS)
    assert TableDataset(file=file, **MAPPING, split="test").index.ids == ("008",)
    assert TableDataset(file=file, **MAPPING, select={"site": "A"}).index.ids == ("007",)


def test_rows_without_an_id_column_are_numbered(tmp_path):
    dataset = TableDataset(file=write(tmp_path / "t.jsonl", ROWS), inputs={"text": "report"})
    assert dataset.index.ids == ("row0001", "row0002")
    assert not dataset.index.patients_known


def test_not_available_is_a_word_and_an_empty_cell_is_missing(tmp_path):
    (tmp_path / "t.csv").write_text("id,finding,x\na,None,1\nb,NA,\n")
    dataset = TableDataset(
        file=tmp_path / "t.csv", id="id", reference={"label": "finding"}, inputs={"x": "x"}
    )
    assert [dataset.read(c, ("reference",)).reference["label"] for c in "ab"] == ["None", "NA"]
    assert dataset.read("a").inputs == {"x": 1}
    with pytest.raises(DataError, match=r"t.csv: case 'b' has no value in column 'x'"):
        dataset.read("b")
    assert dataset.check() == [f"b: {tmp_path}/t.csv: case 'b' has no value in column 'x'"]


GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)


@pytest.fixture
def imaging(tmp_path, png):
    png(tmp_path / "data/i.png", GREY)
    png(tmp_path / "data/liver.png", (GREY > 9).astype(np.uint8) * 255)
    png(tmp_path / "data/labels.png", GREY % 3)
    row = {"image": "data/i.png", "mask": "data/liver.png", "labels": "data/labels.png", "vendor": "X"}
    return write(tmp_path / "t.csv", [row])


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"reference": {"structures": "mask"}, "structure": "liver"}, ("liver",)),
        ({"reference": {"structures": {"liver": "mask", "again": "mask"}}}, ("liver", "again")),
        ({"reference": {"structures": "labels"}, "labels": {"one": 1, "two": 2}}, ("one", "two")),
    ],
)
def test_images_and_masks_are_paths_relative_to_the_table(imaging, options, names):
    dataset = TableDataset(file=imaging, inputs={"image": ("image", "image")}, **options)
    case = dataset.read("row0001")
    assert case.inputs["image"].array.shape == (2, 4, 5)
    assert case.reference["structures"].names == names == dataset.structures
    assert case.metadata["vendor"] == "X"
    assert set(dataset.read("row0001", ("reference",)).reference) == {"structures"}
    assert dataset.check() == []


def test_another_root_for_the_paths(imaging, tmp_path):
    moved = tmp_path / "tables"
    moved.mkdir()
    imaging.rename(moved / "t.csv")
    assert TableDataset(file=moved / "t.csv", inputs={"image": "image"}).check() != []
    assert TableDataset(file=moved / "t.csv", root=tmp_path, inputs={"image": "image"}).check() == []


@pytest.mark.parametrize("entry", ["../../etc/passwd", "/etc/passwd"])
def test_a_path_out_of_the_root_is_refused_unless_allowed(tmp_path, entry):
    file = write(tmp_path / "t.jsonl", [{"p": entry}])
    with pytest.raises(DataError, match=rf"t.jsonl: entry '{entry}'"):
        TableDataset(file=file, inputs={"image": "p"}).read("row0001")
    with pytest.raises(DataError, match=r"are not read|no such file"):
        TableDataset(file=file, inputs={"image": "p"}, allow_outside=True).read("row0001")


def test_the_fingerprint_follows_the_rows_values_and_the_files_and_no_other_row(imaging, tmp_path, png):
    def prints(rows):
        return TableDataset(file=write(tmp_path / "u.jsonl", rows), **MAPPING).fingerprint("007")

    base = prints(ROWS)
    assert prints([ROWS[0], {**ROWS[1], "y": 0}]) == base
    assert prints([{**ROWS[0], "site": "B"}]) == base
    assert prints([{**ROWS[0], "y": 1}]) != base
    dataset = TableDataset(file=imaging, inputs={"image": "image"})
    before = dataset.fingerprint("row0001")
    png(tmp_path / "data/i.png", GREY + 1)
    assert dataset.fingerprint("row0001") != before


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", None, "no such file"),
        ("t.xlsx", "x", "tables of type '.xlsx' are not read; known: .csv"),
        ("t.csv", "", "no cases; looked for rows in"),
        ("t.csv", "study,person,report,y,score\n", "no cases"),
        ("t.csv", 'study,person,report,y,score\n1,1,"x', "cannot be read as a table"),
        ("t.csv", "study,person,repotr,y,score\n1,1,x,0,1\n", "no column 'report'; did you mean 'repotr'"),
        ("t.csv", "study,person,report,y,score\n,1,x,0,1\n", "row 1 has no value in the id column 'study'"),
        (
            "t.csv",
            "study,person,report,y,score\n1,1,x,0,1\n1,1,x,0,1\n",
            "case id '1' occurs more than once; again in row 2",
        ),
        (
            "t.csv",
            "study,person,report,y,score\n1,,x,0,1\n",
            "case '1' has no value in the patient column 'person'",
        ),
        ("t.jsonl", '{"a": 1}\n{"a": ', "line 2: cannot be read as JSON"),
        ("t.jsonl", "[1]", r"line 1: must be an object"),
        ("t.parquet", "PAR1 not really", "cannot be read as Parquet"),
    ],
)
def test_a_broken_table_is_a_dataset_error_that_names_it(tmp_path, name, text, says):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=says) as told:
        TableDataset(file=tmp_path / name, **MAPPING).index  # noqa: B018
    assert name in str(told.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "name at least one column"),
        ({"inputs": {"text": ("a", "b")}}, "takes one column"),
        ({"reference": {"structures": "m"}}, "structures need `inputs: {image: COLUMN}`"),
        ({"inputs": {"image": "a"}, "labels": {"x": -1}}, "not an integer"),
    ],
)
def test_mappings_that_cannot_work_are_refused_when_built(tmp_path, options, says):
    with pytest.raises((ValidationError, DatasetError), match=says):
        TableDataset(file=tmp_path / "t.csv", **options)
