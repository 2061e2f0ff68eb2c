"""The machinery of ``simple.py``."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from medeval_models.adaptation.base import AdaptationError
from medeval_models.adaptation.images import Batch
from medeval_models.adaptation.learner import Learner, parameters
from medeval_models.adaptation.parts import adaptable, batch_norms, logits, use_batch_statistics
from medeval_models.adaptation.simple import PTBN, SourceOnly, TargetSupervised
from medeval_models.upl_sfda.losses import batch_dice_loss


class NothingLearner(Learner[SourceOnly]):
    """Does nothing."""

    def __init__(self, options: SourceOnly, model: nn.Module) -> None:
        super().__init__(options, model)
        self.network = copy.deepcopy(model)
        self.epochs = 0

    def loss(self, batch: Batch) -> tuple[None, dict[str, float]]:
        """Nothing to minimise."""
        return None, {}


class PTBNLearner(Learner[PTBN]):
    """Batch norm layers in training mode, all else in evaluation mode."""

    def __init__(self, options: PTBN, model: nn.Module) -> None:
        super().__init__(options, model)
        self.network = adaptable(model, "ptbn")
        layers = batch_norms(self.network, "ptbn")
        self.network.eval()
        for layer in layers:
            layer.train()
            if options.statistics == "target":
                layer.reset_running_stats()
                layer.momentum = None  # the plain average over all batches

    @torch.no_grad()
    def loss(self, batch: Batch) -> tuple[None, dict[str, float]]:
        """A forward pass; nothing is minimised."""
        logits(self.network, batch.images)
        return None, {}

    def deployed(self) -> nn.Module:
        """By the image's own statistics, or by those that were averaged."""
        found = copy.deepcopy(self.network).eval()
        return use_batch_statistics(found) if self.options.statistics == "batch" else found


class SupervisedLearner(Learner[TargetSupervised]):
    """Soft Dice plus cross-entropy."""

    def __init__(self, options: TargetSupervised, model: nn.Module) -> None:
        super().__init__(options, model)
        self.network = adaptable(model, "target-supervised").train()
        self.optimisers = [torch.optim.Adam(parameters(self.network), lr=options.lr)]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Both losses, and their sum."""
        out = logits(self.network, batch.images)
        assert batch.labels is not None
        if int(batch.labels.max()) >= out.shape[1]:
            raise AdaptationError(
                f"a label is {int(batch.labels.max())}; the model has classes 0 to {out.shape[1] - 1}"
            )
        target = functional.one_hot(batch.labels, out.shape[1]).movedim(-1, 1).to(out.dtype)
        dice, entropy = batch_dice_loss(out.softmax(1), target), functional.cross_entropy(out, batch.labels)
        return dice + entropy, {"dice": dice.item(), "cross_entropy": entropy.item()}
