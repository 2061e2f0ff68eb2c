"""A folder of predictions in a model's place: what changed in it is done again, and nothing else."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image as Pil

import medeval
from medeval.api import RunOptions
from medeval.engine.progress import Silent
from medeval.types import RunError

CASES = ("p0-c00", "p1-c01", "p2-c02", "p0-c03")


class Notes(Silent):
    """Keeps what a run tells."""

    def __init__(self):
        self.told = []

    def note(self, text):
        self.told.append(text)


@pytest.fixture
def folder(small):
    """A run's suite with the references as predictions, in a folder of their own."""
    data = small.pictures(cases=4)
    shutil.copytree(small.folder / "data" / "masks", small.folder / "theirs")
    small.suite(
        datasets={"pics": data},
        models={"theirs": {"adapter": "predictions", "root": "theirs", "pattern": "{id}.png"}},
        tasks=[{"task": "segmentation", "metrics": ["dice"], "by": ["structure"]}],
    )
    return small.folder / "theirs"


def redraw(folder, case_id):
    """Another prediction: the truth without its upper half."""
    array = np.array(Pil.open(folder / f"{case_id}.png"))
    array[:8] = 0
    Pil.fromarray(array).save(folder / f"{case_id}.png")


def run_again(small, **options):
    """(cases done, what was told) by running the suite again."""
    known = len(small.log())
    notes = Notes()
    medeval.run(
        small.folder / "suite.yaml",
        small.folder / "run",
        options=RunOptions(report=False, **options),
        progress=notes,
    )
    done = [(e["work"], e["cases"]) for e in small.log()[known:] if e["event"] == "unit"]
    return sorted(done), [line for line in notes.told if "since the run" in line]


def test_only_a_changed_file_is_done_again(small, folder):
    before = small.run().records()
    assert run_again(small) == ([], [])
    redraw(folder, "p1-c01")
    done, told = run_again(small)
    assert done == [("predict", ["p1-c01"])]
    assert told == ["theirs on pics: 1 answer (p1-c01) changed since the run was made: scored again"]
    after = medeval.Run.open(small.folder / "run").records()
    changed = before["dice"].fillna(-1).to_numpy() != after["dice"].fillna(-1).to_numpy()
    assert set(before["case"][changed]) == {"p1-c01"}
    small.run(out="fresh")
    assert small.parts("run") == small.parts("fresh")


def test_a_file_that_came_is_picked_up_and_one_that_went_is_told(small, folder):
    (folder / "p2-c02.png").rename(small.folder / "late.png")
    failed = small.run().records()
    assert set(failed["case"][failed["status"] == "model_failed"]) == {"p2-c02"}
    (small.folder / "late.png").rename(folder / "p2-c02.png")
    (folder / "p0-c00.png").unlink()
    done, told = run_again(small)
    assert done == [("predict", ["p0-c00"]), ("predict", ["p2-c02"])]
    assert told == [
        "theirs on pics: 1 answer (p0-c00) gone since the run was made: failed now",
        "theirs on pics: 1 answer (p2-c02) added since the run was made: scored now",
    ]
    records = medeval.Run.open(small.folder / "run").records()
    assert set(records["case"][records["status"] == "model_failed"]) == {"p0-c00"}


def test_worker_processes_write_the_same_parts(small, folder):
    small.run(workers=2)
    redraw(folder, "p0-c03")
    assert run_again(small, workers=2)[0] == [("predict", ["p0-c03"])]
    small.run(out="fresh")
    assert small.parts("run") == small.parts("fresh")


def test_a_moved_folder_is_the_same_predictions(small, folder):
    small.run()
    folder.rename(small.folder / "moved")
    path = small.folder / "suite.yaml"
    path.write_text(path.read_text().replace("root: theirs", "root: moved"))
    assert run_again(small) == ([], [])


def test_kept_predictions_are_scored_when_the_folder_has_gone(small, folder):
    run = small.run()
    shutil.rmtree(folder)
    again = medeval.score(run, metrics=["iou"])
    assert (again.records()["iou"].dropna() == 1).all()
    for source in (small.folder / "data" / "masks").iterdir():
        folder.mkdir(exist_ok=True)
        shutil.copy(source, folder)
    path = small.folder / "suite.yaml"
    path.write_text(path.read_text().replace("- dice\n", "- dice\n  - iou\n"))
    assert run_again(small) == ([], [])


def test_the_options_of_the_folder_are_still_the_model(small, folder):
    small.run()
    path = small.folder / "suite.yaml"
    path.write_text(path.read_text().replace("root: theirs", "root: theirs\n    labels: {disk: 1}"))
    with pytest.raises(RunError, match=r"model\.labels"):
        small.run()


def test_shards_that_saw_other_predictions_are_not_merged(small, folder):
    from medeval.api import Shard

    small.run(out="one", shard=Shard(1, 2))
    redraw(folder, "p0-c00")
    small.run(out="two", shard=Shard(2, 2))
    with pytest.raises(RunError, match="predictions that it was given are others"):
        medeval.merge(small.folder / "merged", [small.folder / "one", small.folder / "two"])


@pytest.mark.parametrize("pattern", ["{id}/{structure}.png", "{structure}/{id}.png", "{id}_{structure}.png"])
def test_one_file_a_structure_is_told_by_case(small, folder, pattern):
    for path in list(folder.iterdir()):
        labels = np.array(Pil.open(path))
        for value, name in ((1, "disk"), (2, "bar")):
            place = folder / pattern.format(id=path.stem, structure=name)
            place.parent.mkdir(exist_ok=True)
            Pil.fromarray((labels == value).astype(np.uint8)).save(place)
        path.unlink()
    suite = small.folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("'{id}.png'", f"'{pattern}'"))
    small.run()
    redraw(folder, pattern.format(id="p1-c01", structure="disk").removesuffix(".png"))
    assert run_again(small)[0] == [("predict", ["p1-c01"])]


def test_evaluate_continues_with_a_changed_file(small, folder):
    """`medeval evaluate PRED REF` twice, a file changed between."""
    words = ("evaluate", "theirs", "data/masks", "--out", "run", "-m", "dice")
    assert small.cli(*words).returncode == 0
    known = len(small.log())
    redraw(folder, "p1-c01")
    done = small.cli(*words)
    assert done.returncode == 0, done.stderr
    assert [e["cases"] for e in small.log()[known:] if e["event"] == "unit"] == [["p1-c01"]]
    assert "p1-c01" in done.stdout + done.stderr


SOURCE = """
import json
from pathlib import Path
from typing import ClassVar
import numpy as np
from medeval.types import Segmentation

class Table:
    source: ClassVar[bool] = True
    by_case: ClassVar[tuple[str, ...]] = ("file",)
    def __init__(self, file: Path, above: int = 100) -> None:
        self.rows, self.above = json.loads(file.read_text()), above
    def answer_identity(self, case):
        return self.rows.get(case.id)
    def output(self, case, key):
        return Segmentation(case.inputs["image"].array[0] > self.rows[case.id])
"""


def test_a_source_of_ones_own_tells_by_case(small):
    (small.folder / "source.py").write_text(SOURCE)
    rows = dict.fromkeys(CASES, 100)
    table = small.folder / "rows.json"
    table.write_text(json.dumps(rows))
    small.suite(
        datasets={"pics": small.pictures(cases=4)},
        models={"table": {"adapter": "source.py:Table", "file": "rows.json"}},
        tasks=[small.task()],
    )
    small.run()
    table.write_text(json.dumps({**rows, "p2-c02": 180, "nobody": 1}))
    assert run_again(small)[0] == [("predict", ["p2-c02"])]


def test_a_row_of_a_table_of_scores_is_its_own_answer(small):
    studies = small.folder / "studies.csv"
    studies.write_text("id,y\n" + "".join(f"s{n},{n % 2}\n" for n in range(6)))
    scores = small.folder / "scores.csv"
    held = [f"s{n},0.{n + 1}" for n in range(6)]
    scores.write_text("case_id,score\n" + "\n".join(held))
    small.suite(
        datasets={"studies": {"format": "table", "file": "studies.csv", "id": "id", "reference": {"label": "y"}}},
        models={"vendor": {"adapter": "scores", "file": "scores.csv", "threshold": 0.5}},
        tasks=[{"task": "classification", "batch_size": 2}],
    )  # fmt: skip
    small.run()
    scores.write_text("case_id,score\n" + "\n".join(["s0,0.9", *held[1:]]))
    assert run_again(small)[0] == [("predict", ["s0", "s1"])]  # a batch is always done as a whole
