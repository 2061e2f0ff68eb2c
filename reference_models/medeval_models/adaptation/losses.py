"""The baselines' losses and pseudo labels as functions of arrays; sources are the named repositories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def voxel_entropy(logits: Tensor) -> Tensor:
    """Entropy of each voxel in nats, (N, *spatial). logits: (N, C, *spatial)."""
    log = logits.log_softmax(dim=1)
    return -(log.exp() * log).sum(dim=1)


# -- AdaMI (mathilde-b/SFDA: EntKLProp) -------------------------------------------------------------------------


def weighted_entropy(prob: Tensor, weights: Tensor) -> Tensor:
    """-sum nu_c p_c log p_c over the sum of p. prob: (N, C, *spatial), weights: (C,)."""
    nu = weights.reshape(1, -1, *[1] * (prob.ndim - 2))
    return -(nu * prob * (prob + 1e-10).log()).sum() / prob.sum()


def class_ratios(prob: Tensor, power: float = 1.0) -> Tensor:
    """Estimated share of each class in each image, (N, C): probabilities relative to the voxel's largest one, summed."""
    relative = (prob / (prob.amax(dim=1, keepdim=True) + 1e-10)) ** power
    sums = relative.flatten(2).sum(dim=2)
    return sums / sums.sum(dim=1, keepdim=True)


def ratio_divergence(ratios: Tensor, prior: Tensor) -> Tensor:
    """KL(r || tau), mean over images. ratios: (N, C). prior: (N, C) or (C,)."""
    return (ratios * ((ratios + 1e-10) / (prior + 1e-10)).log()).sum(dim=-1).mean()


# -- URMA (idiap/model-uncertainty-for-adaptation) --------------------------------------------------------------


def uncertainty(aux_logits: Tensor, logits: Tensor) -> Tensor:
    """Sum over auxiliary heads of the mean squared distance to the main prediction, which takes no gradient.

    aux_logits: (K, N, C, *spatial). logits: (N, C, *spatial).
    """
    main = logits.detach().softmax(dim=1)
    return torch.stack([functional.mse_loss(aux.softmax(dim=1), main) for aux in aux_logits]).sum()


def balanced_thresholds(confidences: Sequence[Tensor], portion: float) -> Tensor:
    """(C,) for each class the confidence at rank ``portion * n`` of its n voxels, from the surest; 1 for a class without any.

    confidences: for each class the largest probabilities of the voxels given to it.
    """
    found = []
    for values in confidences:
        ordered = values.sort(descending=True).values
        rank = min(int(portion * len(ordered)), len(ordered) - 1)
        found.append(ordered[rank].reshape(()) if len(ordered) else torch.ones(()))
    return torch.stack(found)


def balanced_pseudo_label(prob: Tensor, thresholds: Tensor, ignore: int = 255) -> Tensor:
    """argmax(p / threshold), ``ignore`` where that is below 1. prob: (N, C, *spatial); (N, *spatial) long."""
    scaled = prob / thresholds.reshape(1, -1, *[1] * (prob.ndim - 2)).clamp_min(1e-10)
    best, label = scaled.max(dim=1)
    return torch.where(best < 1, torch.full_like(label, ignore), label)


# -- SHOT (tim-learn/SHOT: object/image_target.py) --------------------------------------------------------------


def information_maximisation(prob: Tensor) -> tuple[Tensor, Tensor]:
    """(mean entropy of samples, entropy of their mean). The loss is the first less the second. prob: (n, C) or (N, C, *spatial)."""
    samples = prob.movedim(1, -1).flatten(0, -2)
    entropy = -(samples * (samples + 1e-5).log()).sum(dim=1).mean()
    mean = samples.mean(dim=0)
    return entropy, -(mean * (mean + 1e-5).log()).sum()


@dataclass(frozen=True)
class Centroids:
    """Class centres of normalised features (with a 1 appended), (k, F + 1), and the classes (k,) that they are of."""

    centres: Tensor
    classes: Tensor

    def label(self, features: Tensor) -> Tensor:
        """(n,) class of the nearest centre by cosine distance. features: (n, F)."""
        sample = _extended(features)
        cosine = functional.normalize(self.centres, dim=1) @ functional.normalize(sample, dim=1).T
        return self.classes[cosine.argmax(dim=0)]


def shot_centroids(features: Tensor, prob: Tensor) -> Centroids:
    """Probability-weighted centres, then centres of the labels that these give. Classes never predicted are left out.

    features: (n, F). prob: (n, C).
    """
    sample = _extended(features)
    count = prob.shape[1]
    present = torch.bincount(prob.argmax(dim=1), minlength=count).nonzero()[:, 0]
    first = Centroids(_centres(sample, prob)[present], present)
    assigned = functional.one_hot(first.label(features), count).to(prob.dtype)
    return Centroids(_centres(sample, assigned)[present], present)


def shot_pseudo_label(features: Tensor, prob: Tensor) -> Tensor:
    """(n,) SHOT's labels of the samples that the centres are made of."""
    return shot_centroids(features, prob).label(features)


def _extended(features: Tensor) -> Tensor:
    return functional.normalize(torch.cat([features, torch.ones_like(features[:, :1])], dim=1), dim=1)


def _centres(sample: Tensor, weights: Tensor) -> Tensor:
    return weights.T @ sample / (1e-8 + weights.sum(dim=0)[:, None])


# -- CoTTA (qinenergy/cotta) ------------------------------------------------------------------------------------


def consistency(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean cross-entropy of the student's prediction under the teacher's. Both logits (N, C, *spatial)."""
    return -(teacher.softmax(dim=1) * student.log_softmax(dim=1)).sum(dim=1).mean()


# -- DPL (cchen-cc/SFDA-DPL) ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Denoised:
    """DPL's pseudo labels, all (N, C, *spatial). mask: where they are certain and agree with the nearest prototype."""

    label: Tensor
    uncertainty: Tensor
    prototype_label: Tensor
    mask: Tensor


def denoised_pseudo_label(
    mc_logits: Tensor, features: Tensor, threshold: float = 0.75, most_uncertain: float = 0.05
) -> Denoised:
    """Pseudo labels of sigmoid channels from T dropout passes, denoised by uncertainty and by class prototypes.

    mc_logits: (T, N, C, *spatial). features: (N, F, *spatial). Uncertainty is the unbiased standard deviation over passes
    of sigmoid(z / 2), as in the official code.
    """
    mean = mc_logits.sigmoid().mean(dim=0)
    label = (mean > threshold).to(mean.dtype)
    spread = (mc_logits / 2).sigmoid().std(dim=0)
    certain = (spread < most_uncertain).to(mean.dtype)
    prototype = torch.stack(
        [_nearest_prototype(features, mean[:, c], label[:, c], certain[:, c]) for c in range(mean.shape[1])],
        dim=1,
    )
    return Denoised(label, spread, prototype, certain * (label == prototype).to(mean.dtype))


def _nearest_prototype(features: Tensor, mean: Tensor, label: Tensor, certain: Tensor) -> Tensor:
    """(N, *spatial): 1 where the features are nearer to the object's prototype than to the background's."""
    flat = features.transpose(0, 1).flatten(1)  # (F, voxels)
    object_weight = (label * certain * mean).flatten()
    rest_weight = ((1 - label) * certain * (1 - mean)).flatten()
    distances = []
    for weight in (object_weight, rest_weight):
        centre = (flat * weight).sum(dim=1) / weight.sum()
        distances.append(((flat - centre[:, None]) ** 2).sum(dim=0))
    # Without a certain voxel there is no prototype (NaN): every comparison is then false, and nothing is the object.
    return (distances[0] < distances[1]).to(mean.dtype).reshape(mean.shape)


def masked_bce(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of the masked elements, their mean; 0 where the mask is empty."""
    values = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (mask * values).sum() / mask.sum().clamp_min(1)


def one_vs_rest(logits: Tensor) -> Tensor:
    """(N, C - 1, *spatial) logits whose sigmoid is the softmax probability of each class but the first."""
    channels = logits.unbind(dim=1)
    rest = [torch.stack(channels[:c] + channels[c + 1 :]).logsumexp(dim=0) for c in range(len(channels))]
    return torch.stack([channels[c] - rest[c] for c in range(1, len(channels))], dim=1)
