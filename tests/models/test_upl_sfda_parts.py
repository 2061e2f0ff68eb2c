"""Spatial transforms and pseudo labels: what must hold whatever the numbers."""

import pytest

torch = pytest.importorskip("torch")

from medeval_models import upl_sfda  # noqa: E402


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 2, 4, 5, 6)])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_a_transform_is_undone_bit_for_bit(shape, turns, flip):
    x = torch.randn(shape)
    view = upl_sfda.Spatial(turns, flip)
    assert torch.equal(view.undo(view.apply(x)), x)
    assert torch.equal(view.apply(view.undo(view.apply(x))), view.apply(x))


def test_the_eight_views_are_all_different():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    views = upl_sfda.fixed_transforms(8)
    seen = {tuple(view.apply(x).flatten().tolist()) for view in views}
    assert len(seen) == 8
    assert [(view.turns, view.flip) for view in views[:4]] == [(1, False), (2, False), (3, False), (0, False)]


def test_random_views_follow_their_generator():
    first = upl_sfda.random_transforms(20, torch.Generator().manual_seed(1))
    assert first == upl_sfda.random_transforms(20, torch.Generator().manual_seed(1))
    assert len(set(first)) > 4


def test_a_low_threshold_lets_two_classes_be_reliable():
    mean = torch.tensor([0.45, 0.45, 0.10]).reshape(1, 3, 1, 1)
    assert upl_sfda.reliable_classes(mean, 0.4).sum() == 2
    assert upl_sfda.pseudo_label(mean).sum() == 1


def test_a_class_without_reliable_voxels_adds_nothing_to_the_official_loss():
    prob = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).softmax(2)
    label = torch.zeros(1, 3, 4, 4)
    assert upl_sfda.pseudo_label_loss(prob, label) == 0
    label[:, 1] = 1
    only = 1 - (2 * prob[:, 0, 1].sum((1, 2)) + 1e-4) / (16 + (prob[:, 0, 1] ** 2).sum((1, 2)) + 1e-4)
    torch.testing.assert_close(upl_sfda.pseudo_label_loss(prob, label), only.mean() / 3)


def test_the_masked_form_counts_what_other_classes_took():
    prob = torch.full((1, 1, 2, 2, 2), 0.5)
    label = torch.zeros(1, 2, 2, 2)
    label[:, 0] = 1
    assert upl_sfda.pseudo_label_loss(prob, label, "masked") > upl_sfda.pseudo_label_loss(prob, label)


def test_volumes_that_do_not_add_up_are_told():
    with pytest.raises(ValueError, match="do not sum to the batch's 3 slices"):
        upl_sfda.largest_components(torch.ones(3, 1, 4, 4), (2, 2))
