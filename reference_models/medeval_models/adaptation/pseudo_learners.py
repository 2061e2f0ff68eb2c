"""The machinery of ``pseudo.py``."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from medeval_models.adaptation.augment import channel_dropout, weakly_augmented
from medeval_models.adaptation.base import AdaptationError
from medeval_models.adaptation.images import Batch, TargetImages
from medeval_models.adaptation.learner import Learner, parameters
from medeval_models.adaptation.losses import (
    Centroids,
    balanced_pseudo_label,
    balanced_thresholds,
    denoised_pseudo_label,
    information_maximisation,
    masked_bce,
    one_vs_rest,
    shot_centroids,
    uncertainty,
)
from medeval_models.adaptation.parts import adaptable, dropouts, features_and_logits, head_of, logits
from medeval_models.adaptation.pseudo import DPL, SHOT, URMA
from medeval_models.training import seeded
from medeval_models.upl_sfda.losses import normalised_entropy

IGNORE = 255


class SHOTLearner(Learner[SHOT]):
    """Labels are made at the start of every epoch with the network as it then is."""

    def __init__(self, options: SHOT, model: nn.Module) -> None:
        super().__init__(options, model)
        self.network = adaptable(model, "shot").train()
        _, self._head = head_of(self.network, options.head)
        self._head.requires_grad_(False)
        self.optimisers = [
            torch.optim.SGD(
                parameters(self.network), lr=options.lr, momentum=options.momentum, nesterov=options.momentum > 0,
                weight_decay=options.weight_decay,
            )
        ]  # fmt: skip

    def factor(self, done: float) -> float:
        """The official decay."""
        return (1 + 10 * done) ** -0.75

    @torch.no_grad()
    def start_epoch(self, epoch: int) -> None:
        """Class centres of a sample of all images' voxels, then every voxel's label."""
        assert self.images is not None
        self.network.eval()
        samples = [self._sample(*self._seen(image)) for image in self.images.whole()]
        features, probabilities = (torch.cat(parts) for parts in zip(*samples, strict=True))
        centroids = shot_centroids(features, probabilities)
        self._labels = [self._labelled(image, centroids) for image in self.images.whole()]
        self.network.train()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Entropy less diversity, plus cross-entropy."""
        out = logits(self.network, batch.images)
        entropy, diversity = information_maximisation(out.softmax(1))
        pseudo = functional.cross_entropy(out, batch.of(self._labels).long())
        terms = {"entropy": entropy.item(), "diversity": diversity.item(), "pseudo": pseudo.item()}
        return entropy - diversity + self.options.pseudo_weight * pseudo, terms

    def _seen(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features, out = features_and_logits(self.network, self._head, image)
        return features.movedim(1, -1), out.softmax(1).movedim(1, -1)

    def _sample(self, features: Tensor, prob: Tensor) -> tuple[Tensor, Tensor]:
        flat, chances = features.flatten(0, -2), prob.flatten(0, -2)
        if len(flat) > self.options.voxels:
            taken = torch.randperm(len(flat))[: self.options.voxels].sort().values.to(flat.device)
            flat, chances = flat[taken], chances[taken]
        return flat, chances

    def _labelled(self, image: Tensor, centroids: Centroids) -> Tensor:
        features, _ = self._seen(image)
        return centroids.label(features.flatten(0, -2)).reshape(features.shape[:-1]).to(torch.uint8).cpu()


class URMALearner(Learner[URMA]):
    """The main network and its auxiliary heads."""

    def __init__(self, options: URMA, model: nn.Module) -> None:
        super().__init__(options, model)
        main = adaptable(model, "urma").train()
        _, self._head = head_of(main, options.head)
        aux = nn.ModuleList(copy.deepcopy(self._head) for _ in range(options.heads))
        self._head.requires_grad_(False)
        self.network = nn.ModuleDict({"main": main, "aux": aux})
        groups = [{"params": parameters(main)}, {"params": parameters(aux), "lr": 10 * options.lr}]
        self.optimisers = [
            torch.optim.SGD(
                groups, lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay
            )
        ]

    @torch.no_grad()
    def start_epoch(self, epoch: int) -> None:
        """At the beginning of a round: thresholds over all images, then labels."""
        if epoch % self.options.epochs_per_round:
            return
        assert self.images is not None
        options = self.options
        portion = options.portion + options.portion_step * (epoch // options.epochs_per_round)
        main = self.network["main"].eval()
        sure: list[list[Tensor]] = []
        for image in self.images.whole():
            best, label = logits(main, image).softmax(1).max(1)
            count = logits(main, image[:1]).shape[1] if not sure else len(sure)
            sure = sure or [[] for _ in range(count)]
            for c, values in enumerate(sure):
                values.append(best[label == c].cpu())
        confidences = [torch.cat(values) for values in sure]
        limits = balanced_thresholds(confidences, min(portion, options.portion_max)).to(self.device)
        self._labels = [
            balanced_pseudo_label(logits(main, image).softmax(1), limits, IGNORE).to(torch.uint8).cpu()
            for image in self.images.whole()
        ]
        main.train()

    def resumable_after(self, epoch: int) -> bool:
        """The labels belong to the weights at the start of the round."""
        return (epoch + 1) % self.options.epochs_per_round == 0 or epoch + 1 == self.epochs

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy, entropy, and disagreement of the heads."""
        options = self.options
        features, out = features_and_logits(self.network["main"], self._head, batch.images)
        aux = torch.stack([head(channel_dropout(features, options.dropout)) for head in self.network["aux"]])
        if aux.shape[2] == 1:
            aux = torch.cat([torch.zeros_like(aux), aux], dim=2)
        pseudo, entropy = (
            _cross_entropy(out, batch.of(self._labels).long()),
            normalised_entropy(out.softmax(1)),
        )
        spread = uncertainty(aux.float(), out)
        total = (
            options.pseudo_weight * pseudo
            + options.entropy_weight * entropy
            + options.uncertainty_weight * spread
        )
        return total, {"pseudo": pseudo.item(), "entropy": entropy.item(), "uncertainty": spread.item()}

    def deployed(self) -> nn.Module:
        """The main network."""
        return copy.deepcopy(self.network["main"]).eval()


class DPLLearner(Learner[DPL]):
    """Labels are made once, with the source model in training mode, as the official code does."""

    def __init__(self, options: DPL, model: nn.Module) -> None:
        super().__init__(options, model)
        self.network = adaptable(model, "dpl").train()
        if not dropouts(self.network):
            raise AdaptationError(
                f"dpl measures uncertainty by the model's dropout, and this {type(model).__name__} has none (or rate 0)"
            )
        _, self._head = head_of(self.network, options.head)
        self.optimisers = [torch.optim.Adam(parameters(self.network), lr=options.lr, betas=options.betas)]

    @torch.no_grad()
    def prepare(self, images: TargetImages) -> None:
        """Pseudo labels and masks of every image, by the source model; its running statistics stay as they were."""
        source = copy.deepcopy(self.network)
        _, head = head_of(source, self.options.head)
        self._labels, self._masks = [], []
        with seeded(self.device, self.seed, "pseudo labels"):
            for image in images.whole():
                passes = [features_and_logits(source, head, image) for _ in range(self.options.passes)]
                features = torch.stack([features for features, _ in passes]).mean(0)
                stacked = torch.stack([one_vs_rest(out) for _, out in passes])
                found = denoised_pseudo_label(
                    stacked, features, self.options.threshold, self.options.most_uncertain
                )
                self._labels.append(found.label.movedim(1, -1).to(torch.uint8).cpu())
                self._masks.append(found.mask.movedim(1, -1).to(torch.uint8).cpu())

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Masked cross-entropy of every class against the rest."""
        label, mask = (batch.of(maps).movedim(-1, 1).float() for maps in (self._labels, self._masks))
        out = logits(self.network, weakly_augmented(batch.images, self.options.strength))
        loss = masked_bce(one_vs_rest(out), label, mask)
        return loss, {"pseudo": loss.item(), "kept": mask.mean().item()}


def _cross_entropy(out: Tensor, label: Tensor) -> Tensor:
    """Mean over labelled voxels; 0 where there are none."""
    total = functional.cross_entropy(out, label, ignore_index=IGNORE, reduction="sum")
    return total / (label != IGNORE).sum().clamp_min(1)
