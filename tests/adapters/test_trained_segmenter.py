"""A model that is trained when it is first needed: once, kept by what it depends on, and refused for options that do not fit."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from medeval.plugins import build, resolve  # noqa: E402
from medeval.types import PluginError  # noqa: E402

HEARTS = {"format": "medeval_suites.cardiac_phantoms:CardiacPhantoms", "patients": 2, "slices": 2}
OPTIONS = {
    "builder": "medeval_models.upl_sfda:build_source",
    "arguments": {"ft_chns": [2, 4, 8, 16, 32], "n_classes": 4},
    "classes": ["background", "lv", "myo", "rv"],
    "device": "cpu",
    "training": {"dataset": HEARTS, "epochs": 1},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDEVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trained"


def made(**changes):
    return build(resolve("medeval.adapters", "trained-segmenter"), {**OPTIONS, **changes})


def test_it_is_trained_once_and_segments(cache):
    model = made()
    (folder,) = cache.iterdir()
    stamp = (folder / "weights.safetensors").stat().st_mtime_ns
    again = made()
    assert (folder / "weights.safetensors").stat().st_mtime_ns == stamp
    dataset = build(resolve("medeval.datasets", HEARTS["format"]), {"patients": 1, "slices": 2})
    image = dataset.read("heart-000").inputs["image"]
    found = [m.segment_image(image, ("lv", "myo", "rv")).array for m in (model, again)]
    assert found[0].shape == image.grid.shape
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize(
    "training",
    [
        {"dataset": HEARTS, "epochs": 2},
        {"dataset": {**HEARTS, "phantom": 1}, "epochs": 1},
        {"dataset": HEARTS, "epochs": 1, "seed": 1},
    ],
)
def test_other_options_are_other_weights(cache, training):
    made()
    made(training=training)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"dataset": HEARTS, "epochs": 1, "classes": ["a"]}, "classes belong beside `training`"),
        ({"dataset": HEARTS, "epoch": 1}, "training: epoch: unknown option 'epoch'"),
        ({}, "training: missing option 'dataset'"),
    ],
)
def test_mistakes_are_told(training, message):
    with pytest.raises(PluginError, match=message):
        made(training=training)
