"""The shared trainer, on the recipe that trains source models: resume, averaging, clipping, precision, schedule, stops."""

import pytest

torch = pytest.importorskip("torch")

from medeval_models.training import FileCheckpoint, Progress, Recipe, Trainer, TrainingError, seeded  # noqa: E402
from medeval_models.upl_sfda import build_source  # noqa: E402
from medeval_models.upl_sfda.training import SegmentationRecipe, initialise  # noqa: E402
from tests.models.adaptation_world import images, network, same, state  # noqa: E402


class Killed(BaseException):
    """Stands for a kill between two steps."""


def examples():
    slices = [one for volume in images(2) for one in volume.split(1)]
    return slices, [(one[:, 0] > 0.5).long() for one in slices]


def recipe(**options):
    with seeded(torch.device("cpu"), 0, "weights"):
        model = network(dropout=0.2)
    return SegmentationRecipe(
        model, *examples(), **{"epochs": 4, "learning_rate": 1e-3, "loss": "dice+ce", **options}
    )


def test_a_source_model_learns():
    made = recipe(learning_rate=5e-3)
    outcome = Trainer(made, 15).run()
    assert outcome.history[-1]["cross_entropy"] < 0.3 * outcome.history[0]["cross_entropy"]
    assert outcome.steps == 30


@pytest.mark.parametrize(
    "options", [{}, {"ema": 0.9}, {"strength": 1.0, "loss": "dice"}, {"patch": (16, 16)}]
)
def test_a_killed_training_continues_to_the_same_weights(options, tmp_path):
    whole = recipe(**options)
    Trainer(whole, 4, seed=3).run()

    def kill(told: Progress) -> None:
        if told.step == 5:
            raise Killed

    kept = FileCheckpoint(tmp_path / "last.safetensors")
    with pytest.raises(Killed):
        Trainer(recipe(**options), 4, seed=3).run(kept, kill)
    continued, steps = recipe(**options), []
    outcome = Trainer(continued, 4, seed=3).run(kept, lambda told: steps.append(told.step))
    assert steps == [5, 6, 7, 8]
    assert outcome.steps == 8
    assert len(outcome.history) == 4
    assert same(state(continued.trained), state(whole.trained))


def test_a_checkpoint_is_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        Trainer(recipe(), 1).run(FileCheckpoint(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_moving_average_is_what_was_trained():
    made = recipe(ema=0.5)
    Trainer(made, 2).run()
    assert made.trained is made.network["average"]
    assert not same(state(made.network["average"]), state(made.network["model"]))


def test_the_rate_steps_down():
    made = recipe(decay=0.5, decay_every=2)
    assert [made.factor(epoch / 4) for epoch in range(4)] == [1, 1, 0.5, 0.5]
    Trainer(made, 4).run()
    assert made.optimisers[0].param_groups[0]["lr"] == pytest.approx(5e-4)


def test_gradients_are_clipped():
    made = recipe()
    before = state(made.trained)
    made.optimisers = [torch.optim.SGD(made.trained.parameters(), lr=1.0)]
    trainer = Trainer(made, 1, clip=1e-3)
    batch = next(iter(made.batches(0)))
    trainer.step(batch, 0, 0)
    moved = [made.trained.get_parameter(n) - before[n] for n, _ in made.trained.named_parameters()]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_mixed_precision_on_the_cpu():
    made = recipe()
    outcome = Trainer(made, 1, precision=torch.bfloat16).run()
    assert not outcome.stopped
    assert all(p.dtype == torch.float32 for p in made.trained.parameters())
    exact = recipe()
    Trainer(exact, 1).run()
    assert not same(state(made.trained), state(exact.trained))


class Exploding(Recipe):
    """Its loss becomes NaN in step ``at``, or its gradient does."""

    def __init__(self, at: int, gradient: bool = False) -> None:
        self.network = torch.nn.Linear(2, 1)
        self.optimisers = [torch.optim.SGD(self.network.parameters(), lr=0.1)]
        self.at, self.gradient, self.seen, self.count = at, gradient, [], 0

    def batches(self, epoch):
        return [torch.ones(1, 2)] * 3

    def loss(self, batch):
        self.seen.append(state(self.network))
        self.count += 1
        loss = self.network(batch).mean()
        if self.count == self.at:
            loss = (loss * 0 + 1).sqrt() * (loss - loss).sqrt() if self.gradient else loss * torch.nan
        return loss, {"loss": loss.item()}


@pytest.mark.parametrize("gradient", [False, True])
def test_a_training_that_explodes_returns_to_the_last_good_weights(gradient):
    made = Exploding(3, gradient)
    outcome = Trainer(made, 2).run()
    assert ("gradient" if gradient else "loss") in outcome.stopped
    assert "in step 3" in outcome.stopped
    assert outcome.steps == 2
    assert len(outcome.history) == 1
    assert same(state(made.network), made.seen[1])  # those before the step that led to it


def test_a_stopped_training_stays_stopped(tmp_path):
    kept = FileCheckpoint(tmp_path / "c")
    first = Trainer(Exploding(2), 3).run(kept)
    again = Exploding(99)
    second = Trainer(again, 3).run(kept)
    assert second.stopped == first.stopped
    assert again.count == 0


def test_the_best_epoch_is_kept_across_a_kill(tmp_path):
    values = iter([3.0, 1.0, 2.0, 5.0])
    made = recipe()
    outcome = Trainer(made, 4, criterion=lambda: next(values)).run()
    assert outcome.chosen == 1
    best = state(made.trained)
    kept, values = FileCheckpoint(tmp_path / "c"), iter([3.0, 1.0, 2.0, 5.0])

    def kill(told: Progress) -> None:
        if told.step == 7:
            raise Killed

    with pytest.raises(Killed):
        Trainer(recipe(), 4, criterion=lambda: next(values)).run(kept, kill)
    values, continued = iter([5.0]), recipe()
    assert Trainer(continued, 4, criterion=lambda: next(values)).run(kept).chosen == 1
    assert same(state(continued.trained), best)


def test_a_label_beyond_the_classes_is_told():
    slices, labels = examples()
    made = SegmentationRecipe(network(), slices, [label * 7 for label in labels])
    with pytest.raises(TrainingError, match="a label is 7; the network has classes 0 to 2"):
        Trainer(made, 1).run()


def test_the_official_start():
    model = initialise(build_source(ft_chns=(8, 16, 32, 64, 128)))
    conv, norm = model.enc.down_path[3].conv_conv[0], model.enc.down_path[4].conv_conv[1]
    assert conv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert conv.bias.abs().max() == 0
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "brats"}, "one of mms, fb, feta"),
        ({"ft_chns": (4, 8, 16)}, "five numbers"),
        ({"ft_chns": (4, 8, 16, 32, 65)}, "double"),
        ({"dimensions": 4}, "2 or 3"),
        ({"dropout_p": (0.1,)}, "two rates"),
        ({"up_mode": "magic"}, "upsample, upconv"),
    ],
)
def test_sizes_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        build_source(**options)


@pytest.mark.parametrize("options", [{"up_mode": "upconv"}, {"dataset": "feta", "trilinear": False}])
def test_other_ways_up(options):
    model = build_source(ft_chns=(4, 8, 16, 32, 64), **options)
    shape = (1, 1, 16, 16, 16) if options.get("dataset") else (1, 1, 16, 16)
    with torch.no_grad():
        assert model(torch.zeros(shape)).shape[2:] == shape[2:]
