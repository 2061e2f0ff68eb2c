"""Order, batching, memory and other settings beside it change nothing of what a session gives and gets."""

import numpy as np
import pytest

from medeval.tasks.context import Context
from medeval.tasks.prompted_segmentation import PromptedSegmentation, sessions_run
from medeval.types import Capabilities, Case, Failure, Grid, Image, LabelMap, Segmentation

SHAPE = (16, 14, 10)
NAMES = {"liver": (1,), "spleen": (2,), "kidney": (3,)}
PROMPTS = (
    "middle box + 2 clicks",
    "3 slice points + 2 clicks",
    "3 points",
    "2 click pairs",
    "3 clicks",
    "scribble",
)


def case(id_):
    array = np.zeros(SHAPE, np.uint8)
    array[1:6, 2:9, 1:8] = 1
    array[8:14, 3:12, 2:9] = 2
    image = np.random.default_rng(7).normal(size=(1, *SHAPE)).astype(np.float32)
    return Case(
        id_,
        None,
        {"image": Image(image, Grid(SHAPE, (1.0, 1.0, 2.0)))},
        {"structures": LabelMap(array, NAMES)},
    )


class Painter:
    takes = Capabilities(frozenset({"box", "points", "mask", "scribble"}))

    def encode(self, image):
        return image.grid.shape

    def segment(self, shape, prompts):
        return [Segmentation(self.paint(shape, prompt)) for prompt in prompts]

    @staticmethod
    def paint(shape, prompt):
        mask = np.zeros(shape, bool) if prompt.mask is None else prompt.mask.copy()
        if prompt.box is not None and prompt.mask is None:
            mask[tuple(slice(*side) for side in prompt.box.T)] = True
        for point, label in zip(
            *((prompt.points, prompt.labels) if prompt.points is not None else ((), ())), strict=True
        ):
            mask[tuple(slice(max(0, p - 1), p + 2) for p in point)] = bool(label)
        return mask


def given(*, order=("a", "b"), prompts=PROMPTS, rule="radioactive", **fields):
    task = PromptedSegmentation(
        prompts=prompts, click_rule=rule, metrics=("dice",), absent="scored", prompt_seeds=2, **fields
    )
    events = list(task.predict(Painter(), iter(map(case, order)), Context(3)))
    return {
        (e.case_id, e.key): (e.status, e.error) if isinstance(e, Failure)
        else (e.status, dict(e.columns), e.value.mask.tobytes()) for e in events
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["radioactive", "cvpr25", "sam-med3d", "autopet"])
def test_order_batches_and_neighbours_change_nothing(rule, monkeypatch):
    base = given(rule=rule)
    assert given(rule=rule, order=("b", "a")) == base
    assert given(rule=rule, batch_size=1) == base
    alone = given(rule=rule, prompts=("3 clicks",))
    assert alone.items() <= base.items()
    liver = given(rule=rule, structures=("liver",))
    assert liver == {k: v for k, v in base.items() if k[1].structure == "liver"}
    monkeypatch.setattr(sessions_run, "MOST_BYTES", 1)
    assert given(rule=rule) == base


def test_another_seed_draws_otherwise():
    base = given()
    task = PromptedSegmentation(prompts=("3 points",), metrics=("dice",))
    drawn = [list(task.predict(Painter(), iter([case("a")]), Context(seed))) for seed in (3, 4)]
    columns = [
        [event.columns["points"] for event in events if not isinstance(event, Failure)] for events in drawn
    ]
    assert columns[0] != columns[1]
    assert columns[0][0] == next(v[1]["points"] for k, v in base.items() if k[1][:2] == ("liver", "3 points"))
