"""All padding of a window as one key gives what the straightforward way gives."""

import pytest

torch = pytest.importorskip("torch")

from medeval_models.sam_med3d import attention, build  # noqa: E402
from medeval_models.sam_med3d.attention import Attention  # noqa: E402
from medeval_models.sam_med3d.image_encoder import attend_in_windows  # noqa: E402
from tests.parity.sam_med3d.straightforward import (  # noqa: E402
    Straightforward,
    StraightforwardEncoder,
    padded_windows,
)


def randomised(module, scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def off(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("window", [2, 3, 5, 6, 7])
@pytest.mark.parametrize("grid", [(4, 4, 4), (6, 6, 6), (5, 5, 5), (3, 5, 4)])
@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0])
@torch.inference_mode()
def test_attention_in_windows_of_any_size_on_any_grid(grid, window, scale):
    layer = randomised(Attention(24, 3, window), scale).double()
    x = torch.randn(2, *grid, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert (
        off(attend_in_windows(layer, x, window), padded_windows(Straightforward(layer), x, window)) <= 1e-12
    )


@torch.inference_mode()
def test_scores_computed_plane_by_plane_are_the_same(monkeypatch):
    layer = randomised(Attention(24, 3, 5), 0.5)
    x = torch.randn(2, 4, 4, 4, 24)
    whole = layer(x)
    monkeypatch.setattr(attention, "_SCORES_AT_ONCE", 1)
    torch.testing.assert_close(layer(x), whole)


def test_gradients_are_the_same():
    layer = randomised(Attention(24, 3, 5), 0.5).double()
    x = torch.randn(1, 4, 4, 4, 24, dtype=torch.float64)
    pairs = []
    for out in (attend_in_windows(layer, x, 5), padded_windows(Straightforward(layer), x, 5)):
        layer.zero_grad()
        out.square().sum().backward()
        pairs.append({name: p.grad.clone() for name, p in layer.named_parameters()})
    for name, ours in pairs[0].items():
        assert off(ours, pairs[1][name]) <= 1e-10, name


@pytest.mark.parametrize(
    "sizes",
    [
        {"image_size": 64, "patch_size": 8, "window_size": 14},  # the released model's grid and window
        {"image_size": 64, "patch_size": 8, "window_size": 5},
        {"image_size": 96, "patch_size": 8, "window_size": 7},
    ],
    ids=["8-14", "8-5", "12-7"],
)
@torch.inference_mode()
def test_the_whole_encoder(sizes):
    small = {"embed_dim": 24, "depth": 3, "num_heads": 2, "global_attn_indexes": (1,), "prompt_embed_dim": 48}
    encoder = randomised(build(**small, **sizes).image_encoder, 0.2)
    x = torch.randn(1, 1, *[sizes["image_size"]] * 3, generator=torch.Generator().manual_seed(2))
    assert off(encoder(x), StraightforwardEncoder(encoder)(x)) <= 1e-5
