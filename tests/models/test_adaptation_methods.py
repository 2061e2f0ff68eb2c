"""One step of each method against the same step written out by hand: what changes, and by how much."""

import copy
import math

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from medeval_models import adaptation as a  # noqa: E402
from medeval_models.adaptation import losses  # noqa: E402
from medeval_models.adaptation.augment import weakly_augmented  # noqa: E402
from medeval_models.adaptation.images import TargetImages  # noqa: E402
from medeval_models.training import seed_of  # noqa: E402
from tests.models.adaptation_world import (  # noqa: E402
    assert_same_step,
    batch_norm_names,
    close,
    images,
    network,
    on_batch_statistics,
    stepped,
)


def test_ptbn_changes_statistics_alone():
    model, x = network(), images(1)[0]
    learner = stepped(a.PTBN(), model, [x])
    by_hand = on_batch_statistics(model)
    by_hand(x)
    for name, value in learner.network.state_dict().items():
        moved = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, model.state_dict()[name]) != moved, name
        close(value, by_hand.state_dict()[name])


def test_adabn_averages_the_statistics_of_all_images():
    model, target = network(), images(3)
    adapted = a.PTBN(statistics="target").fit(model, target)
    layer = model.enc.down_path[0].conv_conv
    means = torch.stack([layer[0](x).mean(dim=(0, 2, 3)) for x in target])
    close(adapted.enc.down_path[0].conv_conv[1].running_mean, means.mean(0))


def test_tent_changes_only_scale_and_shift_of_batch_norm():
    model, x = network(), images(1)[0]
    learner = stepped(a.Tent(), model, [x])
    by_hand = on_batch_statistics(model)
    affine = {f"{name}.{kind}" for name in batch_norm_names(model) for kind in ("weight", "bias")}
    learning = [p for name, p in by_hand.named_parameters() if name in affine]
    p = by_hand(x).softmax(1)
    loss = -(p * torch.log2(p + 1e-10)).sum() / (p[:, 0].numel() * math.log2(3))
    optimiser = torch.optim.Adam(learning, lr=5e-4, betas=(0.5, 0.999), weight_decay=1e-4)
    for parameter in by_hand.parameters():
        parameter.requires_grad_(any(parameter is one for one in learning))
    loss.backward()
    optimiser.step()
    wanted = dict(by_hand.named_parameters())
    for name, value in learner.network.named_parameters():
        assert torch.equal(value, model.get_parameter(name)) != (name in affine), name
        close(value, wanted[name])


def test_the_ablation_of_tent_changes_every_weight():
    model = network()
    learner = stepped(a.Tent(weights="all"), model, images(1))
    changed = [not torch.equal(v, model.get_parameter(n)) for n, v in learner.network.named_parameters()]
    assert all(changed)


def test_sar_steps_by_the_gradient_above():
    model, x = network(), images(1)[0]
    method = a.SAR(lr=0.1, margin=0.9, rho=0.5, reset_below=0.0)
    learner = stepped(method, model, [x])
    by_hand = on_batch_statistics(model)
    limit = 0.9 * math.log(3)
    names = [f"{name}.{kind}" for name in batch_norm_names(model) for kind in ("weight", "bias")]
    weights = [by_hand.get_parameter(name) for name in names]
    entropy = losses.voxel_entropy(by_hand(x))
    reliable = entropy < limit
    assert 0 < reliable.sum() < reliable.numel()
    gradients = torch.autograd.grad(entropy[reliable].mean(), weights)
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.add_(0.5 * gradient / (norm + 1e-12))
    above = losses.voxel_entropy(by_hand(x))
    loss = above[reliable & (above < limit)].mean()
    upper = torch.autograd.grad(loss, weights)
    found = learner.network["model"]
    for name, gradient in zip(names, upper, strict=True):
        close(found.get_parameter(name), model.get_parameter(name) - 0.1 * gradient, 1e-5)
    untouched = set(dict(model.named_parameters())) - set(names)
    assert all(torch.equal(found.get_parameter(n), model.get_parameter(n)) for n in untouched)


def test_sar_returns_to_the_source_when_the_loss_collapses():
    model = network()
    learner = stepped(a.SAR(lr=1.0, margin=1.0, reset_below=100.0), model, images(1))
    assert all(torch.equal(v, model.get_parameter(n)) for n, v in learner.network["model"].named_parameters())


def test_sar_does_nothing_where_no_voxel_is_reliable():
    model = network()
    learner = stepped(a.SAR(lr=1.0, margin=1e-9), model, images(1))
    assert all(torch.equal(v, model.get_parameter(n)) for n, v in learner.network["model"].named_parameters())


def test_adami_step():
    model, x = network(dropout=0.0), images(1)[0]
    prior = torch.tensor([0.8, 0.15, 0.05])
    learner = stepped(a.AdaMI(prior=tuple(prior.tolist()), lr=1e-3), model, [x])
    by_hand = copy.deepcopy(model).train()
    p = by_hand(x).softmax(1)
    nu = (1 - prior) / (1 - prior).sum()
    entropy = -(nu[:, None, None] * p * (p + 1e-10).log()).sum() / p.sum()
    relative = (p / (p.max(1, keepdim=True).values + 1e-10)).sum((2, 3))
    ratio = relative / relative.sum(1, keepdim=True)
    divergence = (ratio * ((ratio + 1e-10) / (prior + 1e-10)).log()).sum(1).mean()
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=1e-3, weight_decay=1e-4)
    (entropy + divergence).backward()
    optimiser.step()
    assert_same_step(learner.network, by_hand, model)


def test_mean_teacher_step():
    model, x = network(dropout=0.0), images(1)[0]
    learner = stepped(a.MeanTeacher(lr=1e-3, decay=0.9), model, [x])
    student, teacher = learner.network["student"], learner.network["teacher"]
    for name, value in teacher.named_parameters():
        close(value, 0.9 * model.get_parameter(name) + 0.1 * student.get_parameter(name))
    assert all(torch.equal(teacher.get_buffer(n), b) for n, b in student.named_buffers())
    moved = [not torch.equal(v, model.get_parameter(n)) for n, v in student.named_parameters()]
    assert all(moved)


@pytest.mark.parametrize("confident", [True, False])
def test_cotta_step(confident):
    model, x = network(dropout=0.0), images(1)[0]
    method = a.CoTTA(
        lr=1e-3,
        decay=0.9,
        restore=0.0,
        augmentations=2,
        strength=0.0,
        confident_above=0.0 if confident else 1.1,
    )
    learner = stepped(method, model, [x])
    source, student = on_batch_statistics(model), on_batch_statistics(model)
    with torch.no_grad():
        # Without strength only flips, undone, are left of the augmentations.
        target = source(x) if confident else _by_the_same_draws(method, source, x)
    loss = -(target.softmax(1) * student(x).log_softmax(1)).sum(1).mean()
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
    loss.backward()
    optimiser.step()
    assert_same_step(learner.network["student"], student, model)
    for name, value in learner.network["teacher"].named_parameters():
        close(value, 0.9 * model.get_parameter(name) + 0.1 * learner.network["student"].get_parameter(name))


def _by_the_same_draws(method, source, x):
    from medeval_models.adaptation.augment import perturbed

    with torch.random.fork_rng():
        torch.manual_seed(seed_of(0, 0, 0))
        outs = []
        for _ in range(method.augmentations):
            flip = bool(torch.rand(()) < 0.5)
            view = perturbed(x.flip(-1) if flip else x, method.strength)
            out = source(view)
            outs.append(out.flip(-1) if flip else out)
    return torch.stack(outs).mean(0)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_cotta_restores_the_stated_share(share):
    model = network()
    method = a.CoTTA(lr=1e-2, restore=share, augmentations=1)
    learner = stepped(method, model, images(1))
    student = dict(learner.network["student"].named_parameters())
    back = torch.cat([(student[n] == p).flatten() for n, p in model.named_parameters()])
    assert abs(back.float().mean().item() - share) < 0.01 + 0.01 * (0 < share < 1)


def test_shot_step():
    model, target = network(dropout=0.0), images(1)
    x = target[0]
    learner = stepped(a.SHOT(lr=1e-2), model, target)
    seen = copy.deepcopy(model).eval()
    with torch.no_grad():
        taken = []
        handle = seen.aux_dec1.last.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        prob = seen(x).softmax(1)
        handle.remove()
    features = taken[0].movedim(1, -1).flatten(0, -2)
    labels = losses.shot_pseudo_label(features, prob.movedim(1, -1).flatten(0, -2)).reshape(x[:, 0].shape)
    by_hand = copy.deepcopy(model).train()
    out = by_hand(x)
    p = out.softmax(1).movedim(1, -1).flatten(0, -2)
    information = -(p * (p + 1e-5).log()).sum(1).mean() + (p.mean(0) * (p.mean(0) + 1e-5).log()).sum()
    loss = information + 0.3 * functional.cross_entropy(out, labels)
    learning = [v for n, v in by_hand.named_parameters() if not n.startswith("aux_dec1.last")]
    by_hand.aux_dec1.last.requires_grad_(False)
    optimiser = torch.optim.SGD(learning, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=1e-3)
    loss.backward()
    optimiser.step()
    assert_same_step(learner.network, by_hand, model)
    assert torch.equal(learner.network.aux_dec1.last.weight, model.aux_dec1.last.weight)


def test_shot_slows_down_as_published():
    learner = a.SHOT().learner(network())
    assert learner.factor(0.0) == 1.0
    assert learner.factor(0.5) == pytest.approx(6**-0.75)


def test_urma_step():
    model, x = network(dropout=0.0), images(1)[0]
    learner = stepped(a.URMA(lr=1e-2, dropout=0.0, portion=0.3), model, [x])
    by_hand = copy.deepcopy(model).train()
    heads = [copy.deepcopy(model.aux_dec1.last) for _ in range(4)]
    with torch.no_grad():
        sure = copy.deepcopy(model).eval()(x).softmax(1)
        best, label = sure.max(1)
        limits = [_rank(best[label == c], 0.3) for c in range(3)]
        scaled = sure / torch.stack(limits)[:, None, None]
        pseudo = torch.where(scaled.max(1).values < 1, 255, scaled.argmax(1))
    assert 0.2 < (pseudo != 255).float().mean() < 0.4
    taken = []
    by_hand.aux_dec1.last.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    out = by_hand(x)
    p = out.softmax(1)
    entropy = -(p * torch.log2(p + 1e-10)).sum() / (p[:, 0].numel() * math.log2(3))
    spread = sum(((head(taken[0]).softmax(1) - p.detach()) ** 2).mean() for head in heads)
    loss = functional.cross_entropy(out, pseudo, ignore_index=255) + entropy + 0.1 * spread
    by_hand.aux_dec1.last.requires_grad_(False)
    main = [v for v in by_hand.parameters() if v.requires_grad]
    own = [v for head in heads for v in head.parameters()]
    optimiser = torch.optim.SGD(
        [{"params": main}, {"params": own, "lr": 0.1}], lr=1e-2, momentum=0.9, weight_decay=5e-4
    )
    loss.backward()
    optimiser.step()
    assert_same_step(learner.network["main"], by_hand, model)
    for found, wanted in zip(learner.network["aux"], heads, strict=True):
        close(found.weight, wanted.weight)


def _rank(values, portion):
    if not len(values):
        return torch.ones(())
    return values.sort(descending=True).values[min(int(portion * len(values)), len(values) - 1)]


def test_dpl_step():
    model, x = network(dropout=0.3), images(1)[0]
    method = a.DPL(strength=0.0, most_uncertain=0.5, threshold=0.4)
    learner = stepped(method, model, [x])
    label, mask = (maps[0].movedim(-1, 1).float() for maps in (learner._labels, learner._masks))
    assert 0 < mask.mean() <= 1
    by_hand = copy.deepcopy(model).train()
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(0, 0, 0))
        log = by_hand(weakly_augmented(x, 0.0)).log_softmax(1)  # dropout draws after the augmentation
    rest = torch.stack([log[:, [0, 2]].logsumexp(1), log[:, [0, 1]].logsumexp(1)], dim=1)
    bce = -(label * log[:, 1:] + (1 - label) * rest)
    loss = (mask * bce).sum() / mask.sum()
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=2e-3, betas=(0.9, 0.99))
    loss.backward()
    optimiser.step()
    assert_same_step(learner.network, by_hand, model)


def test_supervised_step():
    model, x = network(dropout=0.0), images(1)[0]
    label = (x[:, 0] > 0.5).long()
    method = a.TargetSupervised(lr=1e-3)
    learner = method.learner(model)
    from medeval_models.training import Trainer

    Trainer(learner, 1, 0).step(TargetImages([x], model, [label]).together(), 0, 0)
    by_hand = copy.deepcopy(model).train()
    out = by_hand(x)
    one_hot = functional.one_hot(label, 3).movedim(-1, 1).float()
    p, axes = out.softmax(1), (0, 2, 3)
    dice = 1 - (2 * (p * one_hot).sum(axes) + 1e-4) / (one_hot.sum(axes) + (p * p).sum(axes) + 1e-4)
    (dice.mean() + functional.cross_entropy(out, label)).backward()
    torch.optim.Adam(by_hand.parameters(), lr=1e-3).step()
    assert_same_step(learner.network, by_hand, model)


# -- what methods are given -------------------------------------------------------------------------------------


def test_a_prior_of_each_image_takes_the_place_of_the_one_of_all():
    model, x = network(dropout=0.0), images(2)
    shares = torch.tensor([[0.8, 0.15, 0.05], [0.5, 0.1, 0.4]])
    method = a.AdaMI(prior=(0.8, 0.15, 0.05), priors=tuple(map(tuple, shares.tolist())), lr=1e-3)
    learner = stepped(method, model, x)
    by_hand = copy.deepcopy(model).train()
    p = by_hand(torch.cat(x)).softmax(1)
    nu = (1 - shares[0]) / (1 - shares[0]).sum()
    entropy = -(nu[:, None, None] * p * (p + 1e-10).log()).sum() / p.sum()
    ratio = losses.class_ratios(p)
    target = shares.repeat_interleave(torch.tensor([len(x[0]), len(x[1])]), dim=0)
    divergence = (ratio * ((ratio + 1e-10) / (target + 1e-10)).log()).sum(1).mean()
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=1e-3, weight_decay=1e-4)
    (entropy + divergence).backward()
    optimiser.step()
    assert_same_step(learner.network, by_hand, model)


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        (((0.5, 0.4, 0.2),), "priors 0 .* of sum 1"),
        (((0.5, 0.5),), "priors 0: 2 classes where the prior has 3"),
    ],
)
def test_priors_that_are_none_are_told(priors, message):
    with pytest.raises(a.AdaptationError, match=message):
        a.AdaMI(prior=(0.8, 0.1, 0.1), priors=priors)


def test_priors_must_be_as_many_as_images():
    method = a.AdaMI(prior=(0.8, 0.1, 0.1), priors=((0.8, 0.1, 0.1),))
    with pytest.raises(a.AdaptationError, match="1 priors for 3 target images"):
        method.fit(network(), images(3))


def test_without_strength_the_weak_augmentation_changes_nothing():
    x = images(1)[0]
    close(weakly_augmented(x, 0.0), x)


def test_weak_augmentation_erases_boxes_and_salts():
    torch.manual_seed(0)
    x = torch.rand(64, 1, 40, 40) * 0.5 + 0.25
    out = weakly_augmented(x, 1.0)
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    assert (out >= low - 1e-5).all()
    assert (out <= high + 1e-5).all()
    ends = ((out - low).abs() < 1e-6) | ((out - high).abs() < 1e-6)
    salted = (ends.float().mean((1, 2, 3)) > 0.012).float().mean()
    assert 0.25 < salted < 0.75  # about half of the images
    erased = [image.flatten().mode().values for image in out]
    counts = torch.tensor([(image == value).float().mean() for image, value in zip(out, erased, strict=True)])
    boxes = counts[counts > 0.015]
    assert 0.25 < len(boxes) / 64 < 0.9
    assert boxes.max() < 0.09


def test_weak_augmentation_takes_volumes():
    assert weakly_augmented(torch.rand(2, 1, 12, 10, 8)).shape == (2, 1, 12, 10, 8)
