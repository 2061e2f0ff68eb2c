"""The machinery of ``entropy.py``."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from medeval_models.adaptation.base import AdaptationError
from medeval_models.adaptation.entropy import SAR, AdaMI, Tent
from medeval_models.adaptation.images import Batch, TargetImages
from medeval_models.adaptation.learner import Learner, parameters
from medeval_models.adaptation.losses import (
    class_ratios,
    ratio_divergence,
    voxel_entropy,
    weighted_entropy,
)
from medeval_models.adaptation.parts import adaptable, batch_norms, dropouts, logits, use_batch_statistics
from medeval_models.training_state import restore, snapshot
from medeval_models.upl_sfda.losses import normalised_entropy

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


class TentLearner(Learner[Tent]):
    """Entropy, Adam."""

    def __init__(self, options: Tent, model: nn.Module) -> None:
        super().__init__(options, model)
        self.network = adaptable(model, "tent")
        layers = batch_norms(self.network, "tent" if options.weights == "affine" else "")
        use_batch_statistics(self.network).eval()
        for layer in dropouts(self.network):
            layer.train(options.dropout)
        if options.weights == "affine":
            _only_affine(self.network, layers, "tent")
        self.optimisers = [
            torch.optim.Adam(
                parameters(self.network),
                lr=options.lr,
                betas=options.betas,
                weight_decay=options.weight_decay,
            )
        ]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Entropy, 1 for a uniform prediction."""
        entropy = normalised_entropy(logits(self.network, batch.images).softmax(1))
        return entropy, {"entropy": entropy.item()}


class SARLearner(Learner[SAR]):
    """A climb of length rho along the gradient, the gradient there, back, and a step by it."""

    def __init__(self, options: SAR, model: nn.Module) -> None:
        super().__init__(options, model)
        inner = adaptable(model, "sar")
        use_batch_statistics(inner).eval()
        layers = [module for module in inner.modules() if isinstance(module, NORMS)]
        _only_affine(inner, layers, "sar")
        self.network = nn.ModuleDict({"model": inner})
        self.network.register_buffer("average", torch.tensor(math.nan, device=self.device))
        self._source = snapshot(self.network)
        self.optimisers = [torch.optim.SGD(parameters(inner), lr=options.lr, momentum=options.momentum)]

    def deployed(self) -> nn.Module:
        """The network without the loss's average."""
        return copy.deepcopy(self.network["model"]).eval()

    def step(self, batch: Batch, update: Callable[[Tensor], bool]) -> dict[str, float]:
        """The two passes; nothing is done where no voxel is reliable."""
        with self.autocast():
            entropy, limit = self._entropy(batch)
        reliable = entropy < limit
        terms = {"entropy": entropy.mean().item(), "reliable": reliable.float().mean().item()}
        if not reliable.any():
            return terms
        weights = parameters(self.network)
        climbed = self._climb(weights, entropy[reliable].mean())
        with self.autocast():
            above, _ = self._entropy(batch)
            still = reliable & (above.detach() < limit)
            loss = above[still].mean() if still.any() else above.sum() * 0
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, step in zip(weights, climbed, strict=True):
                weight.sub_(step)
        if still.any() and update(_carrying(weights, gradients, loss)):
            self._recover(loss.detach())
        return terms

    def _entropy(self, batch: Batch) -> tuple[Tensor, float]:
        out = logits(self.network["model"], batch.images)
        return voxel_entropy(out), self.options.margin * math.log(out.shape[1])

    def _climb(self, weights: list[nn.Parameter], loss: Tensor) -> list[Tensor]:
        """Adds rho * g / |g| to the weights; returns what was added."""
        gradients = torch.autograd.grad(loss, weights)
        scale = self.options.rho / (
            torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients])) + 1e-12
        )
        steps = [gradient * scale for gradient in gradients]
        with torch.no_grad():
            for weight, step in zip(weights, steps, strict=True):
                weight.add_(step)
        return steps

    @torch.no_grad()
    def _recover(self, loss: Tensor) -> None:
        average = self.network.get_buffer("average")
        average.copy_(loss if average.isnan() else 0.9 * average + 0.1 * loss)
        if average < self.options.reset_below:
            restore(self.network, self._source)
            self.optimisers[0].state.clear()


class AdaMILearner(Learner[AdaMI]):
    """Weighted entropy and class ratios, Adam."""

    def __init__(self, options: AdaMI, model: nn.Module) -> None:
        super().__init__(options, model)
        self.network = adaptable(model, "adami").train()
        self._prior = torch.tensor(options.prior, device=self.device)
        self._priors = None if options.priors is None else torch.tensor(options.priors, device=self.device)
        weights = options.class_weights or [1 - share for share in options.prior]
        self._weights = torch.tensor(weights, device=self.device)
        if options.class_weights is None:
            self._weights /= self._weights.sum()
        self.optimisers = [
            torch.optim.Adam(parameters(self.network), lr=options.lr, weight_decay=options.weight_decay)
        ]

    def prepare(self, images: TargetImages) -> None:
        """Raises ``AdaptationError`` unless each image has its prior, where there are any."""
        if self._priors is not None and len(self._priors) != len(images):
            raise AdaptationError(f"{len(self._priors)} priors for {len(images)} target images")

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Entropy plus divergence."""
        prob = logits(self.network, batch.images).softmax(1)
        if prob.shape[1] != len(self._prior):
            raise AdaptationError(f"a prior of {len(self._prior)} classes for a model of {prob.shape[1]}")
        entropy = weighted_entropy(prob, self._weights)
        ratio = ratio_divergence(class_ratios(prob, self.options.power), self._of(batch))
        terms = {"entropy": entropy.item(), "ratio": ratio.item()}
        return entropy + self.options.ratio_weight * ratio, terms

    def _of(self, batch: Batch) -> Tensor:
        """(C,) the prior of all, or (N, C) that of each; at test time, where no image has a number, the prior of all."""
        if self._priors is None or self.images is None:
            return self._prior
        numbers = [number for number, _ in batch.items]
        lengths = torch.tensor(batch.lengths, device=self.device)
        return self._priors[numbers].repeat_interleave(lengths, dim=0)


def _only_affine(network: nn.Module, layers: list[nn.Module], method: str) -> None:
    """Nothing learns but the layers' scale and shift. Raises ``AdaptationError`` where they have none."""
    network.requires_grad_(False)
    affine = [p for layer in layers for p in layer.parameters(recurse=False)]
    if not affine:
        kind = "batch norm" if method == "tent" else "normalisation"
        raise AdaptationError(
            f"{method} learns the scale and shift of {kind} layers, and this {type(network).__name__} has none"
        )
    for parameter in affine:
        parameter.requires_grad_(True)


def _carrying(weights: list[nn.Parameter], gradients: tuple[Tensor, ...], value: Tensor) -> Tensor:
    """A scalar of this value whose gradient at the weights is exactly the given one."""
    products = [(w * g).sum() for w, g in zip(weights, gradients, strict=True)]
    carrier = torch.stack(products).sum()
    return carrier - carrier.detach() + value.detach()
