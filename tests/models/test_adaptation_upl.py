"""UPL-SFDA and its ablations: heads, views, pseudo labels, components."""

import copy

import pytest

torch = pytest.importorskip("torch")

from medeval_models import adaptation as a  # noqa: E402
from medeval_models import upl_sfda  # noqa: E402
from tests.models.adaptation_world import (  # noqa: E402
    assert_same_step,
    close,
    images,
    network,
    stepped,
)


def test_heads_are_copies_that_share_the_encoder():
    model = network()
    learner = a.UPLSFDA(heads=3).learner(model)
    first, *others = learner.network.branches
    assert all(branch.enc is first.enc for branch in others)
    assert len({id(branch.aux_dec1) for branch in learner.network.branches}) == 3
    for branch in others:
        assert torch.equal(branch.aux_dec1.last.weight, model.aux_dec1.last.weight)


def test_after_adaptation_the_heads_differ_and_the_mean_predicts():
    target = images()
    adapted = a.UPLSFDA(epochs=2, lr=1e-3, threshold=0.4).fit(network(), target)
    weights = [branch.aux_dec1.last.weight for branch in adapted.branches]
    assert not torch.equal(weights[0], weights[1])
    mean = adapted.head_probabilities(target[0]).mean(0)
    close(adapted(target[0]).softmax(1), mean)


def test_without_heads_views_and_reliability_it_is_naive_self_training():
    model, x = network(dropout=0.0), images(1)[0]
    method = a.UPLSFDA(
        heads=1, transforms="none", threshold=0.0, largest_component=False, entropy_weight=0.0, lr=1e-3,
        betas=(0.9, 0.999), betas_heads=(0.9, 0.999), form="masked",
    )  # fmt: skip
    learner = stepped(method, model, [x])
    by_hand = copy.deepcopy(model).train()
    label = upl_sfda.pseudo_label(by_hand(x).softmax(1).detach())
    upl_sfda.batch_dice_loss(by_hand(x).softmax(1), label).backward()
    torch.optim.Adam(by_hand.parameters(), lr=1e-3).step()
    assert_same_step(learner.network.branches[0], by_hand, model)


def test_twice_forward_draws_fresh_dropout():
    model, target = network(dropout=0.5), images()
    twice = a.UPLSFDA(epochs=1, lr=1e-3, threshold=0.4).fit(model, target)
    once = a.UPLSFDA(epochs=1, lr=1e-3, threshold=0.4, twice_forward=False).fit(model, target)
    assert twice.adaptation.history != once.adaptation.history


@pytest.mark.parametrize(
    "options",
    [
        {"transforms": "random"},
        {"transforms": "none", "feature_dropout": 0.5},
        {"form": "masked"},
        {"entropy_weight": 0.0},
        {"pseudo_weight": 0.0},
        {"largest_component": False},
        {"statistics": "running"},
        {"heads": 1},
        {"heads": 6},
    ],
)
def test_ablations_run(options):
    adapted = a.UPLSFDA(epochs=1, lr=1e-3, threshold=0.4, **options).fit(network(), images())
    assert torch.isfinite(adapted(images()[0])).all()
    assert not adapted.adaptation.stopped


def test_pseudo_labels_of_background_alone_are_told():
    model = network()
    with torch.no_grad():
        model.aux_dec1.last.weight.zero_()
        model.aux_dec1.last.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    adapted = a.UPLSFDA(epochs=1, lr=1e-4).fit(model, images())
    assert adapted.adaptation.history[0]["reliable_foreground"] == 0
    assert adapted.adaptation.history[0]["reliable"] > 0.5
    assert torch.isfinite(adapted(images()[0])).all()


def test_shot_and_urma_take_predictions_of_background_alone():
    model = network()
    with torch.no_grad():
        model.aux_dec1.last.weight.zero_()
        model.aux_dec1.last.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    for method in (a.SHOT(), a.URMA()):
        assert torch.isfinite(method.fit(model, images())(images()[0])).all()


def test_largest_components_are_taken_volume_by_volume():
    label = torch.zeros(4, 1, 8, 8)
    label[:2, 0, :3, :3] = 1  # first volume
    label[2:, 0, 4:6, 4:6] = 1  # a smaller one in the second
    label[0, 0, 7, 7] = 1
    kept = upl_sfda.largest_components(label, (2, 2))
    assert kept[:2].sum() == 18
    assert kept[2:].sum() == 8
    assert upl_sfda.largest_components(label)[2:].sum() == 0


def test_of_equal_components_the_first_is_kept():
    label = torch.zeros(1, 2, 6, 6)
    label[0, 0, 0, 0] = label[0, 0, 3, 3] = 1
    kept = upl_sfda.largest_components(label)
    assert kept[0, 0, 0, 0] == 1
    assert kept.sum() == 1
