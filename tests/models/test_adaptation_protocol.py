"""What holds for every method: the source untouched, determinism, resume, save and load, bad input."""

from functools import cache

import pytest

torch = pytest.importorskip("torch")

from medeval_models import adaptation as a  # noqa: E402
from medeval_models.training import FileCheckpoint, TrainingError  # noqa: E402
from tests.models.adaptation_world import images, methods, network, same, state  # noqa: E402

NAMES = list(methods())
LEARNING = [name for name in NAMES if name not in ("source-only", "view-ensemble", "ptbn", "adabn")]


@cache
def whole(name):
    """The weights of an adaptation that nothing interrupts: made once, compared often."""
    return state(methods()[name].fit(network(), images(), seed=1))


class Killed(BaseException):
    """Stands for a kill between two steps."""


@pytest.mark.parametrize("name", NAMES)
def test_the_source_model_and_the_global_generator_stay_as_they_were(name):
    model, target = network(), images()
    before, drawn = state(model), torch.get_rng_state()
    training = model.training
    adapted = methods()[name].fit(model, target, seed=3)
    assert same(state(model), before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert model.training == training
    memory = [{t.data_ptr() for t in net.state_dict().values()} for net in (adapted, model)]
    assert not memory[0] & memory[1]
    out = adapted(target[0])
    assert out.shape == (4, 3, 32, 32)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", LEARNING)
def test_a_seed_decides_the_weights(name):
    method, model, target = methods()[name], network(), images()
    torch.manual_seed(99)
    assert same(state(method.fit(model, target, seed=1)), whole(name))
    assert not same(state(method.fit(model, target, seed=2)), whole(name)) or name == "tent"


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("at", [2, 4, 5])
def test_an_interrupted_adaptation_continues_to_the_same_weights(name, at, tmp_path):
    method, model, target = methods()[name], network(), images()

    def kill(progress):
        if progress.step == at:
            raise Killed

    path = tmp_path / "last.safetensors"
    with pytest.raises(Killed):
        method.fit(model, target, seed=1, checkpoint=path, progress=kill)
    assert path.exists() == (at > 3 and name != "urma")
    steps = []
    found = method.fit(model, target, seed=1, checkpoint=path, progress=lambda p: steps.append(p.step))
    assert same(state(found), whole(name))
    assert found.adaptation.steps == steps[-1]
    assert steps[0] == (4 if at > 3 and name != "urma" else 1)


def test_urma_continues_after_a_round(tmp_path):
    method, model, target = methods()["urma"], network(), images()

    def kill(progress):
        if progress.step == 8:
            raise Killed

    with pytest.raises(Killed):
        method.fit(model, target, seed=1, checkpoint=tmp_path / "c", progress=kill)
    steps = []
    found = method.fit(
        model, target, seed=1, checkpoint=tmp_path / "c", progress=lambda p: steps.append(p.step)
    )
    assert steps[0] == 7
    assert same(state(found), whole("urma"))


def test_a_finished_checkpoint_is_not_trained_again(tmp_path):
    method, model, target = methods()["tent"], network(), images()
    first = state(method.fit(model, target, checkpoint=tmp_path / "c"))
    steps = []
    assert same(state(method.fit(model, target, checkpoint=tmp_path / "c", progress=steps.append)), first)
    assert not steps


@pytest.mark.parametrize("change", ["option", "seed", "weights", "count"])
def test_a_checkpoint_of_another_adaptation_is_refused(change, tmp_path):
    target = images()
    a.Tent().fit(network(), target, checkpoint=tmp_path / "c")
    method = a.Tent(lr=1e-2) if change == "option" else a.Tent()
    model = network(seed=5) if change == "weights" else network()
    with pytest.raises(TrainingError, match="belongs to another training"):
        method.fit(
            model,
            target[:2] if change == "count" else target,
            seed=int(change == "seed"),
            checkpoint=tmp_path / "c",
        )


def test_half_a_checkpoint_is_told(tmp_path):
    path = tmp_path / "c"
    a.Tent().fit(network(), images(), checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="no whole checkpoint"):
        a.Tent().fit(network(), images(), checkpoint=path)


def test_a_checkpoint_holds_no_pickle(tmp_path):
    from safetensors import safe_open

    a.UPLSFDA(epochs=1).fit(network(), images(), checkpoint=tmp_path / "c")
    with safe_open(tmp_path / "c", "pt") as file:
        assert any(name.startswith("optimiser/0/") for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("name", NAMES)
def test_what_was_saved_loads_into_the_source_model(name, tmp_path):
    method, model, target = methods()[name], network(), images()
    adapted = method.fit(model, target)
    method.save(adapted, tmp_path / "a.safetensors")
    loaded = method.load(model, tmp_path / "a.safetensors")
    assert same(state(loaded), state(adapted))
    assert loaded.adaptation == adapted.adaptation
    assert torch.equal(loaded(target[0]), adapted(target[0]))


def test_predicting_changes_nothing():
    for name, method in methods().items():
        adapted = method.fit(network(), images())
        before = state(adapted)
        first = adapted(images()[0])
        assert torch.equal(adapted(images()[0]), first), name
        assert same(state(adapted), before), name


@pytest.mark.parametrize("name", NAMES)
def test_one_target_image_and_a_constant_one(name):
    target = [images(1)[0], torch.zeros(3, 1, 32, 32)]
    for given in (target[:1], target[1:]):
        adapted = methods()[name].fit(network(), given)
        assert all(torch.isfinite(t).all() for t in adapted.state_dict().values())
        assert torch.isfinite(adapted(given[0])).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: torch.where(x > 0.9, torch.nan, x), "target image 1 holds NaN"),
        (
            lambda x: x.repeat(1, 3, 1, 1),
            "target image 1 has 3 channels; the model's first convolution takes 1",
        ),
        (lambda x: x[0], "target image 1 has shape"),
        (lambda x: x[:0], "no voxels"),
        (lambda x: x.numpy(), "a tensor"),
    ],
)
@pytest.mark.parametrize("name", ["ptbn", "tent", "shot", "upl-sfda"])
def test_images_that_do_not_fit_are_named(name, change, message):
    target = images()
    target[1] = change(target[1])
    with pytest.raises(a.AdaptationError, match=message):
        methods()[name].fit(network(), target)


def test_no_images_at_all():
    with pytest.raises(a.AdaptationError, match="no target images"):
        a.Tent().fit(network(), [])


@pytest.mark.parametrize("name", ["ptbn", "adabn", "tent"])
def test_a_model_without_batch_norm_is_refused_by_what_needs_it(name):
    with pytest.raises(a.AdaptationError, match="has none \\(it has InstanceNorm2d\\)"):
        methods()[name].fit(network(norm=False), images())


def test_sar_needs_scale_and_shift():
    with pytest.raises(a.AdaptationError, match="scale and shift of normalisation"):
        a.SAR().fit(network(norm=False), images())


@pytest.mark.parametrize("name", ["mean-teacher", "cotta", "shot", "upl-sfda"])
def test_other_methods_take_a_model_without_batch_norm(name):
    assert torch.isfinite(methods()[name].fit(network(norm=False), images())(images()[0])).all()


def test_dpl_needs_dropout():
    with pytest.raises(a.AdaptationError, match="dropout"):
        a.DPL().fit(network(dropout=0), images())


@pytest.fixture(scope="module")
def script():
    """A TorchScript program of the network."""
    return torch.jit.trace(network(dropout=0).eval(), images()[0])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "source-only"])
def test_torchscript_is_refused(name, script):
    with pytest.raises(a.AdaptationError, match="TorchScript"):
        methods()[name].fit(script, images())


def test_one_value_a_channel_is_told():
    with pytest.raises(a.AdaptationError, match="one value a channel"):
        a.PTBN().fit(network(), [torch.randn(1, 1, 16, 16)])


def test_images_of_several_sizes_in_one_batch_are_told():
    target = [*images(1), *images(1, size=48)]
    with pytest.raises(a.AdaptationError, match="give batch_size: 1"):
        a.Tent(batch_size=2).fit(network(), target)
    assert a.Tent(batch_size=2, patch=(32, 32)).fit(network(), target).adaptation.steps == 1


@pytest.mark.parametrize("name", ["tent", "mean-teacher", "upl-sfda"])
def test_a_loss_that_explodes_keeps_the_last_good_weights_and_says_so(name):
    import dataclasses

    method = dataclasses.replace(methods()[name], lr=1e30, epochs=4)
    adapted = method.fit(network(), images())
    assert "not finite" in adapted.adaptation.stopped
    assert "last good weights are kept" in adapted.adaptation.stopped
    assert all(torch.isfinite(t).all() for t in adapted.state_dict().values())
    assert torch.isfinite(adapted(images()[0])).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: a.Tent(lr=0), "lr 0: must be above 0"),
        (lambda: a.Tent(epochs=0), "epochs 0: must be at least 1"),
        (lambda: a.Tent(slices=0), "slices"),
        (lambda: a.Tent(patch=(8,)), "patch"),
        (lambda: a.AdaMI(prior=(0.5, 0.6)), "of sum 1"),
        (lambda: a.CoTTA(restore=2), "restore 2"),
        (lambda: a.UPLSFDA(heads=0), "heads 0"),
        (lambda: a.UPLSFDA(pseudo_weight=0, entropy_weight=0), "nothing would be learnt"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(a.AdaptationError, match=message):
        make()


def test_a_prior_of_other_classes_is_told():
    with pytest.raises(a.AdaptationError, match="a prior of 2 classes for a model of 3"):
        a.AdaMI(prior=(0.5, 0.5)).fit(network(), images())


def test_what_needs_more_than_images_says_so():
    assert "prior" in a.AdaMI.side_information
    assert "labels" in a.TargetSupervised.side_information
    assert a.TargetSupervised.uses_labels
    others = [m for m in methods().values() if not isinstance(m, a.AdaMI)]
    assert not any(m.side_information or m.uses_labels for m in others)


def test_the_ceiling_needs_labels():
    with pytest.raises(a.AdaptationError, match="none were given"):
        a.TargetSupervised().fit(network(), images())
    labels = [(image[:, 0] > 0.5).long() for image in images()]
    fitted = a.TargetSupervised(epochs=3, lr=1e-2).fit(network(), images(), labels=labels)
    history = fitted.adaptation.history
    assert history[-1]["cross_entropy"] < history[0]["cross_entropy"]


def test_labels_reach_no_other_method():
    class Trap(list):
        def __getitem__(self, number):
            raise AssertionError("a label was read")

    a.UPLSFDA(epochs=1).fit(network(), images(), labels=Trap([1, 2, 3]))


@pytest.mark.parametrize("select", ["entropy", "agreement"])
def test_an_unsupervised_criterion_chooses_the_epoch(select, tmp_path):
    adapted = a.UPLSFDA(epochs=3, lr=1e-3, threshold=0.4, select=select).fit(network(), images())
    values = [epoch["criterion"] for epoch in adapted.adaptation.history]
    assert adapted.adaptation.chosen == values.index(min(values))


@pytest.mark.parametrize(
    "name", ["source-only", "ptbn", "tent", "sar", "adami", "mean-teacher", "cotta", "upl-sfda"]
)
def test_adaptation_at_test_time_goes_on_and_resets(name):
    model, target = network(), images()
    online = methods()[name].start(model, seed=2)
    first = state(online.module)
    online.adapt([target[0]], steps=2)
    moved = state(online.module)
    assert online.outcome.steps == 2
    online.reset()
    assert same(state(online.module), first)
    online.adapt([target[0]], steps=2)
    assert same(state(online.module), moved)


@pytest.mark.parametrize("name", ["shot", "urma", "dpl"])
def test_methods_of_whole_target_sets_refuse_batches(name):
    with pytest.raises(a.AdaptationError, match="whole target set"):
        methods()[name].start(network())


def test_importing_the_methods_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, medeval_models.adaptation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_checkpoint_reads_what_it_wrote(tmp_path):
    kept = FileCheckpoint(tmp_path / "deep" / "c")
    assert kept.read() is None
    kept.write(b"one")
    kept.write(b"two")
    assert kept.read() == b"two"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["c"]
