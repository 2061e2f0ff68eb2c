"""``slicewise`` encodes the next slice of a wave while this one is asked, where its model allows that."""

import threading

import numpy as np
import pytest

from medeval.types import Capabilities, Grid, Image, Prompt, Segmentation
from medeval_adapters.slicewise import Slicewise

SHAPE = (12, 14, 6)


class Serial:
    """Notes (what, slice, thread). The slice's number is its first pixel."""

    takes = Capabilities(dimensions=frozenset({2}))

    def __init__(self, does: str = "", at: int = -1) -> None:
        self.does, self.at = does, at
        self.events = []
        self.began = {number: threading.Event() for number in range(SHAPE[2])}

    def encode(self, image):
        number = int(image.array.min())
        self.note("encode", number)
        self.began[number].set()
        if number == self.at and self.does == "encode raises":
            raise ValueError("cannot encode")
        return image.array[0]

    def segment(self, encoded, prompts):
        number = int(encoded.min())
        self.note("segment", number)
        if self.does == "waits" and number < self.at and not self.began[number + 1].wait(20):
            raise ValueError("the next slice was not begun")
        if (
            self.does == "memory"
            and number == self.at
            and self.events.count(("segment", number, "main")) == 1
        ):
            raise MemoryError("out of memory")
        return [Segmentation(encoded > number, 0.5) for _ in prompts]

    def note(self, what, number):
        main = threading.current_thread() is threading.main_thread()
        self.events.append((what, number, "main" if main else "aside"))


class Ahead(Serial):
    encodes_ahead = True


def volume():
    array = np.broadcast_to(np.arange(SHAPE[2], dtype=np.float32), SHAPE).copy()
    array[3:8, 4:9] += 100
    return Image(array[None], Grid(SHAPE, (1.0, 1.0, 1.0)))


def asked(model, **options):
    """The mask of a click on every slice, and the model's events."""
    made = Slicewise(f"{__name__}:{model}", options=options)
    points = np.array([[5, 6, number] for number in range(SHAPE[2])])
    prompt = Prompt("block", points=points, labels=np.ones(len(points), dtype=np.int64))
    try:
        (answer,) = made.segment(made.encode(volume()), [prompt])
        return answer.mask, made.model.events
    except (ValueError, MemoryError) as error:
        return str(error), made.model.events


def slices(events, what, thread):
    return [number for kind, number, where in events if (kind, where) == (what, thread)]


def test_the_answer_is_the_same_and_each_slice_is_encoded_once():
    mask, events = asked("Ahead")
    expected, _ = asked("Serial")
    assert np.array_equal(mask, expected)
    assert np.count_nonzero(mask) == 5 * 5 * SHAPE[2]
    assert slices(events, "encode", "main") == [0]
    assert slices(events, "encode", "aside") == [1, 2, 3, 4, 5]


def test_a_slice_is_begun_before_the_one_before_is_answered():
    mask, _ = asked("Ahead", does="waits", at=SHAPE[2] - 1)
    assert np.count_nonzero(mask) == 5 * 5 * SHAPE[2]


def test_a_model_that_does_not_say_so_is_asked_in_one_thread():
    _, events = asked("Serial")
    assert {where for _, _, where in events} == {"main"}


@pytest.mark.parametrize("model", ["Serial", "Ahead"])
def test_a_slice_that_cannot_be_encoded_fails_when_it_is_asked(model):
    told, events = asked(model, does="encode raises", at=3)
    assert told == "cannot encode"
    assert slices(events, "segment", "main") == [0, 1, 2]


def test_out_of_memory_the_slice_is_asked_again_with_nothing_begun():
    mask, events = asked("Ahead", does="memory", at=2)
    assert np.array_equal(mask, asked("Serial")[0])
    assert slices(events, "segment", "main") == [0, 1, 2, 2, 3, 4, 5]
    assert slices(events, "encode", "main")[-3:] == [3, 4, 5]
    assert asked("Serial", does="memory", at=2)[0] == "out of memory"
