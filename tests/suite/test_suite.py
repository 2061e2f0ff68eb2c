"""What a suite that holds gives: specs, cells, its resolved form, its schema, and how it is found."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from medeval.plugins import build, load_group, resolve
from medeval.suite import Suite, find_suite
from medeval.types import Spec, SuiteError

FULL = """\
name: full
seeds: [3, 4]
datasets:
  one: {format: "plug.py:Folder", root: data}
  two: {format: "plug.py:Folder", root: /elsewhere}
models:
  walker: {adapter: "plug.py:Walker", checkpoint: weights.pt}
  mine: {adapter: "plug.py:Walker", beta: 3, timeout: 60, baseline: false, trained_on: [amos, flare]}
tasks:
  - task: "plug.py:Ask"
  - task: "plug.py:Ask"
    name: tuned
    train: two
    datasets: [two]
    models: [mine]
"""


def test_a_model_has_its_options_and_what_medeval_keeps_for_itself(load, folder):
    suite = load(FULL)
    walker, mine = suite.model_specs["walker"], suite.model_specs["mine"]
    assert (walker.timeout, walker.baseline, walker.trained_on) == (None, True, ("mni",))
    assert (mine.timeout, mine.baseline, mine.trained_on) == (60.0, False, ("amos", "flare"))
    assert walker.options == {"beta": 1.0, "key": "", "checkpoint": str(folder / "weights.pt"), "tags": []}
    assert build(resolve("medeval.adapters", mine.reference, suite.base), mine.options).beta == 3.0


def test_a_dataset_is_a_spec_with_absolute_paths(load, folder):
    spec = load(FULL).dataset_specs["one"]
    assert isinstance(spec, Spec)
    assert spec.reference == "plug.py:Folder"
    assert spec.options["root"] == str(folder / "data")


def test_specs_cross_a_process(load):
    suite = load(FULL)
    specs = dict(suite.model_specs), dict(suite.dataset_specs)
    assert pickle.loads(pickle.dumps(specs)) == specs


def test_cells_are_the_product_that_the_tasks_leave(load):
    cells = [(cell.task.name, cell.dataset, cell.model, cell.arm, cell.seed) for cell in load(FULL).cells()]
    assert cells == [
        ("Ask", "one", "walker", "", 3), ("Ask", "one", "walker", "", 4),
        ("Ask", "one", "mine", "", 3), ("Ask", "one", "mine", "", 4),
        ("Ask", "two", "walker", "", 3), ("Ask", "two", "walker", "", 4),
        ("Ask", "two", "mine", "", 3), ("Ask", "two", "mine", "", 4),
        ("tuned", "two", "mine", "plain", 3), ("tuned", "two", "mine", "plain", 4),
        ("tuned", "two", "mine", "tuned", 3), ("tuned", "two", "mine", "tuned", 4),
    ]  # fmt: skip


@pytest.mark.parametrize(("line", "seeds"), [("", (0,)), ("seed: 7\n", (7,)), ("seeds: [1, 2]\n", (1, 2))])
def test_seeds(load, folder, line, seeds):
    assert load(line + (folder / "good.yaml").read_text()).seeds == seeds


def test_the_name_is_the_files_when_none_is_given(load, folder):
    assert load((folder / "good.yaml").read_text().replace("name: abdomen-prompts\n", "")).name == "suite"


def test_resolved_has_defaults_and_paths_as_written(load):
    resolved = load(FULL).resolved()
    assert resolved["seeds"] == [3, 4]
    assert resolved["datasets"]["one"]["root"] == "data"
    assert resolved["datasets"]["one"]["limit"] is None
    assert resolved["models"]["walker"] == {
        "adapter": "plug.py:Walker", "timeout": None, "baseline": True, "trained_on": ["mni"],
        "beta": 1.0, "key": "", "checkpoint": "weights.pt", "tags": [],
    }  # fmt: skip
    assert resolved["tasks"][0]["name"] == "Ask"
    assert resolved["tasks"][0]["jitter"] == "none"


def test_the_resolved_form_is_the_same_suite(load):
    suite = load(FULL)
    again = Suite.from_dict(json.loads(json.dumps(suite.resolved())), suite.base)
    assert again.resolved() == suite.resolved()
    assert again.cells() == suite.cells()
    assert dict(again.model_specs) == dict(suite.model_specs)


def test_a_caller_cannot_change_a_suite_through_its_resolved_form(load):
    suite = load(FULL)
    suite.resolved()["models"].clear()
    assert set(suite.resolved()["models"]) == {"walker", "mine"}


def test_a_secret_reaches_the_model_but_no_file(load, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-very-secret")
    monkeypatch.setenv("BETA", "5")
    text = FULL.replace("beta: 3,", "beta: '${BETA}', key: 'k-${MY_API_KEY}',").replace(
        "'${BETA}'", "!!float '${BETA}'"
    )
    suite = load(text)
    assert suite.model_specs["mine"].options["key"] == "k-sk-very-secret"
    assert suite.resolved()["models"]["mine"]["key"] == "k-${MY_API_KEY}"
    assert suite.resolved()["models"]["mine"]["beta"] == 5
    assert "sk-very" not in repr(suite) + repr(suite.model_specs) + json.dumps(suite.resolved())
    again = Suite.from_dict(suite.resolved(), suite.base)
    assert again.model_specs["mine"].options["key"] == "k-sk-very-secret"


def test_text_that_looks_like_a_variable_survives_the_resolved_form(load):
    suite = load(FULL.replace("beta: 3,", "key: 'a $${b}',"))
    assert suite.model_specs["mine"].options["key"] == "a ${b}"
    assert Suite.from_dict(suite.resolved(), suite.base).model_specs["mine"].options["key"] == "a ${b}"


def test_from_dict_takes_python_values_and_overrides(folder):
    suite = Suite.from_dict(
        {
            "datasets": {"demo": {"format": "plug.py:Folder", "root": Path("data")}},
            "models": {"walker": {"adapter": "plug.py:Walker", "tags": ("a",)}},
            "tasks": ({"task": "plug.py:Ask", "prompts": ["box"]},),
        },
        base=folder,
        overrides=["tasks.0.prompts=[mask]"],
    )
    assert suite.tasks[0].prompts == ("mask",)
    assert suite.dataset_specs["demo"].options["root"] == str(folder / "data")


def test_registered_suites_are_found_by_name(install, folder):
    site = install(
        "stranger",
        {
            "stranger_suites/__init__.py": "raise RuntimeError('never imported')",
            "stranger_suites/demo.yaml": "name: x",
        },
        {"medeval.suites": {"demo": "stranger_suites:demo.yaml", "gone": "stranger_suites:gone.yaml"}},
    )
    assert find_suite("demo") == site / "stranger_suites" / "demo.yaml"
    assert find_suite("stranger_suites:demo.yaml") == site / "stranger_suites" / "demo.yaml"
    (folder / "demo").write_text("name: y")
    assert find_suite("demo") == Path("demo")
    for reference, message in {
        "demoo": "no suite 'demoo': no such file, and no such registered suite; did you mean 'demo'",
        "gone": r"suite 'gone' \(stranger_suites:gone.yaml\): package 'stranger_suites' has no file 'gone.yaml'",
        "nowhere_at_all:x.yaml": "there is no package 'nowhere_at_all'",
        "missing.yaml": f"no file 'missing.yaml' in {folder}",
        ".": "is a folder; a suite is a YAML file",
    }.items():
        with pytest.raises(SuiteError, match=message):
            find_suite(reference)


def test_an_unreadable_file_is_told(folder, monkeypatch):
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SuiteError, match=r"good.yaml: cannot be read: Permission denied"):
        Suite.load("good.yaml")


def test_the_schema_completes_the_options_of_each_registered_plugin(install, folder):
    source = (folder / "plug.py").read_text()
    install(
        "stranger",
        {"stranger_plug.py": source, "broken_plug.py": "import zz_not_there"},
        {
            "medeval.datasets": {"folder": "stranger_plug:Folder"},
            "medeval.adapters": {
                "walker": "stranger_plug:Walker",
                "bad": "broken_plug:X",
                "loose": "stranger_plug:Careless",
            },
            "medeval.tasks": {"ask": "stranger_plug:Ask"},
        },
    )
    schema = Suite.json_schema()
    definitions = schema["$defs"]
    json.dumps(schema)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["datasets", "models", "tasks"]
    walker = definitions["adapters-walker"]
    assert walker["properties"]["adapter"]["const"] == "walker"
    assert {"beta", "timeout", "baseline", "trained_on"} <= set(walker["properties"])
    assert walker["additionalProperties"] is False
    assert definitions["datasets-folder"]["required"] == ["format", "root"]
    assert definitions["tasks-ask"]["properties"]["task"]["const"] == "ask"
    assert "adapters-bad" not in definitions
    assert "adapters-loose" not in definitions
    references = set(_references(schema))
    assert references
    assert references <= {f"#/$defs/{name}" for name in definitions}


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


def test_the_schema_holds_every_first_party_plugin_that_imports():
    known = load_group("medeval.datasets")
    if not known:
        pytest.skip("medeval's entry points are not installed")
    assert {f"datasets-{name}" for name in known} <= set(Suite.json_schema()["$defs"])


@pytest.mark.parametrize("good", [True, False])
def test_the_schema_tells_a_suite_from_a_wrong_one(install, folder, good):
    jsonschema = pytest.importorskip("jsonschema")
    source = (folder / "plug.py").read_text()
    install(
        "stranger",
        {"stranger_plug.py": source},
        {
            "medeval.datasets": {"folder": "stranger_plug:Folder"},
            "medeval.adapters": {"walker": "stranger_plug:Walker"},
            "medeval.tasks": {"ask": "stranger_plug:Ask"},
        },
    )
    suite = {
        "datasets": {"demo": {"format": "folder", "root": "x"}},
        "models": {
            "w": {"adapter": "walker", "beta" if good else "bta": 1.0},
            "m": {"adapter": "m.py:M", "any": 1},
        },
        "tasks": [{"task": "ask", "jitter": {"sigma": 1}}],
    }
    errors = list(jsonschema.Draft202012Validator(Suite.json_schema()).iter_errors(suite))
    assert bool(errors) is not good
