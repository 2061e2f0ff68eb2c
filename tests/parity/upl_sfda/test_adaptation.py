"""Adaptation steps and the baselines' losses against the official code, or formulas of it, by stored arrays."""

import pytest

torch = pytest.importorskip("torch")

from medeval_models import adaptation, upl_sfda  # noqa: E402
from medeval_models.adaptation import losses  # noqa: E402
from medeval_models.adaptation.images import TargetImages  # noqa: E402
from tests.parity.upl_sfda.cases import close, fill, table, tensors  # noqa: E402

THREE_CLASSES = dict(table("config")["small2d"], n_classes=3, dropout_p=(0.0, 0.0))


@torch.no_grad()
def _scaled(model, factor):
    for name, parameter in model.named_parameters():
        if name.endswith("last.weight"):
            parameter.mul_(factor)
    return model


def test_three_steps_of_upl_sfda():
    case = tensors("adapt3steps")
    model = _scaled(fill(upl_sfda.build(**THREE_CLASSES)), 60).grow()
    method = adaptation.UPLSFDA(
        epochs=3, lr=float(case["lr"]), threshold=0.6, slices=None, statistics="running"
    )
    steps = []
    adapted = method.fit(model.source(), [case["x"]], progress=lambda told: steps.append(told.terms))
    close([step["dice"] for step in steps], case["dice_losses"], 1e-5)
    close([step["entropy"] for step in steps], case["entropy_losses"], 1e-5)
    counts = case["reliable_counts"].sum(dim=1).numpy()
    voxels = case["x"].numel()  # (steps,) reliable voxels of any class
    close([step["reliable"] * voxels for step in steps], counts, 1.0)
    first, last = adapted.branches[0], adapted.branches[3]
    close(first.enc.down_path[0].conv_conv[0].weight, case["enc_first_weight"], 1e-5)
    close(last.aux_dec1.last.weight, case["dec4_last_weight"], 1e-5)
    # A convolution's bias before batch norm has no gradient but rounding, which Adam turns into whole steps of lr: the
    # running means, and with them predictions in evaluation mode, agree to three steps of it (see the fixtures' README).
    close(first.enc.down_path[0].conv_conv[1].running_mean, case["enc_bn_mean"], 3 * float(case["lr"]))
    with torch.no_grad():
        close(adapted(case["x"]).softmax(1), case["mean_prob_after"], 1e-3)


def test_ptbn():
    case = tensors("tent")
    source = _scaled(fill(upl_sfda.build_source(**THREE_CLASSES)), 20)
    with torch.no_grad():
        close(source(case["x"]), case["source_logits"])
        close(adaptation.PTBN().fit(source, [case["x"]])(case["x"]), case["ptbn_logits"])
    learner = adaptation.PTBN().learner(source)
    learner.loss(TargetImages([case["x"]], source).together())
    layer = learner.network.enc.down_path[0].conv_conv[1]
    close(layer.running_mean, case["ptbn_running_mean_after"])


def test_tent():
    case = tensors("tent")
    source = _scaled(fill(upl_sfda.build_source(**THREE_CLASSES)), 20)
    online = adaptation.Tent().start(source)
    entropies = []
    for _ in range(int(case["steps"])):
        with torch.no_grad():
            before_the_step = online.module(case["x"])
        entropies.append(online.adapt([case["x"]])["entropy"])
    close(before_the_step, case["tent_logits_last"])
    close(entropies, case["tent_entropy"])
    adapted = online.module
    close(adapted.enc.down_path[0].conv_conv[1].weight, case["tent_first_bn_weight"])
    close(adapted.enc.down_path[0].conv_conv[1].bias, case["tent_first_bn_bias"])
    close(adapted.aux_dec1.up_path[3].conv_block.conv_conv[5].weight, case["tent_last_bn_weight"])
    learner = adaptation.Tent().learner(source)
    assert sum(p.requires_grad for p in learner.network.parameters()) == int(case["n_tent_params"])


def test_adami():
    case = tensors("baseline_losses")
    prob = case["logits"].softmax(1)
    close(losses.weighted_entropy(prob, case["adami_weights"]), case["adami_weighted_entropy"])
    close(losses.class_ratios(prob), case["adami_estimated_ratio"])
    close(losses.ratio_divergence(losses.class_ratios(prob), case["adami_prior"]), case["adami_kl"])


def test_urma():
    case = tensors("baseline_losses")
    entropy = upl_sfda.normalised_entropy(case["logits"].softmax(1))
    close(entropy, case["urma_entropy_log2_norm"])
    total = entropy + 0.1 * losses.uncertainty(case["aux_logits"], case["logits"])
    close(total, case["urma_total_ent_plus_0p1unc"])


def test_shot():
    case = tensors("baseline_losses")
    entropy, diversity = losses.information_maximisation(case["logits"].softmax(1))
    close(entropy, case["shot_entropy"])
    close(diversity, case["shot_diversity"])
    close(entropy - diversity, case["shot_im"])
    labels = losses.shot_pseudo_label(case["shot_features"], case["shot_outputs"].softmax(1))
    assert torch.equal(labels, case["shot_pseudo_label"])


def test_cotta():
    case = tensors("baseline_losses")
    close(losses.consistency(case["logits"], case["aux_logits"][0]), case["cotta_consistency"])


def test_dpl():
    case = tensors("baseline_losses")
    found = losses.denoised_pseudo_label(case["dpl_mc_logits"], case["dpl_features"])
    close(found.uncertainty, case["dpl_uncertainty"])
    assert torch.equal(found.label.byte(), case["dpl_pseudo_label"])
    assert torch.equal(found.prototype_label.byte(), case["dpl_proto_label"])
    assert torch.equal(found.mask.byte(), case["dpl_mask"])
    close(losses.masked_bce(case["logits"][:, :2], found.label, found.mask), case["dpl_loss"])
