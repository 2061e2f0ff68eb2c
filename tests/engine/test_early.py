"""The next image is encoded while prompts are answered on this one: nothing but the clock can tell."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ahead_world import entry, plugin

from medeval.tasks.context import MISSING, Context
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.types import Case

PROMPTS = ["box", "2 points", "3 clicks", "box + 2 clicks"]
FINE = {"ok", "carried", "undefined"}


@pytest.fixture
def ahead(small, monkeypatch):
    """Runs a suite, ahead or not; returns the run and the model's events."""

    def run(ahead=True, *, data=None, task=None, **options):
        monkeypatch.setenv("AHEAD", "1" if ahead else "0")
        small.suite(
            datasets={"pics": data or small.pictures(patients=1)},
            models={"mine": entry(small, **options)},
            tasks=[small.task(**{"prompts": PROMPTS, **(task or {})})],
        )
        cls = plugin(small)
        for kept in (cls.events, cls.began):
            kept.clear()
        cls.most = 0
        made = small.run("suite.yaml", f"ahead-{ahead}")
        return made, list(cls.events)

    return run


def encoded(events, thread=None):
    """Cases whose image was encoded, in order; by ``thread`` alone where one is named."""
    return [case for what, case, where in events if what == "encode" and (thread is None or where == thread)]


@pytest.mark.parametrize(
    "task",
    [
        {},
        {"frame": 16},
        {"prompt_seeds": 2, "prompts": ["2 points", "2 clicks"]},
        {"joint": True},
        {"crop": 9.0},
        {"absent": "scored", "prompts": ["2 clicks"]},
        {"task": "prompted-robustness", "corruptions": ["noise"], "severities": [1, 3]},
    ],
    ids=lambda task: " ".join(task) or "plain",
)
def test_a_run_is_the_same_bytes(small, ahead, task):
    _, serial = ahead(False, task=task)
    _, events = ahead(True, task=task)
    assert small.parts("ahead-True") == small.parts("ahead-False")
    cells = 3 if "corruptions" in task else 1
    assert sorted(encoded(events)) == sorted(encoded(serial))
    assert len(encoded(serial)) == 6 * cells  # nothing twice
    assert encoded(serial, "aside") == []
    assert len(encoded(events, "main")) == cells  # the first of each cell alone had nothing before it


def test_an_image_is_begun_before_the_answers_on_the_one_before_are_done(ahead):
    """The model answers on an image once the next one was begun; serially it would wait in vain."""
    run, _ = ahead(does="waits for the next", at=5)
    assert set(run.records()["status"]) <= FINE


def test_one_encoded_image_is_held_beside_the_one_that_is_asked(small, ahead):
    ahead()
    assert plugin(small).most == 2
    ahead(False)
    assert plugin(small).most == 1


def test_a_model_that_does_not_say_so_is_never_asked_in_another_thread(ahead):
    _, events = ahead(False)
    assert {where for _, _, where in events} == {"main"}


@pytest.mark.parametrize("does", ["encode raises", "encode exits", "encode memory", "raises"])
def test_failures_are_told_of_the_same_cases_in_the_same_words(small, ahead, does):
    run, events = ahead(does=does, at=2)
    ahead(False, does=does, at=2)
    assert small.parts("ahead-True") == small.parts("ahead-False")
    bad = run.records().query("case == 'p0-c02'")
    assert set(bad["status"]) == {"infrastructure" if does == "encode memory" else "model_failed"}
    assert events.count(("encode", 2, "main")) == does.startswith("encode")
    assert encoded(events, "aside") == ([1, 2] if does == "encode memory" else [1, 2, 3, 4, 5])


def test_no_model_can_change_an_image_before_it_is_asked(small, ahead):
    run, _ = ahead(does="encode mutates")
    ahead(False, does="encode mutates")
    assert small.parts("ahead-True") == small.parts("ahead-False")
    assert "read-only" in run.records().query("status == 'model_failed'")["error"].iloc[0]


def test_an_image_that_did_not_fit_beside_another_is_encoded_when_asked_and_nothing_is_begun_any_more(
    small, ahead
):
    run, events = ahead(does="encode memory aside", at=2)
    assert set(run.records()["status"]) <= FINE
    assert encoded(events, "aside") == [1, 2]
    assert encoded(events, "main") == [0, 2, 3, 4, 5]
    ahead(False, does="encode memory aside", at=2)
    assert small.parts("ahead-True") == small.parts("ahead-False")


def test_answers_that_did_not_fit_beside_the_next_image_are_asked_again_without_it(small, ahead):
    run, events = ahead(does="segment memory beside", at=2)
    assert set(run.records()["status"]) <= FINE
    assert encoded(events, "main") == [0, 3, 4, 5]  # what was begun of 3 was let go
    ahead(False, does="segment memory beside", at=2)
    assert small.parts("ahead-True") == small.parts("ahead-False")


def test_a_case_that_cannot_be_read_is_passed_over(small, ahead):
    data = small.pictures(patients=1)
    (small.folder / "data" / "images" / "p0-c02.png").write_bytes(b"no picture")
    run, events = ahead(data=data)
    ahead(False, data=data)
    assert small.parts("ahead-True") == small.parts("ahead-False")
    assert set(run.records().query("case == 'p0-c02'")["status"]) == {"data_error"}
    assert encoded(events, "main") == [0, 3]  # after the gap nothing had been begun
    assert encoded(events, "aside") == [1, 4, 5]


def test_an_image_about_which_nothing_will_be_asked_is_not_encoded(small, ahead):
    _, events = ahead(task={"structures": ["bar"]})  # in even cases only
    assert encoded(events) == [0, 2, 4]
    assert encoded(events, "aside") == [2, 4]


def test_times_tell_what_an_encoding_took_and_how_long_it_was_waited_for(ahead):
    run, _ = ahead()
    told = run.timings()
    assert told.query("name == 'encode'").groupby("case").size().to_dict() == {
        f"p0-c0{n}": 1 for n in range(6)
    }
    assert sorted(told.query("name == 'encode waited'")["case"]) == sorted(f"p0-c0{n}" for n in range(1, 6))


def test_a_task_that_changes_its_cases_on_the_way_loses_one_encoding_at_most(small, ahead, monkeypatch):
    whole = PromptedSegmentation.predict
    monkeypatch.setattr(
        PromptedSegmentation, "predict",
        lambda self, model, cases, context: whole(self, model, (replace(case) for case in cases), context),
    )  # fmt: skip
    run, events = ahead()
    assert set(run.records()["status"]) <= FINE
    assert encoded(events, "aside") == [1]
    assert encoded(events, "main") == [0, 1, 2, 3, 4, 5]


class Held:
    """Early work that is there after 7.5 seconds of another thread's time."""

    def __init__(self, found):
        self.found = found

    def take(self, case):
        return self.found


def test_an_encoding_is_charged_for_its_own_seconds_wherever_it_ran():
    case = Case("one", None, {}, {})
    context = Context(early=Held(("encoded", 7.5)))
    assert context.begun(case, "encode") == "encoded"
    first, second = context.timings
    assert (first.case_id, first.name, first.seconds) == ("one", "encode", 7.5)
    assert (second.case_id, second.name) == ("one", "encode waited")


def test_where_nothing_was_begun_nothing_is_charged():
    context = Context(early=Held(None))
    assert context.begun(Case("one", None, {}, {}), "encode") is MISSING
    assert context.timings == []
