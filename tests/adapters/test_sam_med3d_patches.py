"""Where ``sam-med3d`` looks: around clicks, around the target, in tiles over the whole volume."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from sam_med3d_world import ask, clicked, volume  # noqa: E402

from medeval.types import EvaluatorFailure, Prompt  # noqa: E402
from medeval_adapters.sam_med3d_field import Field  # noqa: E402
from medeval_adapters.sam_med3d_plan import Tiles  # noqa: E402
from medeval_models import sam_med3d  # noqa: E402


def test_a_click_outside_the_patch_moves_it_and_keeps_the_rest_of_the_mask(med3d):
    adapter = med3d()
    image = volume((120, 40, 40))
    encoded = adapter.encode(image)
    (first,) = adapter.segment(encoded, [clicked([16, 20, 20])])
    (second,) = adapter.segment(encoded, [clicked([16, 20, 20], [100, 20, 20], logits=first.logits)])
    assert len(adapter.encoded) == 2
    assert len(second.logits["begin"]) == 2
    np.testing.assert_array_equal(second.mask[:30], first.mask[:30])
    assert not first.mask[40:].any()
    moved = second.logits["begin"][1] - second.logits["begin"][0]
    assert (moved % 2 == 0).all()  # on the cells of the first patch


def test_clicks_that_fit_into_one_patch_together_are_seen_together(med3d):
    (answer,) = ask(med3d(), volume((120, 40, 40)), clicked([50, 20, 20], [70, 20, 20]))
    (begin,) = answer.logits["begin"]
    assert begin[0] <= 50
    assert begin[0] + 32 > 70


def test_the_target_s_box_is_where_the_patch_lies_and_clicks_are_what_is_asked(med3d):
    adapter = med3d(patch="target")
    assert "box" in adapter.takes.prompts
    assert "box" not in med3d().takes.prompts
    box = np.array([[30, 10, 12], [50, 30, 33]])
    given = clicked([31, 11, 13], box=box)
    answer, alone = ask(adapter, volume((80, 40, 40)), given, Prompt("x", box=box))
    assert answer.logits["begin"].tolist() == [[24, 4, 6]] == alone.logits["begin"].tolist()
    with pytest.raises(EvaluatorFailure, match=r"box \+ N clicks"):
        ask(adapter, volume(), clicked([3, 3, 3]))


def test_tiles_cover_the_volume_and_fall_on_cells():
    for shape in [(20, 32, 33), (100, 64, 65), (48, 47, 31)]:
        tiles = Tiles(shape, 32, 2)
        seen = np.zeros(shape, dtype=int)
        begins = list(tiles)
        for begin in begins:
            seen[tuple(slice(max(0, b), b + 32) for b in begin)] += 1
        assert (seen > 0).all()
        assert ((np.array(begins) - begins[0]) % 2 == 0).all()


def test_a_mask_that_reaches_a_face_is_followed_into_the_next_tile(med3d, monkeypatch):
    adapter = med3d(patch="tiled")
    image = volume((96, 20, 20))
    asked = []

    def bar(embedding, points, masks):  # everything along the first axis
        asked.append(None if points is None else points[0].shape[1])
        logits = torch.full((len(masks), 1, 16, 16, 16), -1.0)
        logits[..., 5:11, 5:11] = 1.0
        return sam_med3d.sam.Decoded(logits, torch.zeros(len(masks), 1))

    monkeypatch.setattr(adapter.network, "decode", bar)
    (answer,) = ask(adapter, image, clicked([3, 10, 10]))
    assert answer.mask[:, 10, 10].all()
    assert not answer.mask[:, 0, 0].any()
    assert sorted(answer.logits["begin"][:, 0].tolist()) == [0, 16, 32, 48, 64]
    assert asked[0] == 1
    assert asked[-1] is None  # a tile without a click is asked by its mask prompt alone


def test_where_patches_overlap_the_nearer_centre_speaks():
    field = Field(8, 4)
    field.put((0, 0, 0), np.full((4, 4, 4), 1.0, np.float32))
    field.put((4, 0, 0), np.full((4, 4, 4), -1.0, np.float32))
    field.put((8, 0, 0), np.full((4, 4, 4), 2.0, np.float32))
    made = field.prompt((2, 0, 0))
    assert made[:, 0, 0].tolist() == [1.0, -1.0, -1.0, 2.0] or made[:, 1, 1].tolist() == [
        1.0,
        1.0,
        -1.0,
        -1.0,
    ]
    assert Field(8, 4).prompt((0, 0, 0)).tolist() == np.zeros((4, 4, 4)).tolist()


def test_a_mask_alone_is_a_prompt(med3d):
    mask = np.zeros((40, 40, 40), dtype=bool)
    mask[10:20, 12:25, 15:22] = True
    (answer,) = ask(med3d(), volume(), Prompt("x", mask=mask))
    assert answer.logits["begin"].tolist() == [[-1, 2, 2]]
