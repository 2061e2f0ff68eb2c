"""The adapter ``sam-med3d``: rounds of a session, batches of prompts, what is encoded how often."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from sam_med3d_world import ask, clicked, volume  # noqa: E402


def test_a_patch_is_encoded_once_while_it_does_not_move(med3d):
    adapter = med3d()
    encoded = adapter.encode(volume())
    points = [[20, 20, 20], [18, 25, 22], [30, 12, 9]]
    answer = None
    for count in range(1, 4):
        prompt = clicked(*points[:count], logits=answer and answer.logits)
        (answer,) = adapter.segment(encoded, [prompt])
    assert adapter.encoded == [1]
    assert answer.mask.shape == (40, 40, 40)
    assert answer.mask.dtype == bool
    assert answer.score is None


def test_previous_logits_change_the_answer(med3d):
    adapter = med3d()
    image = volume()
    (first,) = ask(adapter, image, clicked([20, 20, 20]))
    again, without = ask(adapter, image, clicked([20, 20, 20], logits=first.logits), clicked([20, 20, 20]))
    assert not np.array_equal(again.logits["logits"], without.logits["logits"])
    np.testing.assert_allclose(without.logits["logits"], first.logits["logits"], atol=1e-4)


@pytest.mark.parametrize("patch", ["clicks", "tiled"])
def test_a_batch_answers_as_prompts_one_by_one(med3d, patch):
    adapter = med3d(patch=patch, batch_size=3)
    image = volume()
    prompts = [
        clicked([20, 20, 20]),
        clicked([5, 5, 5]),
        clicked([20, 20, 20], [8, 9, 30], labels=[1, 0]),
        clicked([39, 0, 39]),
    ]
    together = ask(adapter, image, *prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = ask(adapter, image, prompt)
        assert (alone.mask == answer.mask).mean() > 0.999
        assert alone.logits["begin"].tolist() == answer.logits["begin"].tolist()
        np.testing.assert_allclose(alone.logits["logits"], answer.logits["logits"], atol=1e-3)
    assert adapter.segment(adapter.encode(image), []) == []


def test_structures_with_the_same_patch_share_its_embedding(med3d):
    adapter = med3d(patch="tiled")
    image = volume((32, 30, 20))
    ask(adapter, image, *(clicked([10 + n, 12, 9]) for n in range(8)))
    assert adapter.encoded == [1]


def test_a_session_resumes_from_what_was_written_down(med3d):
    adapter = med3d()
    image = volume()
    (first,) = ask(adapter, image, clicked([20, 20, 20]))
    written = json.loads(json.dumps({key: value.tolist() for key, value in first.logits.items()}))
    points = clicked([20, 20, 20], [25, 25, 25], logits=first.logits)
    resumed = clicked([20, 20, 20], [25, 25, 25], logits=written)
    one, other = ask(adapter, image, points, resumed)
    np.testing.assert_array_equal(one.mask, other.mask)


def test_only_the_newest_click_is_shown_where_asked(med3d):
    image = volume()
    two = clicked([20, 20, 20], [25, 22, 18])
    (newest,) = ask(med3d(clicks="newest"), image, two)
    (both,) = ask(med3d(), image, two)
    assert not np.array_equal(newest.logits["logits"], both.logits["logits"])
