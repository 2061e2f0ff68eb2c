"""What every method's machinery shares: a copy of the model, the target images, and what is deployed in the end."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from medeval_models.adaptation.base import Adaptation, AdaptationError, Trained
from medeval_models.adaptation.images import Batch, TargetImages, device_of
from medeval_models.adaptation.parts import logits
from medeval_models.training import Recipe

Options = TypeVar("Options", bound=Adaptation)


class Learner(Recipe, Generic[Options]):
    """One adaptation in progress. Made from options and model alone, so that a saved result can be loaded into it.

    network: everything that changes, copies all; the model itself is never touched.
    """

    epochs: int

    def __init__(self, options: Options, model: nn.Module) -> None:
        self.options = options
        self.device = device_of(model)
        self.epochs = options.epochs if isinstance(options, Trained) else 1
        self.images: TargetImages | None = None
        self.seed = 0

    def begin(self, images: TargetImages, seed: int) -> None:
        """Called once before the first epoch, with the source's weights still in place."""
        self.images, self.seed = images, seed
        self.prepare(images)

    def prepare(self, images: TargetImages) -> None:
        """What a method makes of all images with the source model; made again, the same, at every resume."""

    def batches(self, epoch: int) -> Iterable[Batch]:
        """The images in a new order every epoch."""
        assert self.images is not None
        options = self.options
        if not isinstance(options, Trained):
            return self.images.batches(self.seed, epoch)
        return self.images.batches(self.seed, epoch, options.batch_size, options.slices, options.patch)

    def deployed(self) -> nn.Module:
        """A network of its own, in evaluation mode, that gives logits: what predicts after adaptation."""
        return copy.deepcopy(self.network).eval()


def parameters(network: nn.Module) -> list[nn.Parameter]:
    """What of a network learns, each once. Raises ``AdaptationError`` when there is nothing."""
    found = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not found:
        raise AdaptationError(
            f"nothing of this {type(network).__name__} is left to learn beside its frozen head"
        )
    return found


def entropy_criterion(learner: Learner[Any]) -> float:
    """Mean entropy (nats a voxel) of the deployed network on the target images."""
    model = learner.deployed()
    values = [_entropy(logits(model, image)) for image in _looked_at(learner)]
    return float(sum(values) / len(values))


def agreement_criterion(learner: Learner[Any]) -> float:
    """Share of voxels whose class differs between the image and the image turned by 180 degrees, turned back."""
    model = learner.deployed()
    values = []
    for image in _looked_at(learner):
        turned = torch.rot90(logits(model, torch.rot90(image, 2, (2, 3))), 2, (2, 3))
        values.append((logits(model, image).argmax(1) != turned.argmax(1)).float().mean().item())
    return float(sum(values) / len(values))


def _looked_at(learner: Learner[Any]) -> Iterable[Tensor]:
    assert learner.images is not None
    with torch.no_grad():
        yield from learner.images.whole()


def _entropy(out: Tensor) -> float:
    log = out.log_softmax(1)
    return -(log.exp() * log).sum(1).mean().item()
