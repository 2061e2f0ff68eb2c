"""A dataset as another domain: what changes of its cases, what does not, how it is named, and its fingerprints."""

import numpy as np
import pytest
import yaml
from PIL import Image as Pil
from pydantic import ValidationError

import medeval
from medeval.api import RunOptions, Suite, load_suite
from medeval.datasets.shift import Shift
from medeval.types import DataError, SuiteError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for sub in ("images", "masks"):
        (tmp_path / "set" / sub).mkdir(parents=True)
    for n in range(4):
        mask = np.zeros((24, 24), np.uint8)
        mask[5:15, 4 + n : 14] = 1
        image = (60 + 120 * mask + rng.normal(0, 5, mask.shape)).astype(np.uint8)
        Pil.fromarray(image).save(tmp_path / "set" / "images" / f"p{n % 2}-{n}.png")
        Pil.fromarray(mask).save(tmp_path / "set" / "masks" / f"p{n % 2}-{n}.png")
    return tmp_path


def inner(folder, **changes):
    return {"format": "image-mask-folder", "root": str(folder / "set"), "patient_id": "^p[0-9]", **changes}


def shifted(folder, **changes):
    return Shift(**{"of": inner(folder), "corruption": "gamma", "severity": 3, **changes})


def test_the_image_changes_and_nothing_else(folder):
    data = shifted(folder)
    assert data.index.ids == data.inner.index.ids
    for case_id in data.index.ids:
        far, near = data.read(case_id), data.inner.read(case_id)
        assert not np.array_equal(far.inputs["image"].array, near.inputs["image"].array)
        assert far.inputs["image"].grid == near.inputs["image"].grid or (
            far.inputs["image"].grid.shape == near.inputs["image"].grid.shape
        )
        masks = [case.reference["structures"].mask("foreground") for case in (far, near)]
        assert np.array_equal(*masks)
        assert far.patient == near.patient == case_id[:2]
    assert data.structures == data.inner.structures
    assert data.check() == []


def test_the_shift_stands_in_the_metadata(folder):
    info = shifted(folder, severity=4).index[0]
    assert (info.metadata["corruption"], info.metadata["severity"], info.metadata["value"]) == (
        "gamma",
        4,
        2.5,
    )


def test_labels_alone_can_be_read(folder):
    case = shifted(folder).read("p0-0", ("reference",))
    assert not case.inputs
    assert case.reference["structures"].mask("foreground").any()


def test_both_selections_hold(folder):
    data = shifted(folder, of=inner(folder, select={"id": ["p0-*"]}), limit=1)
    assert data.index.ids == ("p0-0",)


def test_a_value_stands_in_the_ladders_place(folder):
    by_ladder, by_value = shifted(folder, severity=3), shifted(folder, severity=1, value=2.0)
    arrays = [data.read("p0-0").inputs["image"].array for data in (by_ladder, by_value)]
    assert np.array_equal(*arrays)
    assert by_ladder.fingerprint("p0-0") == by_value.fingerprint("p0-0")


@pytest.mark.parametrize("change", [{"severity": 4}, {"corruption": "noise"}, {"draw": 1}, {"value": 2.1}])
def test_the_fingerprint_holds_the_shift(folder, change):
    assert shifted(folder, **change).fingerprint("p0-0") != shifted(folder).fingerprint("p0-0")


def test_the_fingerprint_holds_the_files_and_not_where_they_lie(folder):
    first = shifted(folder).fingerprint("p0-0")
    (folder / "set").rename(folder / "other")
    moved = {**inner(folder), "root": str(folder / "other")}
    assert shifted(folder, of=moved).fingerprint("p0-0") == first
    Pil.fromarray(np.zeros((24, 24), np.uint8)).save(folder / "other" / "images" / "p0-0.png")
    assert shifted(folder, of=moved).fingerprint("p0-0") != first


def test_shifts_nest(folder):
    outer = Shift(of={"format": "shift", "of": inner(folder), "corruption": "gamma"}, corruption="noise")
    one, both = shifted(folder).read("p0-0"), outer.read("p0-0")
    assert not np.array_equal(one.inputs["image"].array, both.inputs["image"].array)
    assert outer.index[0].metadata["corruption"] == "noise"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruption": "nois"}, "did you mean 'noise'"),
        ({"severity": 6}, "less than or equal to 5"),
        ({"severity": 0}, "greater than or equal to 1"),
        ({"of": {}}, "give `format:`"),
        ({"of": {"format": "nnunte"}}, "did you mean 'nnunet'"),
        ({"of": {"format": "mni152", "slcies": 3}}, "slcies: unknown option"),
        ({"of": {"format": "medeval.types:Grid"}}, "is no dataset"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(folder, options, message):
    with pytest.raises(ValidationError, match=message):
        shifted(folder, **options)


def test_a_case_without_an_image_is_told(folder):
    table = folder / "t.csv"
    table.write_text("id,text\na,hello\n")
    data = Shift(
        of={"format": "table", "file": str(table), "inputs": {"text": "text"}, "id": "id"}, corruption="blur"
    )
    with pytest.raises(DataError, match="corrupts an `image`, and the case's inputs are text"):
        data.read("a")


SUITE = """\
name: far
datasets:
  far: {{format: shift, of: {{format: image-mask-folder, root: {root}}}, corruption: {corruption}}}
models:
  oracle: {{adapter: oracle}}
tasks:
  - {{task: segmentation, metrics: [dice]}}
"""


def test_a_suite_names_it_and_relative_paths_belong_to_the_suite(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (folder / "far.yaml").write_text(SUITE.format(root="set", corruption="spike"))
    run = medeval.run(folder / "far.yaml", folder / "run")
    (row,) = [row for row in run.summary()["scores"] if row["metric"] == "dice"]
    assert row["value"] == 1
    assert row["n"] == 4


def test_a_mistake_in_it_has_its_line(folder):
    (folder / "far.yaml").write_text(SUITE.format(root="set", corruption="spikes"))
    with pytest.raises(SuiteError, match=r"far\.yaml:3: datasets\.far\.corruption: .*did you mean 'spike'"):
        load_suite(folder / "far.yaml")


READER = """
from medeval.datasets.image_mask_folder import ImageMaskFolder

class Mine(ImageMaskFolder):
    pass
"""


@pytest.mark.parametrize("depth", [1, 2])
def test_a_reader_in_a_file_lies_beside_the_suite(folder, tmp_path, monkeypatch, depth):
    """Another file of that name in the working directory is not the one that is meant."""
    (folder / "reader.py").write_text(READER)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "reader.py").write_text("class Mine: pass")
    monkeypatch.chdir(elsewhere)
    of = {"format": "reader.py:Mine", "root": "set", "patient_id": "^p[0-9]"}
    for _ in range(depth - 1):
        of = {"format": "shift", "of": of, "corruption": "noise", "severity": 1}
    (folder / "suite.yaml").write_text(
        yaml.safe_dump(
            {
                "datasets": {"far": {"format": "shift", "of": of, "corruption": "gamma", "severity": 2}},
                "models": {"truth": {"adapter": "oracle"}},
                "tasks": [{"task": "segmentation", "metrics": ["dice"]}],
            }
        )
    )
    run = medeval.run(folder / "suite.yaml", folder / "run", options=RunOptions(report=False))
    assert (run.records()["dice"] == 1).all()
    again = medeval.run(run.suite(), folder / "again", options=RunOptions(report=False))
    assert len(again.records()) == 4


def test_a_reader_that_is_nowhere_is_told_with_both_folders(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {
        "datasets": {
            "far": {"format": "shift", "of": {"format": "reader.py:Mine"}, "corruption": "gamma"},
        },
        "models": {"truth": {"adapter": "oracle"}},
        "tasks": [{"task": "segmentation"}],
    }
    with pytest.raises(SuiteError, match=r"no file 'reader\.py'"):
        Suite.from_dict(data, base=folder / "set")
