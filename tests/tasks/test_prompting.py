"""What a promptable model is asked, in which round, and with what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from medeval.tasks.context import Context
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.types import (
    Capabilities,
    Case,
    Failure,
    Grid,
    Image,
    LabelMap,
    MaskStack,
    Output,
    Segmentation,
    Status,
)

SHAPE = (20, 16)


class Recording:
    """Notes every call; answers the box or nothing, grown by one voxel a round, with the round's number as logits."""

    def __init__(self, prompts=("box", "points", "mask"), answers=None) -> None:
        self.takes = Capabilities(prompts=frozenset(prompts))
        self.encoded = 0
        self.asked: list[list] = []
        self._answers = answers

    def encode(self, image: Image) -> str:
        self.encoded += 1
        return "encoded"

    def segment(self, encoded: str, prompts: Sequence) -> list[Segmentation]:
        assert encoded == "encoded"
        self.asked.append(list(prompts))
        return [Segmentation(self.mask(p), logits=(p.logits or 0) + 1) for p in prompts]

    def mask(self, prompt):
        if self._answers is not None:
            return self._answers(prompt)
        mask = np.zeros(SHAPE, bool)
        for point, label in zip(
            *((prompt.points, prompt.labels) if prompt.points is not None else ([], [])), strict=True
        ):
            mask[tuple(point)] = bool(label)
        return mask


def labels(*names):
    array = np.zeros(SHAPE, np.uint8)
    array[2:7, 2:7] = 1
    array[10:16, 4:12] = 2
    known = {name: (value,) for value, name in enumerate(("liver", "spleen", "kidney"), start=1)}
    return LabelMap(array, {name: known[name] for name in names or known})


def case(structures=None, id_="case"):
    image = Image(np.zeros((1, *SHAPE), np.uint8), Grid(SHAPE, (1.0, 1.0)))
    return Case(id_, None, {"image": image}, {"structures": labels() if structures is None else structures})


def ask(model, *prompts, cases=None, seed=0, **fields):
    task = PromptedSegmentation(prompts=prompts, metrics=("dice",), **fields)
    context = Context(seed)
    return list(task.predict(model, iter(cases or [case()]), context))


def outputs(events):
    return {event.key: event for event in events if isinstance(event, Output)}


def test_an_image_is_encoded_once_whatever_is_asked():
    model = Recording()
    ask(model, "box", "3 points", "5 clicks", "box + 2 clicks", "mask", cases=[case(), case(id_="other")])
    assert model.encoded == 2


def test_the_prompts_of_all_structures_go_in_one_batch():
    model = Recording()
    ask(model, "box", "3 points")
    assert [[p.structure for p in batch] for batch in model.asked] == 2 * [["liver", "spleen"]]


@pytest.mark.parametrize("size", [1, 2, 64])
def test_a_batch_is_never_larger_than_batch_size(size):
    model = Recording()
    ask(model, "box", batch_size=size)
    assert max(map(len, model.asked)) == min(size, 2)


def test_every_owed_key_is_yielded_once():
    task = PromptedSegmentation(prompts=("box", "1 click", "3 clicks", "box + 2 clicks", "2 points", "mask"))
    events = list(task.predict(Recording(), iter([case()]), Context()))
    assert sorted(e.key for e in events) == sorted(task.owed(case(), Context()))


def test_box_is_tight_and_half_open():
    model = Recording()
    ask(model, "box")
    assert [p.box.tolist() for p in model.asked[0]] == [[[2, 2], [7, 7]], [[10, 4], [16, 12]]]
    assert model.asked[0][0].points is None


def test_n_points_are_drawn_at_once_on_the_structure():
    model = Recording()
    ask(model, "5 points")
    assert len(model.asked) == 1
    for prompt, name in zip(model.asked[0], ("liver", "spleen"), strict=True):
        assert prompt.points.shape == (5, 2)
        assert prompt.labels.tolist() == 5 * [1]
        assert labels().mask(name)[tuple(prompt.points.T)].all()


def test_n_clicks_give_one_click_a_round_on_what_is_wrong():
    model = Recording()
    events = outputs(ask(model, "3 clicks"))
    assert [len(batch[0].points) for batch in model.asked] == [1, 2, 3]
    assert {key.round for key in events} == {1, 2, 3}
    truth = labels().mask("liver")
    previous = np.zeros(SHAPE, bool)
    for batch in model.asked:
        point, label = tuple(batch[0].points[-1]), batch[0].labels[-1]
        assert previous[point] != truth[point]
        assert label == truth[point]
        previous = model.mask(batch[0])


def test_box_and_clicks_begin_with_the_box_alone():
    model = Recording()
    ask(model, "box + 2 clicks")
    first, second, third = (batch[0] for batch in model.asked)
    assert (first.box is not None, first.points) == (True, None)
    assert [len(p.points) for p in (second, third)] == [1, 2]
    assert all(p.box.tolist() == first.box.tolist() for p in (second, third))


def test_mask_gives_the_structures_own_mask():
    model = Recording()
    ask(model, "mask")
    assert np.array_equal(model.asked[0][1].mask, labels().mask("spleen"))


def test_settings_that_differ_in_their_number_of_clicks_are_one_session():
    model = Recording()
    events = outputs(ask(model, "1 click", "5 clicks", "3 clicks"))
    assert len(model.asked) == 5
    for shorter in ("1 click", "3 clicks"):
        for key, output in events.items():
            if key.prompt == shorter:
                longer = events[key._replace(prompt="5 clicks")]
                assert np.array_equal(output.value.mask, longer.value.mask)
                assert output.columns == longer.columns


def test_one_click_alone_is_round_one_of_five():
    alone = outputs(ask(Recording(), "1 click", click_rule="random-in-error"))
    session = outputs(ask(Recording(), "5 clicks", click_rule="random-in-error"))
    for key, output in alone.items():
        assert output.columns == session[key._replace(prompt="5 clicks")].columns


def test_a_box_alone_is_round_one_of_the_box_with_clicks():
    model = Recording()
    events = outputs(ask(model, "box", "box + 2 clicks", "box jitter 3"))
    assert len(model.asked) == 4  # three rounds of one session, and the jittered box
    assert {key.round for key in events if key.prompt == "box"} == {1}


def test_logits_and_the_last_mask_are_fed_back():
    model = Recording()
    ask(model, "3 clicks")
    assert [batch[0].logits for batch in model.asked] == [None, 1, 2]
    assert model.asked[0][0].mask is None
    assert np.array_equal(model.asked[2][0].mask, model.mask(model.asked[1][0]))


def test_a_model_that_takes_no_masks_is_given_none():
    model = Recording(prompts=("points",))
    ask(model, "3 clicks")
    assert [batch[0].mask for batch in model.asked] == [None, None, None]


def test_a_session_that_is_right_is_carried_and_not_asked_again():
    def right(prompt):
        return labels().mask("liver") if prompt.structure == "liver" else np.zeros(SHAPE, bool)

    model = Recording(answers=right)
    events = outputs(ask(model, "3 clicks"))
    status = {(key.structure, key.round): event.status for key, event in events.items()}
    assert status["liver", 1] == Status.OK
    assert status["liver", 2] == status["liver", 3] == Status.CARRIED
    assert status["spleen", 3] == Status.OK
    assert [[p.structure for p in batch] for batch in model.asked] == [
        ["liver", "spleen"],
        ["spleen"],
        ["spleen"],
    ]
    carried = events[next(k for k in events if k[:3] == ("liver", "3 clicks", 3))]
    assert np.array_equal(carried.value.mask, labels().mask("liver"))


def test_a_box_that_is_answered_rightly_asks_for_no_click():
    model = Recording(answers=lambda prompt: labels().mask(prompt.structure))
    events = outputs(ask(model, "box + 2 clicks"))
    assert len(model.asked) == 1
    assert {e.status for k, e in events.items() if k.round > 1} == {Status.CARRIED}


def test_a_model_may_change_what_it_is_given():
    class Careless(Recording):
        def segment(self, encoded, prompts):
            answers = super().segment(encoded, prompts)
            for prompt in prompts:
                prompt.points[...] = 0
                prompt.labels[...] = 0
                if prompt.mask is not None:
                    prompt.mask[...] = True
            return answers

    def clicks(model):
        return [e.columns for e in outputs(ask(model, "4 clicks")).values()]

    assert clicks(Careless()) == clicks(Recording())


def test_a_model_may_use_its_buffer_again():
    buffer = np.zeros(SHAPE, bool)

    def answer(prompt):
        buffer[...] = False
        buffer[2 : 2 + len(prompt.points), 2:7] = True
        return buffer

    events = outputs(ask(Recording(answers=answer), "3 clicks"))
    sizes = {
        key.round: int(event.value.mask.sum()) for key, event in events.items() if key.structure == "liver"
    }
    assert sizes == {1: 5, 2: 10, 3: 15}


def test_randomness_is_of_seed_case_and_structure_alone():
    def drawn(model, *, seed=0, order=(0, 1), **fields):
        cases = [case(id_="a"), case(id_="b")]
        events = ask(model, "4 points", "box jitter 2", cases=[cases[i] for i in order], seed=seed, **fields)
        return {(e.case_id, e.key): e.columns for e in events if isinstance(e, Output)}

    base = drawn(Recording())
    assert drawn(Recording(prompts=("points", "box"))) == base
    assert drawn(Recording(), order=(1, 0)) == base
    assert drawn(Recording(), batch_size=1) == base
    assert drawn(Recording(), structures=("spleen",)) == {
        k: v for k, v in base.items() if k[1].structure == "spleen"
    }
    assert drawn(Recording(), seed=1) != base
    points = {k: v["points"] for k, v in base.items() if k[1].prompt == "4 points"}
    assert len(set(points.values())) == 4  # two cases x two structures, all different


def test_absent_structures_are_undefined_and_counted_once():
    events = ask(Recording(), "box", "3 clicks")
    absent = [e for e in events if isinstance(e, Failure)]
    assert [(e.key.structure, e.key.prompt, e.status) for e in absent] == [("kidney", "", Status.UNDEFINED)]


def test_instances_of_a_structure_are_not_its_absence():
    mask = np.zeros(SHAPE, bool)
    mask[3:5, 3:5] = True
    stack = MaskStack({"rib#1": mask, "rib#2": mask[::-1]}, SHAPE)
    task = PromptedSegmentation(prompts=("box",))
    keys = task.owed(case(stack), Context(structures=("rib", "liver")))
    assert [key.structure for key in keys] == ["rib#1", "rib#2", "liver"]
    assert keys[2].prompt == ""


def test_prompts_that_a_model_does_not_take_are_not_covered():
    model = Recording(prompts=("box",))
    events = ask(model, "box", "3 clicks", "mask")
    lacking = [e for e in events if isinstance(e, Failure) and e.status == Status.NOT_COVERED]
    assert sorted({e.key.prompt for e in lacking}) == ["3 clicks", "mask"]
    assert len(lacking) == 2 * (3 + 1)
    assert {e.error for e in lacking} == {"the model takes box"}
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("takes", "ndim", "reason"),
    [
        (Capabilities(), 2, None),
        (
            Capabilities(prompts=frozenset({"points"})),
            2,
            "it takes points, and none of the prompts needs only that",
        ),
        (
            Capabilities(prompts=frozenset()),
            2,
            "it takes no prompts; prompted-segmentation is for models that do",
        ),
        (Capabilities(dimensions=frozenset({3})), 2, "it takes 3D images; these are 2D"),
        (Capabilities(dimensions=frozenset({3})), None, None),
    ],
)
def test_a_model_that_cannot_do_the_task_is_refused_before_the_run(takes, ndim, reason):
    model = type("Model", (), {"takes": takes, "encode": len, "segment": len})
    assert PromptedSegmentation(prompts=("box",)).refusal(model, ndim) == reason


def test_a_model_without_the_methods_is_refused():
    reason = PromptedSegmentation().refusal(object, 2)
    assert reason is not None
    assert "it has no `encode`, `segment`" in reason


def test_a_failed_round_fails_the_later_ones_of_its_structure_alone():
    def breaks(prompt):
        if prompt.structure == "liver" and len(prompt.points) == 2:
            raise ValueError("no")
        return np.zeros(SHAPE, bool)

    events = ask(Recording(answers=breaks), "4 clicks")
    failed = [e for e in events if isinstance(e, Failure) and e.status == Status.MODEL_FAILED]
    assert [(e.key.structure, e.key.round) for e in failed] == [("liver", 2), ("liver", 3), ("liver", 4)]
    assert len([k for k in outputs(events) if k.structure == "spleen"]) == 4


def test_an_output_source_is_asked_for_what_is_present():
    class Oracle:
        source = True

        def output(self, case, key):
            return Segmentation(case.reference["structures"].mask(key.structure))

    task = PromptedSegmentation(prompts=("box", "2 clicks"))
    events = list(task.replay(Oracle(), iter([case()]), Context()))
    assert sorted(e.key for e in events) == sorted(task.owed(case(), Context()))
    assert [e.status for e in events if e.key.structure == "kidney"] == [Status.UNDEFINED]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompts": ("5 clicks", "5 Clicks")}, "named twice"),
        ({"prompts": ()}, "at least 1"),
        ({"click_rule": "anywhere"}, "unknown click rule 'anywhere'"),
        ({"session_metrics": ("dice",)}, "no metric of a click session"),
        ({"metrics": ("dice", "dice")}, "named twice"),
        ({"metrics": ("noc@90",)}, "this task yields MaskPair"),
    ],
)
def test_wrong_options_are_told(fields, told):
    with pytest.raises(ValueError, match=told):
        PromptedSegmentation(**fields)
