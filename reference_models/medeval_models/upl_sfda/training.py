"""Training of source models, as the paper trains them or with the usual additions, by the shared trainer.

recipe = SegmentationRecipe(initialise(build_source()), images, labels, epochs=400)
Trainer(recipe, epochs=400, seed=0).run(FileCheckpoint("last.safetensors"))
recipe.trained.state_dict()
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from medeval_models.adaptation.augment import perturbed
from medeval_models.adaptation.images import Batch, TargetImages
from medeval_models.adaptation.parts import logits
from medeval_models.training import Recipe, TrainingError, ema_update
from medeval_models.upl_sfda.losses import batch_dice_loss, sample_dice_loss
from medeval_models.upl_sfda.transforms import rotate

Loss = Literal["dice", "dice+ce"]


@torch.no_grad()
def initialise(network: nn.Module) -> nn.Module:
    """The official start: convolutions normal(0, 0.02) with zero bias, 2D batch norm normal(1, 0.02). Returns the network."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    return network


class SegmentationRecipe(Recipe):
    """Supervised segmentation of any network whose forward gives logits (N, C, *spatial).

    images: (N, C, *spatial) each, one example or several; labels: class numbers (N, *spatial) beside them.
    batch_size: examples a step. loss: the official soft Dice (2D over the batch, 3D per sample), or with cross-entropy.
    rotate: turn each batch by a random number of quarters, which UPL-SFDA's heads need the source to have seen.
    strength: of photometric augmentation, 0 for none. patch: size of a random crop. ema: decay of a moving average of the
    weights, which is then what was trained. decay, decay_every: the rate is multiplied every so many of ``epochs``.
    Raises ``TrainingError`` for a label beyond the network's classes.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Sequence[Tensor],
        labels: Sequence[Tensor],
        *,
        epochs: int = 400,
        batch_size: int = 4,
        learning_rate: float = 1e-4,
        loss: Loss = "dice",
        rotate: bool = True,
        strength: float = 0.0,
        patch: tuple[int, ...] | None = None,
        ema: float | None = None,
        decay: float = 0.9,
        decay_every: int = 4,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        model = network.to(self.device).train()
        parts = {"model": model} if ema is None else {"model": model, "average": copy.deepcopy(model)}
        self.network = nn.ModuleDict(parts)
        self.optimisers = [torch.optim.Adam(model.parameters(), lr=learning_rate)]
        self._examples = TargetImages(images, model, labels)
        self._epochs, self._batch_size, self._seed, self._patch = epochs, batch_size, seed, patch
        self._loss: Loss = loss
        self._rotate, self._strength, self._ema = rotate, strength, ema
        self._decay, self._decay_every = decay, decay_every

    @property
    def trained(self) -> nn.Module:
        """The network, or its moving average."""
        return self.network["model" if self._ema is None else "average"]

    def batches(self, epoch: int) -> Iterable[Batch]:
        """All examples in the epoch's order."""
        return self._examples.batches(self._seed, epoch, self._batch_size, None, self._patch)

    def factor(self, done: float) -> float:
        """Steps down every ``decay_every`` epochs."""
        return self._decay ** int(done * self._epochs / self._decay_every + 1e-9)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Dice, and cross-entropy where it was asked for."""
        assert batch.labels is not None
        x, label = batch.images, batch.labels
        if self._rotate:
            turns = int(torch.randint(4, ()))
            x, label = rotate(x, turns), torch.rot90(label, turns, (1, 2))
        if self._strength:
            x = perturbed(x, self._strength)
        out = logits(self.network["model"], x)
        if int(label.max()) >= out.shape[1]:
            raise TrainingError(
                f"a label is {int(label.max())}; the network has classes 0 to {out.shape[1] - 1}"
            )
        target = functional.one_hot(label, out.shape[1]).movedim(-1, 1).to(out.dtype)
        dice = (batch_dice_loss if x.ndim == 4 else sample_dice_loss)(out.softmax(1), target)
        if self._loss == "dice":
            return dice, {"dice": dice.item()}
        entropy = functional.cross_entropy(out, label)
        return dice + entropy, {"dice": dice.item(), "cross_entropy": entropy.item()}

    def after_step(self) -> None:
        """The moving average follows."""
        if self._ema is not None:
            ema_update(self.network["average"], self.network["model"], self._ema)
