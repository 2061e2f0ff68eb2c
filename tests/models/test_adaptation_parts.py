"""Parts of other networks: decoder, head and encoder found by name or given; three dimensions; moving averages."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from medeval_models import adaptation as a  # noqa: E402
from medeval_models.adaptation.parts import copies_sharing_encoder, decoder_of, head_of  # noqa: E402
from medeval_models.training import ema_update  # noqa: E402
from tests.models.adaptation_world import close, images, network, state  # noqa: E402


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
