"""The networks, rotations and losses against the official code."""

import pytest

torch = pytest.importorskip("torch")

from medeval_models import upl_sfda  # noqa: E402
from tests.parity.upl_sfda.cases import arrays, close, fill, table, tensors  # noqa: E402


@pytest.mark.parametrize(("name", "dataset"), [("UNet2D_mms", "mms"), ("UNet3D_feta", "feta")])
def test_names_and_shapes_are_the_official_ones(name, dataset):
    ours = {key: list(tensor.shape) for key, tensor in upl_sfda.build(dataset=dataset).state_dict().items()}
    assert ours == table("keys")[name]


def test_parameters_of_the_paper():
    count = sum(p.numel() for p in upl_sfda.build(dataset="mms").parameters())
    assert count == 3_711_616
    assert sum(p.numel() for p in upl_sfda.build(dataset="feta").parameters()) == 10_767_024


@pytest.mark.parametrize("dims", ["2d", "3d"])
@torch.no_grad()
def test_forward(dims):
    case = tensors(f"forward{dims}")
    model = fill(upl_sfda.build(**table("config")[f"small{dims}"]))
    close(model(case["x"]), case["mean_prob"])
    close(model.head_probabilities(case["x"]), case["head_prob"])
    close(model.source()(case["x"]), case["dec1_logits_untransformed"])


@torch.no_grad()
def test_a_volume_is_a_batch_of_slices_to_the_2d_network():
    model = fill(upl_sfda.build(**table("config")["small2d"]))
    x = tensors("forward2d")["x"]
    assert torch.equal(model(x.movedim(0, 1)[None]), model(x))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotations(turns):
    case = tensors("transforms")
    assert torch.equal(upl_sfda.rotate(case["x"], turns), case[f"r{turns}"])


@pytest.mark.parametrize("name", ["losses2d", "losses2d_bin"])
def test_2d_pseudo_labels_losses_and_gradients(name):
    case = tensors(name)
    prob = case["head_prob"].requires_grad_()
    reliable = upl_sfda.reliable_classes(upl_sfda.mean_prediction(prob), float(case["threshold"]))
    assert torch.equal(reliable, case["thresholded"])
    label = upl_sfda.largest_components(reliable)
    assert torch.equal(label, case["pseudo_label"])
    dice, entropy = upl_sfda.pseudo_label_loss(prob, label), upl_sfda.mean_entropy_loss(prob)
    close(dice, case["dice_loss"], 1e-6)
    close(entropy, case["entropy_loss"], 1e-6)
    (dice + entropy).backward()
    close(prob.grad, case["grad"], 1e-7)


def test_3d_pseudo_labels_and_losses():
    case = tensors("losses3d")
    prob = case["head_prob"]
    reliable = upl_sfda.reliable_classes(upl_sfda.mean_prediction(prob), float(case["threshold"]))
    label = upl_sfda.largest_components(reliable)
    assert torch.equal(label, case["pseudo_label"])
    close(upl_sfda.pseudo_label_loss(prob, label), case["dice_loss_sum"], 1e-6)
    close(upl_sfda.mean_entropy_loss(prob), case["entropy_loss"], 1e-6)


def test_above_one_half_the_official_map_is_the_papers_label_times_its_mask():
    mean = upl_sfda.mean_prediction(tensors("losses2d")["head_prob"])
    tau = float(arrays("losses2d")["threshold"])
    both = upl_sfda.pseudo_label(mean) * upl_sfda.reliability_map(mean, tau)
    assert torch.equal(both, upl_sfda.reliable_classes(mean, tau))
