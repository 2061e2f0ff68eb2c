"""No first-party adapter, source or method of adaptation raises an alarm; one that is registered tomorrow is checked too."""

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from medeval.conformance import check_model
from medeval.conformance.protocols import PROTOCOLS

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
GROUPS = ("medeval.adapters", "medeval.adaptations")
NAMES = [name for group in GROUPS for name in PROJECT[group]]
FAST = {"box-as-mask", "empty", "oracle", "predictions", "scores", "dialogues", "physician-completions", "rule-patient",
        "scripted-doctor", "region-growing"}  # fmt: skip
FURTHER = [
    ("empty", "segmentation"), ("empty", "robustness"), ("region-growing", "prompted-robustness"),
    ("torch-segmenter", "segmentation"), ("torch-segmenter", "domain-adaptation"), ("oracle", "segmentation"),
]  # fmt: skip


def alarms(found):
    return [finding for finding in found if finding.verdict == "fail"]


def judged(found):
    return [finding for finding in found if finding.verdict == "pass"]


def param(name, *more):
    return pytest.param(
        name, *more, marks=() if name in FAST else pytest.mark.slow, id="-".join((name, *more))
    )


@pytest.fixture(autouse=True)
def cache(world, monkeypatch):
    monkeypatch.setenv("MEDEVAL_CACHE", str(world.folder / "cache"))


@pytest.mark.parametrize("name", [param(name) for name in NAMES])
def test_what_is_registered_raises_no_alarm(name, world):
    found = check_model(name, world.options(name), data=world.data(name))
    assert alarms(found) == []
    assert len(judged(found)) >= 9, found


@pytest.mark.parametrize(("name", "task"), [param(*pair) for pair in FURTHER])
def test_what_has_several_protocols_conforms_to_each(name, task, world):
    found = check_model(name, world.options(name), task=task, data=world.data(name))
    assert alarms(found) == []
    assert len(judged(found)) >= 9, found


def test_a_chat_client_is_asked_through_the_harness():
    found = check_model("scripted", {"otherwise": "B"}, task="question-answering")
    assert alarms(found) == []
    assert len(judged(found)) >= 9, found


def test_every_task_has_checks():
    assert set(PROTOCOLS) == {entry.name for entry in entry_points(group="medeval.tasks")}
