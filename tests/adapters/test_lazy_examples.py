"""Examples that are made when their turn comes: the same ones, flat memory, made ahead, failures in their place."""

import threading
import weakref

import pytest

from medeval_adapters.lazy_examples import LazyExamples

ORDER = [3, 0, 2, 4, 1]


class Made:
    """An example of 10 bytes."""

    def __init__(self, number):
        self.number = number


class Maker:
    """Notes what it made; ``alive``: what of it is still there."""

    def __init__(self, fails=()):
        self.made, self.fails = [], fails
        self.alive = weakref.WeakSet()

    def __call__(self, number):
        self.made.append(number)
        if number in self.fails:
            raise OSError(f"{number} is gone")
        example = Made(number)
        self.alive.add(example)
        return example


def examples(make, memory=0, count=5, ahead=2):
    return LazyExamples(make, lambda _: 10, memory, count, ahead)


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
@pytest.mark.parametrize("memory", [0, 20, 1000])
def test_each_is_what_it_is_in_any_order(memory, ahead):
    lazy = examples(Maker(), memory, ahead=ahead)
    for order in (ORDER, ORDER[::-1], [2, 2, 2, 0]):
        lazy.expect(order)
        assert [lazy[number].number for number in order] == order
    assert [example.number for example in lazy] == [0, 1, 2, 3, 4]  # unannounced


@pytest.mark.parametrize(("memory", "times"), [(50, 1), (0, 2)])
def test_what_fits_is_made_once(memory, times):
    make = Maker()
    lazy = examples(make, memory)
    for _ in range(2):
        lazy.expect(ORDER)
        for number in ORDER:
            lazy[number]
    assert sorted(make.made) == sorted(ORDER * times)


@pytest.mark.parametrize(("memory", "ahead"), [(0, 2), (30, 2), (20, 0)])
def test_no_more_are_held_than_memory_and_the_next_ones(memory, ahead):
    make = Maker()
    lazy = examples(make, memory, count=40, ahead=ahead)
    lazy.expect(range(40))
    most = 0
    for number in range(40):
        example = lazy[number]
        most = max(most, len(make.alive))
        del example
    assert most <= memory // 10 + ahead + 1


def test_the_next_is_made_while_this_one_is_used():
    began = {number: threading.Event() for number in range(5)}

    def make(number):
        began[number].set()
        return Made(number)

    lazy = examples(make)
    lazy.expect(ORDER)
    for place, number in enumerate(ORDER):
        lazy[number]
        for following in ORDER[place + 1 : place + 3]:
            assert began[following].wait(20)


def test_one_that_cannot_be_made_is_told_when_it_is_asked_for():
    lazy = examples(Maker(fails={2}))
    lazy.expect(ORDER)
    assert [lazy[number].number for number in ORDER[:2]] == ORDER[:2]
    with pytest.raises(OSError, match="2 is gone"):
        lazy[2]
    assert [lazy[number].number for number in ORDER[3:]] == ORDER[3:]


def test_those_that_were_appended_are_kept_or_made_again():
    make = Maker()
    lazy = examples(make, memory=20, count=0)
    for number in range(3):
        lazy.append(Made(number))
    assert [example.number for example in (lazy[2], lazy[1])] == [2, 1]
    assert make.made == []
    assert (lazy[0].number, make.made, len(lazy)) == (0, [0], 3)
    with pytest.raises(IndexError):
        lazy[3]
