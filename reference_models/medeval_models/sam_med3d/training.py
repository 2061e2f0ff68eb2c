"""SAM-Med3D's way of training: clicks simulated on the model's own mistakes, a whole sequence of them in one loss.

uni-medical/SAM-Med3D at f3de1fa, train.py and utils/click_method.py. A batch of patches, each with one target:

1. each axis is flipped with probability 1/2; the patches are embedded once;
2. ``clicks`` times: a click, uniform over the voxels where (logits > 0.5) differs from the target, on the target where none
   does; the decoder sees it (``feed``: the newest alone, or all so far) and the last low-resolution logits, zeros at first;
3. at one random step and at the last, no click is shown: the mask prompt stands alone;
4. the loss is the SUM of Dice + cross-entropy of mask 0 over all steps; gradients flow through the logits fed back.

The predicted IoU gets no loss, as there. Everything but ``images``, ``coordinates`` and ``opening`` holds in any number of
dimensions, so that a 2D network can be trained alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medeval_models.sam_med3d.clicks import Rule, candidates
from medeval_models.sam_med3d.losses import dice_ce_loss
from medeval_models.training import Recipe, shuffled

Feed = Literal["newest", "all"]
_MODES = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, eq=False)
class Example:
    """One target. image: (*size), the network's own size. target: (*size) bool, not empty."""

    image: Tensor
    target: Tensor


class ClickRecipe(Recipe):
    """Trains ``network`` on ``examples``; the defaults are those of the official script.

    examples: read when their batch comes, so a lazy sequence serves (see ``shuffled``). batch_size: examples a batch. accumulate: batches a
    step of the optimiser, whose gradients are averaged. clicks: steps a batch. rule: of the clicks, see ``candidates``.
    feed: the clicks shown. refine: two of the steps without a click. decoder_rate: learning rate of prompt encoder and
    decoder as a part of the encoder's. milestones: shares of a cycle after which the rate is a tenth. cycles: how often
    the rate begins anew. flip: axes at random. standardise: z-score over all voxels above 0 of the batch together, a quirk
    of the official script; without it the examples come normalised.
    Raises ``ValueError`` for no examples.
    """

    def __init__(
        self, network: nn.Module, examples: Sequence[Example], *, batch_size: int = 12, accumulate: int = 20,
        clicks: int = 11, rule: Rule = "random", feed: Feed = "newest", refine: bool = True,
        learning_rate: float = 8e-4, decoder_rate: float = 0.1, weight_decay: float = 0.1,
        milestones: Sequence[float] = (0.6, 0.9), cycles: int = 1, flip: bool = True, standardise: bool = False,
        seed: int = 0, device: torch.device | None = None,
    ) -> None:  # fmt: skip
        if not len(examples):
            raise ValueError("training needs examples")
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device)
        self.optimisers = [_optimiser(network, learning_rate, decoder_rate, weight_decay)]
        self._examples, self._batch_size, self._accumulate = examples, batch_size, accumulate
        self._clicks, self._rule, self._feed, self._refine = clicks, rule, feed, refine
        self._milestones, self._cycles, self._flip = tuple(milestones), cycles, flip
        self._standardise, self._seed = standardise, seed

    # -- what another number of dimensions changes --------------------------------------------------------------

    def images(self, patches: Tensor) -> Tensor:
        """(B, *size) of the examples -> what the image encoder takes."""
        return (standardised(patches) if self._standardise else patches)[:, None]

    def coordinates(self, voxels: Tensor) -> Tensor:
        """(B, n, dimensions) voxels in array order -> what the prompt encoder takes."""
        return voxels.float()

    def opening(self, masks: Tensor) -> Tensor | None:
        """The mask prompt of the first step. masks: zeros, which the official loops give; None where a model begins without."""
        return masks

    # -- Recipe -------------------------------------------------------------------------------------------------

    def batches(self, epoch: int) -> list[list[int]]:
        """Numbers of the examples of each step, shuffled by (seed, epoch); the last step may have fewer."""
        order = shuffled(self._examples, self._seed, epoch)
        size = self._batch_size * self._accumulate
        return [order[at : at + size] for at in range(0, len(order), size)]

    def factor(self, done: float) -> float:
        """A tenth after each milestone of the cycle."""
        place = done * self._cycles % 1.0
        return float(0.1 ** sum(place >= milestone for milestone in self._milestones))

    def step(self, batch: Sequence[int], update: Callable[[Tensor], bool]) -> dict[str, float]:
        """One step of the optimiser: a batch, or several whose gradients are averaged."""
        size = self._batch_size
        parts = [batch[at : at + size] for at in range(0, len(batch), size)]
        learned = [p for group in self.optimisers[0].param_groups for p in group["params"]]
        earlier: list[Tensor | None] = [None] * len(learned)
        sums: dict[str, float] = {}
        for number, part in enumerate(parts, start=1):
            with self.autocast():
                loss, terms = self.loss(part)
            loss = loss / len(parts)
            sums = {name: sums.get(name, 0.0) + value / len(parts) for name, value in terms.items()}
            if number < len(parts):
                gradients = torch.autograd.grad(loss, learned, allow_unused=True)
                earlier = [_added(one, other) for one, other in zip(earlier, gradients, strict=True)]
        update(loss + _with_gradients(learned, earlier))
        return sums

    def loss(self, batch: Sequence[int]) -> tuple[Tensor, dict[str, float]]:
        """The summed loss of a click sequence; the terms are those of its first and last step."""
        patches, targets = self._drawn(batch)
        embedding = self.network.image_encoder(self.images(patches))
        found = [dice_ce_loss(logits, targets[:, None]) for logits in self.sequence(embedding, targets)]
        return torch.stack(found).sum(), {
            "first": float(found[0].detach()),
            "last": float(found[-1].detach()),
        }

    def sequence(self, embedding: Tensor, targets: Tensor) -> list[Tensor]:
        """The logits (B, 1, *size) after each step. targets: (B, *size) bool."""
        prompts: Any = self.network.prompt_encoder
        position = prompts.get_dense_pe()
        size, mode = tuple(targets.shape[1:]), _MODES[targets.ndim - 1]
        low = self.opening(torch.zeros(len(targets), 1, *prompts.mask_input_size, device=self.device))
        logits = torch.zeros(targets[:, None].shape, device=self.device)
        alone, shown, found = self._alone(), None, []
        for number in range(self._clicks):
            if number not in alone:
                newest = self._click(logits.detach()[:, 0], targets)
                shown = newest if shown is None or self._feed == "newest" else _joined(shown, newest)
            sparse, dense = prompts(None if number in alone else shown, None, low)
            low = self.network.mask_decoder(embedding, position, sparse, dense, False)[0].float()
            whole = low.shape[2:] == size
            logits = low if whole else F.interpolate(low, size, mode=mode, align_corners=False)
            found.append(logits)
        return found

    def _drawn(self, batch: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Patches (B, *size) and targets, flipped at random."""
        patches, targets = [], []
        for number in batch:
            example = self._examples[number]
            image, target = example.image, example.target
            if self._flip:
                axes = [axis for axis in range(image.ndim) if torch.rand(()) < 0.5]
                image, target = image.flip(axes), target.flip(axes)
            patches.append(image)
            targets.append(target)
        return torch.stack(patches).to(self.device), torch.stack(targets).to(self.device)

    def _alone(self) -> set[int]:
        """Steps without a click: one of 2 .. clicks - 3 and the last; only the last where there are few, none below three."""
        if not self._refine or self._clicks < 3:
            return set()
        drawn = {int(torch.randint(2, self._clicks - 2, ()))} if self._clicks > 4 else set()
        return {*drawn, self._clicks - 1}

    def _click(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The next click of each: coordinates (B, 1, dimensions), labels (B, 1)."""
        voxels, labels = [], []
        for prediction, target in zip(logits.cpu().numpy(), targets.cpu().numpy(), strict=True):
            where, label = candidates(prediction, target, self._rule)
            possible = np.flatnonzero(where)
            voxel = np.unravel_index(possible[int(torch.randint(len(possible), ()))], where.shape)
            voxels.append([int(index) for index in voxel])
            labels.append(int(target[voxel]) if label is None else label)
        placed = self.coordinates(torch.tensor(voxels, device=self.device)[:, None])
        return placed, torch.tensor(labels, device=self.device)[:, None]


def standardised(patches: Tensor) -> Tensor:
    """Mean 0 and deviation 1 (unbiased) over the voxels above 0 of the WHOLE batch, as the official script has it.

    Unchanged where fewer than two voxels are above 0 or all of these are equal.
    """
    foreground = patches[patches > 0]
    if foreground.numel() < 2 or not float(spread := foreground.std()):
        return patches
    return (patches - foreground.mean()) / spread


def _optimiser(network: Any, rate: float, decoder_rate: float, decay: float) -> torch.optim.Optimizer:
    parts = [
        (network.image_encoder, rate),
        (network.prompt_encoder, rate * decoder_rate),
        (network.mask_decoder, rate * decoder_rate),
    ]
    groups = [{"params": list(part.parameters()), "lr": own} for part, own in parts]
    return torch.optim.AdamW(groups, weight_decay=decay)


def _joined(shown: tuple[Tensor, Tensor], newest: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.cat([shown[0], newest[0]], dim=1), torch.cat([shown[1], newest[1]], dim=1)


def _added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _with_gradients(learned: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor | float:
    """A term of value 0 whose gradient is ``gradients``: earlier batches' share, without keeping their graphs."""
    given = [(p, g) for p, g in zip(learned, gradients, strict=True) if g is not None]
    if not given:
        return 0.0
    linear = torch.stack([(p * g).sum() for p, g in given]).sum()
    return linear - linear.detach()
