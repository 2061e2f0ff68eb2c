"""The machinery of ``upl.py``: target-domain growing for any network, and the two losses."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medeval_models.adaptation.augment import channel_dropout
from medeval_models.adaptation.images import Batch
from medeval_models.adaptation.learner import Learner
from medeval_models.adaptation.parts import (
    adaptable,
    copies_sharing_encoder,
    decoder_of,
    head_of,
    logits,
    use_batch_statistics,
)
from medeval_models.adaptation.upl import UPLSFDA, ViewEnsemble
from medeval_models.upl_sfda.losses import mean_entropy_loss, pseudo_label_loss
from medeval_models.upl_sfda.pseudo_labels import largest_components, pseudo_label, reliable_classes
from medeval_models.upl_sfda.transforms import Spatial, fixed_transforms, random_transforms


class Grown(nn.Module):
    """Networks that share their encoder, each with a head and a view of its own."""

    def __init__(self, branches: nn.ModuleList, views: Sequence[Spatial]) -> None:
        super().__init__()
        self.branches = branches
        self.views = list(views)

    def head_probabilities(self, x: Tensor, views: Sequence[Spatial] | None = None) -> Tensor:
        """(K, N, C, *spatial) softmax of each head under its view, undone."""
        pairs = zip(self.branches, self.views if views is None else views, strict=True)
        return torch.stack([view.undo(logits(branch, view.apply(x)).softmax(1)) for branch, view in pairs])

    def forward(self, x: Tensor) -> Tensor:
        """Logarithm of the mean probability: its softmax is that mean."""
        return self.head_probabilities(x).mean(0).clamp_min(1e-12).log()


class UPLLearner(Learner[UPLSFDA]):
    """Pseudo labels from one pass supervise the next."""

    def __init__(self, options: UPLSFDA, model: nn.Module) -> None:
        super().__init__(options, model)
        first = adaptable(model, "upl-sfda")
        names = decoder_of(first, options.decoder)
        branches = copies_sharing_encoder(first, names, options.heads)
        views = (
            [Spatial()] * options.heads if options.transforms == "none" else fixed_transforms(options.heads)
        )
        self.network = Grown(branches, views).train()
        if options.feature_dropout:
            self._add_dropout(branches)
        self.optimisers = [torch.optim.Adam(self._groups(names), lr=options.lr)]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """L_RPL + lambda L_ment, and the share of voxels with a reliable label, of any class and of foreground."""
        options = self.options
        label = self._pseudo_label(batch) if options.twice_forward else None
        prob = self._predict(batch.images)
        if label is None:
            label = self._labelled(prob.detach(), batch)
        dice, entropy = pseudo_label_loss(prob, label, options.form), mean_entropy_loss(prob)
        total = options.pseudo_weight * dice + options.entropy_weight * entropy
        share = label.mean(dim=(0, *range(2, label.ndim)))
        reliable = {"reliable": share.sum().item(), "reliable_foreground": share[1:].sum().item()}
        return total, {"dice": dice.item(), "entropy": entropy.item(), **reliable}

    def deployed(self) -> nn.Module:
        """The mean of the heads under their fixed views."""
        found = copy.deepcopy(self.network).eval()
        return use_batch_statistics(found) if self.options.statistics == "batch" else found

    @torch.no_grad()
    def _pseudo_label(self, batch: Batch) -> Tensor:
        return self._labelled(self._predict(batch.images), batch)

    def _labelled(self, head_prob: Tensor, batch: Batch) -> Tensor:
        mean = head_prob.mean(0)
        threshold = self.options.threshold
        label = pseudo_label(mean) if threshold == 0 else reliable_classes(mean, threshold)
        return largest_components(label, batch.lengths) if self.options.largest_component else label

    def _predict(self, x: Tensor) -> Tensor:
        random = self.options.transforms == "random"
        return self.network.head_probabilities(x, random_transforms(self.options.heads) if random else None)

    def _groups(self, decoder: list[str]) -> list[dict[str, object]]:
        """Encoder and heads, each with its betas."""
        own = {
            id(p)
            for branch in self.network.branches
            for name in decoder
            for p in branch.get_submodule(name).parameters()
        }
        every = list(self.network.parameters())
        groups = [
            {"params": [p for p in every if id(p) not in own], "betas": self.options.betas},
            {"params": [p for p in every if id(p) in own], "betas": self.options.betas_heads},
        ]
        return [group for group in groups if group["params"]]

    def _add_dropout(self, branches: nn.ModuleList) -> None:
        rate = self.options.feature_dropout
        for branch in branches:
            _, head = head_of(branch, self.options.head)
            head.register_forward_pre_hook(_DropInTraining(rate))


class EnsembleLearner(Learner[ViewEnsemble]):
    """The source in all branches."""

    def __init__(self, options: ViewEnsemble, model: nn.Module) -> None:
        super().__init__(options, model)
        inner = adaptable(model, "view-ensemble")
        self.network = Grown(nn.ModuleList([inner] * options.heads), fixed_transforms(options.heads))
        self.epochs = 0

    def loss(self, batch: Batch) -> tuple[None, dict[str, float]]:
        """Nothing to minimise."""
        return None, {}

    def deployed(self) -> nn.Module:
        """Running or batch statistics."""
        found = copy.deepcopy(self.network).eval()
        return use_batch_statistics(found) if self.options.statistics == "batch" else found


class _DropInTraining:
    """A forward pre-hook that survives copying: channels of the features are dropped while the head is in training mode."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """The features with channels dropped."""
        return (channel_dropout(inputs[0], self.rate), *inputs[1:]) if module.training else None
