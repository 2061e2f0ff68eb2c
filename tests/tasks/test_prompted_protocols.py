"""Options of prompted sessions beyond the plain ones: absence, seeds, history, crops, joint answers, recorded people."""

import json

import numpy as np
import pytest

from medeval.interaction.corrections import on_background
from medeval.tasks.context import Context
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.prompted_segmentation.presets import presets
from medeval.types import (
    Capabilities,
    Case,
    EvaluatorFailure,
    Failure,
    Grid,
    Image,
    LabelMap,
    Output,
    Segmentation,
    Status,
)

SHAPE = (20, 16, 12)
NAMES = {"liver": (1,), "spleen": (2,), "kidney": (3,)}


def case(id_="case", spacing=(1.0, 1.0, 2.0), held=(1, 2)):
    array = np.zeros(SHAPE, np.uint8)
    for value in held:
        array[2 + 6 * (value - 1) : 6 + 6 * (value - 1), 3:9, 2:8] = value
    image = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    return Case(
        id_, None, {"image": Image(image, Grid(SHAPE, spacing))}, {"structures": LabelMap(array, NAMES)}
    )


class Painter:
    """Paints a block around each click it is shown, and clears one around each background click."""

    def __init__(self, prompts=("box", "boxes", "points", "mask", "lasso"), start=None):
        self.takes = Capabilities(prompts=frozenset(prompts))
        self.asked, self._start = [], start

    def encode(self, image):
        return image.grid.shape

    def segment(self, shape, prompts):
        self.asked.append(list(prompts))
        return [Segmentation(self.paint(shape, prompt)) for prompt in prompts]

    def paint(self, shape, prompt):
        mask = np.zeros(shape, bool) if self._start is None else self._start.copy()
        points = [] if prompt.points is None else zip(prompt.points, prompt.labels, strict=True)
        for point, label in points:
            mask[tuple(slice(max(0, p - 2), p + 3) for p in point)] = bool(label)
        return mask


def run(model, *prompts, cases=None, seed=0, **fields):
    task = PromptedSegmentation(
        **{"metrics": ("dice",), **fields}, **({"prompts": prompts} if prompts else {})
    )
    cases = cases or [case()]
    events = list(task.predict(model, iter(cases), Context(seed)))
    owed = [key for one in cases for key in task.owed(one, Context(seed))]
    assert sorted(event.key for event in events) == sorted(owed)
    return task, events


def outputs(events):
    return {event.key: event for event in events if isinstance(event, Output)}


# -- absent structures ---------------------------------------------------------------------------------------------


def test_background_clicks_can_empty_the_mask_of_an_absent_structure():
    leak = np.zeros(SHAPE, bool)
    leak[15:18, 10:13, 5:8] = True
    model = Painter(start=leak)
    task, events = run(model, "box", "3 clicks", absent="scored")
    absent = [o for k, o in sorted(outputs(events).items()) if k.structure == "kidney"]
    assert [o.key.round for o in absent] == [1, 2, 3]
    first = json.loads(absent[0].columns["points"])
    assert first[0][-1] == 0  # "it is not here"
    assert [bool(o.value.mask.any()) for o in absent] == [True, False, False]
    assert absent[2].status == Status.CARRIED
    scored = task.score(case(), absent[0], Context())[0].values["dice"]
    assert (scored.statistic, scored.rule) == (None, "structure absent")


def test_only_sessions_of_clicks_are_asked_for_what_is_absent():
    _, events = run(Painter(), "box + 2 clicks", "2 points", "2 clicks", absent="scored")
    assert {k.prompt for k in outputs(events) if k.structure == "kidney"} == {"2 clicks"}
    _, events = run(Painter(), "box", absent="scored")
    lone = [e for e in events if isinstance(e, Failure)]
    assert [(e.key.structure, e.key.prompt, e.status) for e in lone] == [("kidney", "", Status.UNDEFINED)]


# -- seeds ---------------------------------------------------------------------------------------------------------


def test_samples_are_drawn_apart_and_the_first_is_the_plain_one():
    rule = {"click_rule": "random-in-error"}
    _, plain = run(Painter(), "box", "3 points", "2 clicks", **rule)
    _, several = run(Painter(), "box", "3 points", "2 clicks", prompt_seeds=3, **rule)
    samples = {}
    for key, output in outputs(several).items():
        samples.setdefault(key._replace(sample=0), []).append(output.columns.get("points"))
        if key.sample == 0:
            assert output.columns == outputs(plain)[key].columns
    assert {len(found) for key, found in samples.items() if key.prompt == "box"} == {
        1
    }  # nothing random in it
    assert all(len(set(found)) == 3 for key, found in samples.items() if key.prompt == "3 points")


# -- who is asked what ---------------------------------------------------------------------------------------------


def test_joint_asks_for_right_masks_too_and_in_one_call():
    right = case().reference["structures"].mask("liver")

    class Half(Painter):
        def paint(self, shape, prompt):
            return right if prompt.structure == "liver" else super().paint(shape, prompt)

    model = Half()
    _, events = run(model, "2 clicks", joint=True, batch_size=1)
    assert [[p.structure for p in batch] for batch in model.asked] == 2 * [["liver", "spleen"]]
    assert {o.status for o in outputs(events).values()} == {Status.OK}
    assert len(model.asked[1][0].points) == 1  # nothing was corrected


def test_the_newest_history_shows_the_last_rounds_points_alone():
    model = Painter()
    _, events = run(model, "3 clicks", history="newest")
    assert [len(batch[0].points) for batch in model.asked] == [1, 1, 1]
    last = outputs(events)[next(k for k in outputs(events) if k.round == 3 and k.structure == "liver")]
    assert len(json.loads(last.columns["points"])) == 3
    assert last.columns["n_clicks"] == 3


def test_a_crop_keeps_clicks_inside_and_tells_the_box_to_models_that_take_boxes():
    far = np.zeros(SHAPE, bool)
    far[17:, 12:, 9:] = True  # a leak outside of the crop is never clicked
    told, untold = Painter(start=far), Painter(("points",), start=far)
    fields = {"click_rule": "sam-med3d", "crop": 8.0, "structures": ("liver",)}
    for model in (told, untold):
        run(model, "5 clicks", **fields)
        for point in model.asked[-1][0].points:
            assert (np.abs((point - (3.5, 5.5, 4.5)) * (1, 1, 2)) <= 4.0).all()
    assert told.asked[0][0].box.tolist() == [[2, 3, 2], [6, 9, 8]]
    assert untold.asked[0][0].box is None


def test_sam_med3ds_rule_asks_again_when_nothing_is_wrong():
    right = case().reference["structures"].mask("liver")
    model = Painter(start=right)
    model.paint = lambda shape, prompt: right
    _, events = run(model, "3 clicks", click_rule="sam-med3d", structures=("liver",))
    assert len(model.asked) == 3
    assert {o.status for o in outputs(events).values()} == {Status.OK}


def test_kinds_and_pictures_that_do_not_fit_are_not_covered():
    _, events = run(Painter(("points",)), "3 slice boxes", "lasso + 2 clicks", "3 slice points")
    lacking = {e.key.prompt for e in events if isinstance(e, Failure) and e.status == Status.NOT_COVERED}
    assert lacking == {"3 slice boxes", "lasso + 2 clicks"}
    plane = LabelMap(np.ones((6, 6), np.uint8), {"liver": (1,)})
    image = Image(np.zeros((1, 6, 6)), Grid((6, 6), (1.0, 1.0), unit="px"))
    flat = Case("flat", None, {"image": image}, {"structures": plane})
    _, events = run(Painter(), "3 slice points", "1 click", cases=[flat])
    reasons = {e.key.prompt: e.error for e in events if isinstance(e, Failure)}
    assert reasons == {
        "3 slice points": "`3 slice points` is drawn on the slices of a volume; this is a picture"
    }
    assert {o.columns["drawn_mm"] for o in outputs(events).values()} == {None}  # pixels are no millimetres


def test_strokes_and_slice_boxes_stay_with_the_later_clicks():
    model = Painter()
    run(model, "3 slice boxes + 2 clicks", "lasso + 1 click")
    assert [len(batch[0].boxes) for batch in model.asked[:3]] == [6, 6, 6]
    assert [batch[0].strokes[0].kind for batch in model.asked[3:]] == ["lasso", "lasso"]


def test_pairs_come_whatever_the_model_answers():
    asked = []
    for start in (None, np.ones(SHAPE, bool)):
        model = Painter(start=start)
        _, events = run(model, preset="autopet-iv", structures=("liver", "kidney"))
        asked.append([[p.points.tolist() for p in batch] for batch in model.asked])
        assert [len(batch[0].points) for batch in model.asked] == list(range(0, 21, 2))
        absent = [
            json.loads(o.columns["points"])
            for k, o in sorted(outputs(events).items())
            if k.structure == "kidney"
        ]
        assert [len(points) for points in absent] == list(range(11))
    assert asked[0] == asked[1]


# -- recorded people -----------------------------------------------------------------------------------------------


def test_recorded_people_are_replayed_exactly(tmp_path):
    path = tmp_path / "people.jsonl"
    lines = [
        {"case": "case", "structure": "liver", "annotator": "B", "round": 1, "clicks": [[3, 4, 3, 1]], "seconds": 2.0},
        {"case": "case", "structure": "liver", "annotator": "B", "round": 2, "clicks": [[9, 9, 9, 0]], "seconds": 1.5},
        {"case": "case", "structure": "liver", "annotator": "A", "round": 1, "box": [[2, 3, 2], [6, 9, 8]]},
        {"case": "case", "structure": "spleen", "annotator": "A", "round": 1,
         "strokes": [{"kind": "scribble", "path": [[8, 3, 3], [8, 8, 3]]}]},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    model = Painter()
    _, events = run(model, "recorded", recorded=path)
    found = outputs(events)
    key = next(k for k in found if k.round == 2)
    assert (key.structure, key.sample) == ("liver", 1)
    assert found[key].columns["points"] == "[[3, 4, 3, 1], [9, 9, 9, 0]]"
    assert (found[key].columns["human_seconds"], found[key].columns["n_clicks"]) == (3.5, 2)
    reasons = {e.key.structure: e.error for e in events if isinstance(e, Failure) and e.key.prompt}
    assert list(reasons) == ["spleen"]
    assert "scribble" in reasons["spleen"]


def test_recorded_prompts_are_part_of_what_a_run_depends_on(tmp_path):
    path, prints = tmp_path / "people.jsonl", []
    for x in (1, 2):
        path.write_text(json.dumps({"case": "c", "structure": "s", "round": 1, "clicks": [[x, 1, 1, 1]]}))
        prints.append(PromptedSegmentation(prompts=("recorded",), recorded=path).fingerprint("predict"))
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompts": ("recorded",)}, "needs `recorded: FILE.jsonl`"),
        ({"recorded": "people.jsonl"}, "`prompts` does not hold `recorded`"),
        ({"cost": {"scribble": 1.0}}, "cost of 'scribble' is not known"),
        ({"cost": {"click": -1.0}}, "a number from 0"),
        ({"crop": 0}, "greater than 0"),
    ],
)
def test_wrong_options_are_told(fields, told):
    with pytest.raises(ValueError, match=told):
        PromptedSegmentation(**fields)


# -- presets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_is_a_task_and_has_its_twin(name):
    task = PromptedSegmentation(preset=name)
    preset = presets()[name]
    for field, value in preset.fields.items():
        assert getattr(task, field) == value
    base = name.removesuffix("-strict")
    assert {base, f"{base}-strict"} <= set(presets())
    assert bool(preset.mends) == name.endswith("-strict")


def test_a_preset_proposes_groups_that_a_suite_may_overrule():
    assert PromptedSegmentation(preset="sam-med3d").by == ("structure", "anatomy", "seen")
    assert PromptedSegmentation(preset="sam-med3d", by=("structure",)).by == ("structure",)
    with pytest.raises(ValueError, match="preset 'sam-med3d' fixes crop"):
        PromptedSegmentation(preset="sam-med3d", crop=100.0)


def test_a_model_of_pictures_takes_the_boxes_of_slices():
    slicewise = pytest.importorskip("medeval_adapters.slicewise")
    model = slicewise.Slicewise("box-as-mask")
    _, events = run(model, "3 slice boxes", "1 slice box", structures=("liver",))
    found = {k.prompt: o.value.mask for k, o in outputs(events).items()}
    liver = case().reference["structures"].mask("liver")
    assert np.array_equal(found["3 slice boxes"], liver)
    assert found["1 slice box"].any(axis=(0, 1)).sum() == 1


@pytest.mark.parametrize(("prompt", "shown"), [("lasso", "drawn by the user"), ("3 slice boxes", "box")])
def test_what_was_drawn_is_in_the_picture(prompt, shown):
    task, events = run(Painter(), prompt, structures=("liver",))
    ((key, output),) = outputs(events).items()
    picture = task.illustrate(case(), output, key)
    if shown == "box":
        assert picture.box == (7, 2, 13, 6)  # rows run from anterior, columns to the right
    else:
        assert picture.outlines[shown].any()
        assert not (picture.outlines[shown] & picture.outlines["reference"]).any()


def test_a_structure_that_lies_outside_of_its_crop_fails_alone_and_says_why():
    array = np.zeros(SHAPE, np.uint8)
    array[2:18, 3:13, 2:10] = 1  # a shell: the crop around its middle holds none of it
    array[4:16, 5:11, 4:8] = 2
    image = Image(np.zeros((1, *SHAPE), np.float32), Grid(SHAPE, (1.0, 1.0, 1.0)))
    shell = Case("shell", None, {"image": image}, {"structures": LabelMap(array, NAMES)})
    for rule in ("sam-med3d", "centre-of-largest-error"):
        _, events = run(Painter(("points",)), "2 clicks", cases=[shell], crop=4.0, click_rule=rule)
        failed = [e for e in events if isinstance(e, Failure) and e.key.structure == "liver"]
        assert {e.status for e in failed} == {Status.EVALUATOR_FAILED}
        assert "no first click may fall on it" in failed[0].error
        assert {key.structure for key in outputs(events)} == {"spleen"}


def test_no_background_click_is_drawn_where_there_is_no_background():
    with pytest.raises(EvaluatorFailure, match="no background click"):
        on_background(np.ones((3, 3), bool), None, np.random.default_rng(0), -1)
