"""Plain files as plug-ins: found, imported with their siblings, the same in every process, told apart by their bytes."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import sys
from pathlib import Path

import pytest

from medeval.plugins import absolute, build, resolve, source_identity
from medeval.types import PluginError

GROUP = "medeval.adapters"
MODEL = "class Model:\n    def __init__(self, threshold: float = 0.5) -> None:\n        self.threshold = threshold\n"


def write(folder: Path, **sources: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def test_a_file_is_looked_for_beside_the_suite_then_in_the_working_directory(tmp_path, monkeypatch):
    suite, here = (
        write(tmp_path / "suite", a="class A: where = 'suite'"),
        write(tmp_path / "here", a="class A: where = 'here'"),
    )
    write(here, b="class B: where = 'here'")
    monkeypatch.chdir(here)
    assert resolve(GROUP, "a.py:A", suite).where == "suite"
    assert resolve(GROUP, "b.py:B", suite).where == "here"
    assert resolve(GROUP, f"{here}/a.py:A", suite).where == "here"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("gone.py:Model", r"no file 'gone.py' in .* nor in "),
        ("model.py", r"names a file but no class in it; write 'model.py:Class'"),
        ("model.py:Modle", r"no 'Modle' there; did you mean 'Model'\? known: Model"),
        ("model.py:", r"no '' there"),
        ("broken.py:Model", r"broken.py does not import: SyntaxError: .*broken.py:2"),
        (
            "raises.py:Model",
            r"raises.py does not import: ZeroDivisionError: division by zero \(.*raises.py:3\)",
        ),
        ("exits.py:Model", r"exits.py does not import: SystemExit: 1 \(.*exits.py:2\)"),
        (
            "no_such_package.models:Model",
            r"no module 'no_such_package' in this environment; .*path/file.py:Class",
        ),
        ("json.decoder:Nope", r"no 'Nope' there"),
    ],
)
def test_what_cannot_be_resolved_says_why(tmp_path, reference, message):
    write(
        tmp_path,
        model=MODEL,
        broken="x = 1\ndef f(:\n",
        raises="def f():\n    return 1\nx = f() / 0\n",
        exits="import sys\nsys.exit(1)\n",
    )
    with pytest.raises(PluginError, match=message):
        resolve(GROUP, reference, tmp_path)


def test_siblings_are_importable_but_the_folder_does_not_stay_on_the_path(tmp_path):
    write(tmp_path, model="from sibling_net import SIZE\nclass Model: size = SIZE", sibling_net="SIZE = 3")
    assert resolve(GROUP, "model.py:Model", tmp_path).size == 3
    assert str(tmp_path) not in sys.path


def test_siblings_of_one_name_in_two_folders_do_not_meet(tmp_path):
    for name in ("one", "two"):
        write(
            tmp_path / name,
            model="import network\nclass Model:\n    eager = network.NAME\n    def __init__(self) -> None:\n"
            "        import network as again\n        self.lazy = again.NAME\n",
            network=f"NAME = {name!r}",
        )
    one, two = (resolve(GROUP, f"{name}/model.py:Model", tmp_path) for name in ("one", "two"))
    assert (one.eager, two.eager) == ("one", "two")
    assert (build(one, {}).lazy, build(two, {}).lazy, build(one, {}).lazy) == ("one", "two", "one")


def test_an_edited_file_is_imported_again(tmp_path):
    write(tmp_path, model="from part import X\nclass Model: x = X", part="X = 1")
    assert resolve(GROUP, "model.py:Model", tmp_path) is resolve(GROUP, "model.py:Model", tmp_path)
    write(tmp_path, part="X = 2")
    assert resolve(GROUP, "model.py:Model", tmp_path).x == 2


def test_one_file_is_identified_by_the_hash_of_its_bytes(tmp_path):
    write(tmp_path, model=MODEL)
    expected = f"sha256:{hashlib.sha256(MODEL.encode()).hexdigest()}"
    assert source_identity("model.py:Model", group=GROUP, base=tmp_path) == expected
    assert source_identity(resolve(GROUP, "model.py:Model", tmp_path)) == expected


def test_siblings_that_are_imported_late_belong_to_the_identity(tmp_path):
    write(
        tmp_path,
        model="class Model:\n    def go(self):\n        import net\n",
        net="from net2 import x",
        net2="x = 1",
        unused="",
    )
    before = source_identity("model.py:Model", base=tmp_path)
    write(tmp_path, unused="y = 1")
    assert source_identity("model.py:Model", base=tmp_path) == before
    write(tmp_path, net2="x = 2")
    assert source_identity("model.py:Model", base=tmp_path) != before


def test_identity_does_not_depend_on_where_the_folder_is(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, model="import net\nclass Model: pass", net="")
    assert source_identity("a/model.py:Model", base=tmp_path) == source_identity(
        "b/model.py:Model", base=tmp_path
    )


def _in_child(reference: str, data: bytes) -> tuple[float, float, str]:
    cls = resolve(GROUP, reference)
    return build(cls, {"threshold": 0.25}).threshold, pickle.loads(data).threshold, cls.__module__


def test_a_child_process_builds_and_unpickles_a_files_class(tmp_path):
    write(tmp_path, model=MODEL)
    cls = resolve(GROUP, "model.py:Model", tmp_path)
    data = pickle.dumps(build(cls, {"threshold": 0.75}))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answer = pool.apply(_in_child, (absolute("model.py:Model", tmp_path), data))
    assert answer == (0.25, 0.75, cls.__module__)


def test_absolute_leaves_other_references_alone(tmp_path):
    assert absolute("random-walker", tmp_path) == "random-walker"
    assert absolute("package.module:Class", tmp_path) == "package.module:Class"
