"""One step of each method against the same step written out by hand: what changes, and by how much."""

import copy
import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from medeval_models import adaptation as a  # noqa: E402
from medeval_models import upl_sfda  # noqa: E402
from medeval_models.adaptation import losses  # noqa: E402
from medeval_models.adaptation.images import TargetImages  # noqa: E402
from medeval_models.adaptation.parts import copies_sharing_encoder, decoder_of, head_of  # noqa: E402
from medeval_models.training import ema_update, seed_of  # noqa: E402
from tests.models.adaptation_world import images, network, state  # noqa: E402

ATOL = 1e-6


def batch_of(model, target):
    return TargetImages(target, model).together()


def stepped(method, model, target, seed=0):
    """The learner after one step on all images at once, from the seed that the trainer gives step 0."""
    learner = method.learner(model)
    from medeval_models.training import Trainer

    trainer = Trainer(learner, 1, seed)
    learner.begin(TargetImages(target, model), seed)
    learner.start_epoch(0)
    trainer.step(batch_of(model, target), 0, 0)
    return learner


def batch_norm_names(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]


def on_batch_statistics(model):
    """The model in training mode without dropout: what dropping the running statistics does in evaluation mode."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def close(first, second, atol=ATOL):
    torch.testing.assert_close(first, second, atol=atol, rtol=1e-5)


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
    _assert_same_step(learner.network, by_hand, model)


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
    _assert_same_step(learner.network["student"], student, model)
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
    _assert_same_step(learner.network, by_hand, model)
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
    _assert_same_step(learner.network["main"], by_hand, model)
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
        log = by_hand(x).log_softmax(1)  # without strength nothing is augmented
    rest = torch.stack([log[:, [0, 2]].logsumexp(1), log[:, [0, 1]].logsumexp(1)], dim=1)
    bce = -(label * log[:, 1:] + (1 - label) * rest)
    loss = (mask * bce).sum() / mask.sum()
    optimiser = torch.optim.Adam(by_hand.parameters(), lr=2e-3, betas=(0.9, 0.99))
    loss.backward()
    optimiser.step()
    _assert_same_step(learner.network, by_hand, model)


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
    _assert_same_step(learner.network, by_hand, model)


def _assert_same_step(found, wanted, before):
    """Equal parameters. A bias before batch norm has no gradient but rounding, which Adam makes a whole step of."""
    for name, value in found.named_parameters():
        if name.endswith(("conv_conv.0.bias", "conv_conv.4.bias")):
            continue
        close(value, wanted.get_parameter(name), 5e-5)
    assert any(not torch.equal(v, before.get_parameter(n)) for n, v in found.named_parameters())


# -- UPL-SFDA and its ablations ---------------------------------------------------------------------------------


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
    _assert_same_step(learner.network.branches[0], by_hand, model)


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


# -- parts of other networks ------------------------------------------------------------------------------------


class Plain(nn.Module):
    """Names that no rule knows."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.second(self.first(x))


def test_a_decoder_that_is_not_found_can_be_named():
    with pytest.raises(
        a.AdaptationError, match=r"name it by `decoder`: its modules begin with first, first\.0"
    ):
        a.UPLSFDA(epochs=1).fit(Plain(), images())
    with pytest.raises(a.AdaptationError, match="decoder 'third' matches no module"):
        a.UPLSFDA(epochs=1, decoder="third").fit(Plain(), images())
    adapted = a.UPLSFDA(epochs=1, decoder="second").fit(Plain(), images())
    assert adapted.branches[1].first is adapted.branches[0].first


def test_a_head_can_be_named():
    assert head_of(Plain())[0] == "second"
    assert head_of(Plain(), r"first\.0")[0] == "first.0"
    with pytest.raises(a.AdaptationError, match="head 'no' matches no module"):
        a.SHOT(head="no").fit(Plain(), images())


def test_a_head_below_full_resolution_is_told():
    class Coarse(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1))

        def forward(self, x):
            return functional.interpolate(self.convs(functional.avg_pool2d(x, 2)), scale_factor=2)

    with pytest.raises(a.AdaptationError, match="at full resolution"):
        a.SHOT().fit(Coarse(), images())


def test_one_channel_is_a_binary_softmax():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    adapted = a.Tent().fit(model, images())
    assert adapted(images()[0]).shape[1] == 1
    assert a.AdaMI(prior=(0.7, 0.3)).fit(model, images()).adaptation.steps == 3


@pytest.mark.parametrize(
    ("name", "options", "encoder"),
    [
        ("UNet", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": (4, 8, 16), "strides": (2, 2), "norm": "batch"}, "model.0"),
        ("BasicUNet", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 4, 8, 8, 8, 4)}, "conv_0"),
        ("SegResNet", {"spatial_dims": 2, "init_filters": 8, "in_channels": 1, "out_channels": 2}, "down_layers"),
        ("DynUNet", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}, "input_block"),
        ("AttentionUnet", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": (4, 8, 16), "strides": (2, 2)}, None),
    ],
)  # fmt: skip
def test_networks_of_monai(name, options, encoder):
    nets = pytest.importorskip("monai.networks.nets")
    model = getattr(nets, name)(**options)
    if encoder is None:
        with pytest.raises(a.AdaptationError, match="name it by `decoder`"):
            decoder_of(model)
        return
    branches = copies_sharing_encoder(model, decoder_of(model), 2)
    shared = {id(p) for p in branches[0].parameters()} & {id(p) for p in branches[1].parameters()}
    own = [n for n, p in branches[0].named_parameters() if id(p) not in shared]
    assert all(id(p) in shared for p in branches[0].get_submodule(encoder).parameters())
    assert own
    adapted = a.UPLSFDA(epochs=1, lr=1e-3, threshold=0.4).fit(model, images())
    assert adapted(images()[0]).shape == (4, 2, 32, 32)


def test_three_dimensions():
    from medeval_models.upl_sfda import build_source

    model = build_source(dataset="feta", ft_chns=(4, 8, 16, 32, 32), n_classes=2)
    target = [torch.randn(1, 1, 32, 32, 32)]
    for method in (
        a.UPLSFDA(epochs=1, threshold=0.4, patch=(32, 32, 16)),
        a.CoTTA(augmentations=1),
        a.SHOT(),
    ):
        assert method.fit(model, target)(target[0]).shape == (1, 2, 32, 32, 32)


def test_the_moving_average_copies_buffers():
    first, second = network(seed=1), network(seed=2)
    before = state(first)
    ema_update(first, second, 0.75)
    name = "aux_dec1.last.weight"
    close(first.get_parameter(name), 0.75 * before[name] + 0.25 * second.get_parameter(name))
    buffer = "enc.down_path.0.conv_conv.1.running_mean"
    assert torch.equal(first.get_buffer(buffer), second.get_buffer(buffer))
