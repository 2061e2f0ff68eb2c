"""SAM-Med3D's training: which clicks are shown, what is summed, how batches make a step, and that it resumes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medeval_models import sam_med3d  # noqa: E402
from medeval_models.sam_med3d.losses import dice_ce_loss  # noqa: E402
from medeval_models.sam_med3d.training import ClickRecipe, Example, standardised  # noqa: E402
from medeval_models.training import FileCheckpoint, Trainer  # noqa: E402

SIZES = {
    "image_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 1, "num_heads": 2, "global_attn_indexes": (0,),
    "prompt_embed_dim": 24, "decoder_mlp_dim": 16, "iou_head_hidden_dim": 8, "decoder_num_heads": 2,
}  # fmt: skip


def network(seed=0):
    torch.manual_seed(seed)
    return sam_med3d.build(**SIZES)


def examples(count=5):
    drawn = np.random.default_rng(0)
    made = []
    for number in range(count):
        target = np.zeros((16, 16, 16), bool)
        low = drawn.integers(1, 6, 3)
        target[tuple(slice(a, a + 7) for a in low)] = True
        image = target * 1.5 + drawn.normal(0, 0.2, target.shape) + number * 0.01
        made.append(Example(torch.from_numpy(image.astype(np.float32)), torch.from_numpy(target)))
    return made


def recipe(net=None, **options):
    given = {"batch_size": 2, "accumulate": 1, "clicks": 3, **options}
    return ClickRecipe(net or network(), examples(), **given)


def shown_by(made, targets=None):
    """How many clicks each step shows: None for a step by the mask alone."""
    shown = []
    prompts = made.network.prompt_encoder

    def noted(points, boxes, masks, forward=prompts.forward):
        shown.append(None if points is None else points[0].shape[1])
        return forward(points, boxes, masks)

    prompts.forward = noted
    made.loss([0, 1])
    return shown


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"clicks": 1}, [1]),
        ({"clicks": 2}, [1, 1]),
        ({"clicks": 3}, [1, 1, None]),
        ({"clicks": 3, "refine": False}, [1, 1, 1]),
        ({"clicks": 4, "feed": "all"}, [1, 2, 3, None]),
        ({"clicks": 3, "feed": "all", "refine": False}, [1, 2, 3]),
    ],
)
def test_clicks_that_each_step_shows(options, shown):
    assert shown_by(recipe(**options)) == shown


def test_two_of_eleven_steps_stand_on_the_mask_alone():
    for seed in range(4):
        torch.manual_seed(seed)
        alone = [number for number, count in enumerate(shown_by(recipe(clicks=11))) if count is None]
        assert len(alone) == 2
        assert alone[1] == 10
        assert 2 <= alone[0] <= 8


def test_the_loss_is_the_sum_over_all_steps_and_reaches_every_part():
    made = recipe(flip=False, refine=False)
    torch.manual_seed(1)
    loss, terms = made.loss([0, 1])
    torch.manual_seed(1)
    patches, targets = made._drawn([0, 1])
    steps = made.sequence(made.network.image_encoder(made.images(patches)), targets)
    losses = [float(dice_ce_loss(logits, targets[:, None]).detach()) for logits in steps]
    assert float(loss.detach()) == pytest.approx(sum(losses), rel=1e-5)
    assert terms == pytest.approx({"first": losses[0], "last": losses[-1]}, rel=1e-5)
    loss.backward()
    unused = {name for name, p in made.network.named_parameters() if p.grad is None}
    # Masks 1 to 3 and the predicted IoU have no part in it.
    others = ("no_mask_embed", "iou_prediction_head", "output_hypernetworks_mlps", "point_embeddings.0")
    assert all(any(part in name for part in others) for name in unused), unused


def test_gradients_flow_through_the_logits_that_are_fed_back():
    torch.manual_seed(0)
    fine = sam_med3d.build(
        **{**SIZES, "patch_size": 4}
    )  # its logits are as fine as the volume: fed back as they are
    made = recipe(fine, flip=False)
    patches, targets = made._drawn([0])
    steps = made.sequence(fine.image_encoder(made.images(patches)), targets)
    (gradient,) = torch.autograd.grad(steps[-1].sum(), steps[0])
    assert gradient.abs().max() > 0


def test_the_first_click_falls_on_the_target_and_later_ones_on_errors():
    made = recipe()
    targets = torch.stack([example.target for example in examples(2)])
    points, labels = made._click(torch.zeros(targets.shape), targets)
    assert labels.tolist() == [[1], [1]]
    for point, target in zip(points[:, 0].long(), targets, strict=True):
        assert target[tuple(point)]
    everything = torch.ones(targets.shape)  # above 0.5: all is foreground
    points, labels = made._click(everything, targets)
    assert labels.tolist() == [[0], [0]]
    assert made._click(torch.full(targets.shape, 0.4), targets)[1].tolist() == [[1], [1]]  # 0.4 is not


def test_batches_of_a_step_are_averaged():
    """Two batches of two in one step: the gradient of the mean of both losses."""
    made, parted = recipe(flip=False), recipe(network(), flip=False, accumulate=2)
    found = []

    def keep(loss):
        for parameter in made.network.parameters():
            parameter.grad = None
        for parameter in parted.network.parameters():
            parameter.grad = None
        loss.backward()
        return True

    torch.manual_seed(5)
    parted.step([0, 1, 2, 3], keep)
    found = {name: p.grad for name, p in parted.network.named_parameters()}
    torch.manual_seed(5)
    keep((made.loss([0, 1])[0] + made.loss([2, 3])[0]) / 2)
    for name, parameter in made.network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_every_example_is_seen_once_an_epoch_in_another_order():
    made = recipe(accumulate=2)
    first, second = made.batches(0), made.batches(1)
    assert [len(step) for step in first] == [4, 1]
    assert sorted(sum(first, [])) == list(range(5)) == sorted(sum(second, []))  # noqa: RUF017
    assert first != second
    assert first == made.batches(0)


@pytest.mark.parametrize(
    ("cycles", "done", "factor"),
    [(1, 0.0, 1), (1, 0.59, 1), (1, 0.6, 0.1), (1, 0.95, 0.01), (4, 0.2, 0.1), (4, 0.25, 1), (4, 0.49, 0.01)],
)
def test_rates_fall_at_the_milestones_of_each_cycle(cycles, done, factor):
    assert recipe(cycles=cycles).factor(done) == pytest.approx(factor)


def test_decoder_and_prompts_learn_at_a_tenth_of_the_rate():
    groups = recipe(learning_rate=1e-3).optimisers[0].param_groups
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 1e-4, 1e-4])
    assert sum(len(group["params"]) for group in groups) == len(list(network().parameters()))


def test_a_batch_is_standardised_as_one():
    patches = torch.stack([torch.full((4, 4, 4), 10.0), torch.full((4, 4, 4), 30.0)])
    patches[0, 0] = -1000.0
    found = standardised(patches)
    inside = patches[patches > 0]
    assert found[1, 0, 0, 0] == pytest.approx(float((30 - inside.mean()) / inside.std()))
    assert found[0, 0, 0, 0] < -100
    assert standardised(torch.full((1, 2, 2, 2), 7.0)).eq(7.0).all()


def test_a_training_that_was_stopped_ends_in_the_same_weights(tmp_path):
    def trained(epochs, path):
        net = network()
        Trainer(recipe(net, learning_rate=1e-2), epochs, seed=3).run(FileCheckpoint(path))
        return net.state_dict()

    whole = trained(4, tmp_path / "whole.safetensors")
    state = tmp_path / "parts.safetensors"

    class Stop(Exception):
        pass

    def until_two(told):
        if told.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        Trainer(recipe(network(), learning_rate=1e-2), 4, seed=3).run(FileCheckpoint(state), until_two)
    resumed = trained(4, state)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_is_seen_is_learned():
    net = network()
    made = recipe(net, learning_rate=1e-2, decoder_rate=1.0, flip=False, milestones=())
    outcome = Trainer(made, 25, seed=0).run()
    assert outcome.history[-1]["last"] < 0.6 * outcome.history[0]["last"]


def test_no_examples_is_an_error():
    with pytest.raises(ValueError, match="examples"):
        ClickRecipe(network(), [])
