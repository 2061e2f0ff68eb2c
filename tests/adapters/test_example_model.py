"""examples/my_model.py: small enough to be read at once, and it works."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from medeval.types import Grid, Image, Prompt

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def my_model():
    spec = importlib.util.spec_from_file_location("my_model_example", EXAMPLES / "my_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MyModel


def test_the_example_is_one_file_of_at_most_25_lines():
    assert len((EXAMPLES / "my_model.py").read_text().splitlines()) <= 25


@pytest.mark.parametrize("shape", [(30, 34), (12, 14, 16)])
def test_the_example_model_segments_a_bright_block(my_model, shape):
    truth = np.zeros(shape, bool)
    truth[(slice(3, 9),) * len(shape)] = True
    image = Image(truth[None] * 200.0 + 10, Grid(shape, (1.0,) * len(shape)))
    model = my_model(tolerance=0.2)
    on, off = np.full((1, len(shape)), 4), np.zeros((1, len(shape)), int)
    box = np.stack([np.full(len(shape), 2), np.full(len(shape), 10)])
    asked = [
        Prompt("block", points=on, labels=np.array([1])),
        Prompt("block", box, on, np.array([1])),
        Prompt("block", box, np.vstack([on, off]), np.array([1, 0])),
    ]
    for answer in model.segment(model.encode(image), asked):
        np.testing.assert_array_equal(answer.mask, truth)


def test_the_example_suite_holds():
    suite = pytest.importorskip("medeval.suite")
    loaded = suite.Suite.load(EXAMPLES / "my_suite.yaml")
    assert set(loaded.model_specs) == {"mine", "growing", "floor"}
