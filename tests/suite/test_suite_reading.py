"""What a suite's YAML means: values, variables, anchors, overrides."""

from __future__ import annotations

import pytest

from medeval.suite import Suite
from medeval.suite.mistakes import Mistakes, Place
from medeval.suite.source import Reader, compose
from medeval.types import SuiteError

SUITE = """\
datasets:
  demo: {format: "plug.py:Folder", root: data}
models:
  walker: &walker
    adapter: "plug.py:Walker"
    beta: 2
  v1.5: {adapter: "plug.py:Walker"}
tasks:
  - task: "plug.py:Ask"
    prompts: [box, 1 point]
  - {task: "plug.py:Ask", name: other}
"""


def read(text: str):
    mistakes = Mistakes(Place("x.yaml"))
    value = Reader(mistakes).read(compose(text, Place("x.yaml")), (), Place("x.yaml"))
    mistakes.tell()
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-1", -1), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("1e-3", 0.001), ("1.e3", 1000.0), (".5", 0.5),
        (".inf", float("inf")), ("-.inf", float("-inf")), ("+5", 5), ("0", 0), ("true", True), ("FALSE", False),
        ("null", None), ("~", None), ("yes", "yes"), ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("007", "007"),
        ("00.5", "00.5"), ("2024-01-01", "2024-01-01"), ("'1'", "1"), ('"true"', "true"), ("!!str 1", "1"),
        ("!!float 1", 1.0), ("|\n  a\n  b\n", "a\nb\n"), ("1_000", "1_000"), ("=", "="), ("1 point", "1 point"),
        ("{1: a, true: b}", {"1": "a", "true": "b"}), ("[a, [b]]", ["a", ["b"]]), ("nsd@2mm:voxel", "nsd@2mm:voxel"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_yaml_1_2_with_numbers_and_text_as_people_mean_them(text, value):
    assert read(text) == value
    assert type(read(text)) is type(value)


def test_an_anchor_is_read_at_each_alias_and_merged_keys_give_way():
    data = read("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, x: 3}\nd: {<<: [{x: 5}, *a]}\n")
    assert data == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 2},
        "c": {"x": 3, "y": 2},
        "d": {"x": 5, "y": 2},
    }
    assert data["a"] is not data["b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NUMBER}", 8),
        ("'${NUMBER}'", "8"),
        ("!!str ${NUMBER}", "8"),
        ("port ${NUMBER}", "port 8"),
        ("${DIR}/x/${NUMBER}", "/data/x/8"),
        ("${MISSING:-3}", 3),
        ("${MISSING:-}", None),
        ("${EMPTY:-3}", 3),
        ("'${EMPTY}'", ""),
        ("${TRICK}", "[1, 2]"),
        ("$${NUMBER}", "${NUMBER}"),
        ("$NUMBER", "$NUMBER"),
        ("['${NUMBER}', b]", ["8", "b"]),
    ],
)
def test_environment_variables_are_put_into_scalars(monkeypatch, text, value):
    for name, content in {"NUMBER": "8", "DIR": "/data", "EMPTY": "", "TRICK": "[1, 2]"}.items():
        monkeypatch.setenv(name, content)
    assert read(text) == value


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("models.walker.beta=10", ("models", "walker", "beta"), 10),
        ("models.v1.5.beta=3", ("models", "v1.5", "beta"), 3),
        ("models.walker.tags=[a, b]", ("models", "walker", "tags"), ["a", "b"]),
        ("models.walker.key=a=b", ("models", "walker", "key"), "a=b"),
        ("models.walker.key='5'", ("models", "walker", "key"), "5"),
        ("tasks.0.prompts=[mask]", ("tasks", 0, "prompts"), ["mask"]),
        ("tasks.0.prompts.1=mask", ("tasks", 0, "prompts"), ["box", "mask"]),
        ("tasks.other.prompts=[mask]", ("tasks", 1, "prompts"), ["mask"]),
        ("tasks.Ask.prompts=[mask]", ("tasks", 0, "prompts"), ["mask"]),
        ("datasets.demo.select.site=A", ("datasets", "demo", "select"), {"site": "A"}),
        ("seeds=[1, 2]", ("seeds",), [1, 2]),
        ("name=renamed", ("name",), "renamed"),
        ("models.new={adapter: 'plug.py:Walker', beta: 7}", ("models", "new", "beta"), 7),
    ],
)
def test_an_override_replaces_one_value(load, text, path, value):
    found = load(SUITE, text).resolved()
    for key in path:
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models.wlker.beta=3", "no 'wlker' in models; did you mean 'walker'? known: v1.5, walker"),
        ("modles.walker.beta=3", "no 'modles' in the suite; did you mean 'models'? known: datasets, models, tasks"),
        ("tasks.2.prompts=[a]", "no '2' in tasks; known: 0, 1, Ask, other"),
        ("tasks.othr.prompts=[a]", "no 'othr' in tasks; did you mean 'other'? known: 0, 1, Ask, other"),
        ("models.walker.beta.x=3", "models.walker.beta is a single value, there is no 'x' in it"),
        ("models.walker.beta", "write key=value, for example models.walker.beta=10"),
        ("=3", "write key=value, for example models.walker.beta=10"),
        ("models.walker.tags=[a", "not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'"),
        ("models.walker.beta=!!python/name:os.system x", "models.walker.beta: tag '!!python/name:os.system' is refused and was not executed; a suite holds plain data only"),
        ("models.walker.bta=3", "models.walker.bta: unknown option 'bta'; did you mean 'beta'? known: adapter, baseline, beta, checkpoint, key, tags, timeout, trained_on"),
        ("models.walker.beta=x", "models.walker.beta: expected a number, got 'x'"),
    ],
)  # fmt: skip
def test_an_override_that_does_not_fit_is_told_as_it_was_typed(load, text, message):
    with pytest.raises(SuiteError) as caught:
        load(SUITE, text)
    assert str(caught.value) == f"--set {text}: {message}"


def test_an_override_mends_a_mistake_of_the_file(load):
    broken = SUITE.replace("beta: 2", "beta: ${NOT_SET}")
    assert load(broken, "models.walker.beta=4").model_specs["walker"].options["beta"] == 4


def test_overrides_are_applied_in_order(load):
    suite = load(SUITE, "models.walker={adapter: 'plug.py:Walker'}", "models.walker.beta=5")
    assert suite.model_specs["walker"].options["beta"] == 5


def test_an_override_of_one_alias_leaves_the_others(load):
    text = SUITE.replace("  v1.5: {", "  again: *walker\n  v1.5: {")
    suite = load(text, "models.again.beta=9")
    assert [suite.model_specs[name].options["beta"] for name in ("walker", "again")] == [2, 9]


def test_a_byte_order_mark_is_no_mistake(folder):
    (folder / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + (folder / "good.yaml").read_bytes())
    assert Suite.load("bom.yaml").name == "abdomen-prompts"
