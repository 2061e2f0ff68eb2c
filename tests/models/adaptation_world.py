"""A small network and images of another look, for tests of adaptation."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


def network(dropout: float = 0.2, norm: bool = True, seed: int = 0) -> nn.Module:
    """A source U-Net of three classes, 4 to 64 channels, with weights that say something."""
    from medeval_models.upl_sfda import build_source

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_source(ft_chns=(4, 8, 16, 32, 64), n_classes=3, dropout_p=(0.0, dropout))
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.uniform_(0.7, 1.3)
                    module.running_mean.normal_(0, 0.1)
            model.aux_dec1.last.weight.mul_(8)
    return model if norm else without_batch_norm(model)


def without_batch_norm(model: nn.Module) -> nn.Module:
    """Instance norm without scale and shift in the place of batch norm."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.InstanceNorm2d(child.num_features))
    return model


def images(count: int = 3, slices: int = 4, size: int = 32, seed: int = 1) -> list[Tensor]:
    """Bright disks on noise, (slices, 1, size, size) each."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    found = []
    for _ in range(count):
        centre = torch.randint(size // 4, 3 * size // 4, (slices, 2), generator=generator)
        distance = (rows - centre[:, 0, None, None]) ** 2 + (columns - centre[:, 1, None, None]) ** 2
        disk = (distance <= (size // 5) ** 2).float()
        noise = 0.1 * torch.randn(slices, size, size, generator=generator)
        found.append((disk + noise)[:, None])
    return found


def methods() -> dict[str, Any]:
    """Every method with options small enough for a test; those that need no labels."""
    from medeval_models import adaptation as a

    return {
        "source-only": a.SourceOnly(),
        "view-ensemble": a.ViewEnsemble(),
        "ptbn": a.PTBN(),
        "adabn": a.PTBN(statistics="target"),
        "tent": a.Tent(epochs=2),
        "sar": a.SAR(epochs=2, lr=1e-2, margin=1.0, reset_below=0.0),
        "adami": a.AdaMI(prior=(0.8, 0.1, 0.1), epochs=2, lr=1e-4),
        "mean-teacher": a.MeanTeacher(epochs=2),
        "cotta": a.CoTTA(epochs=2, augmentations=2),
        "shot": a.SHOT(epochs=2),
        "urma": a.URMA(epochs=4, lr=1e-3),
        "dpl": a.DPL(epochs=2, most_uncertain=0.5),
        "upl-sfda": a.UPLSFDA(epochs=2, lr=1e-3, threshold=0.4, slices=3),
    }


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of parameters and buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Equal names and equal bits."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def batch_of(model, target):
    """All target images as one batch."""
    from medeval_models.adaptation.images import TargetImages

    return TargetImages(target, model).together()


def stepped(method, model, target, seed=0):
    """The learner after one step on all images at once, from the seed that the trainer gives step 0."""
    from medeval_models.adaptation.images import TargetImages
    from medeval_models.training import Trainer

    learner = method.learner(model)

    trainer = Trainer(learner, 1, seed)
    learner.begin(TargetImages(target, model), seed)
    learner.start_epoch(0)
    trainer.step(batch_of(model, target), 0, 0)
    return learner


def batch_norm_names(model):
    """Names of the batch norm layers."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]


def on_batch_statistics(model):
    """The model in training mode without dropout: what dropping the running statistics does in evaluation mode."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def close(first, second, atol=1e-6):
    """Equal but for rounding."""
    torch.testing.assert_close(first, second, atol=atol, rtol=1e-5)


def assert_same_step(found, wanted, before):
    """Equal parameters. A bias before batch norm has no gradient but rounding, which Adam makes a whole step of."""
    for name, value in found.named_parameters():
        if name.endswith(("conv_conv.0.bias", "conv_conv.4.bias")):
            continue
        close(value, wanted.get_parameter(name), 5e-5)
    assert any(not torch.equal(v, before.get_parameter(n)) for n, v in found.named_parameters())
