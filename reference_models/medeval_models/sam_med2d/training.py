"""SAM-Med2D's way of training: one box-or-point step with the adapters, then correction steps of the decoder.

OpenGVLab/SAM-Med2D at bfd2b93, train.py and utils.py. A batch of images, each with masks drawn with replacement:

1. prompt = box (shifted) or one point, each with probability 1/2; encoder (adapters only), prompt encoder and decoder learn;
2. the embeddings are kept; ``clicks`` times: points uniform over the error, their number one of 1, 3, 5, 9, replace the
   last ones; the mask prompt is the sigmoid of the last logits; at one random step and at the last the mask prompt stands
   alone (with fewer than three steps at none); prompt encoder and decoder learn.

Of three masks the one with the highest predicted IoU counts. What the released script does beside its own description
(point embeddings and mask convolutions are never trained) is ``as_released``; by default they are trained, as described.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from medeval_models.sam_med2d.losses import total_loss
from medeval_models.sam_med2d.sam import Decoded, Sam
from medeval_models.training import Recipe, shuffled

Trainable = Literal["adapter", "decoder", "all"]
POINTS = (1, 3, 5, 9)
_NEVER_TRAINED = ("not_a_point_embed", "point_embeddings.0", "point_embeddings.1", "mask_downscaling")


@dataclass(frozen=True, eq=False)
class Example:
    """One training image. image: (3, size, size), normalised. masks: (n, size, size) bool, none of them empty."""

    image: Tensor
    masks: Tensor


class InteractiveRecipe(Recipe):
    """Trains ``network`` on ``examples``.

    examples: read when their batch comes, so a lazy sequence serves (see ``shuffled``). batch_size: images a batch. masks: masks an image, drawn with replacement. clicks: correction steps a batch.
    trainable: ``adapter`` (adapter layers, prompt encoder, decoder), ``decoder`` (FT-SAM) or ``all``.
    seed: of the order of images. milestones: shares of the training after which the learning rate is halved.
    Raises ``ValueError`` for no examples, an example without masks, or adapters asked of a network that has none.
    """

    def __init__(
        self, network: Sam, examples: Sequence[Example], *, batch_size: int = 2, masks: int = 5, clicks: int = 8,
        learning_rate: float = 1e-4, trainable: Trainable = "adapter", as_released: bool = False, seed: int = 0,
        milestones: Sequence[float] = (), device: torch.device | None = None,
    ) -> None:  # fmt: skip
        if not len(examples) or (isinstance(examples, list) and any(not len(e.masks) for e in examples)):
            raise ValueError("training needs examples, each with at least one mask")
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device)
        self._examples = examples
        self._batch_size, self._masks, self._clicks, self._seed = batch_size, masks, clicks, seed
        self._as_released, self._milestones = as_released, tuple(milestones)
        learned = choose_trainable(network, trainable, as_released)
        self.optimisers = [torch.optim.Adam(learned, lr=learning_rate, fused=True)]

    def batches(self, epoch: int) -> list[list[int]]:
        """Numbers of examples, shuffled by (seed, epoch); the last batch may be smaller."""
        order = shuffled(self._examples, self._seed, epoch)
        return [order[at : at + self._batch_size] for at in range(0, len(order), self._batch_size)]

    def factor(self, done: float) -> float:
        """Halved after each milestone."""
        return 0.5 ** sum(done >= milestone for milestone in self._milestones)

    def step(self, batch: Sequence[int], update: Callable[[Tensor], bool]) -> dict[str, float]:
        """One batch: the first step and its corrections."""
        read = [self._examples[n] for n in batch]
        images = torch.stack([example.image for example in read]).to(self.device)
        drawn = [example.masks for example in read]
        targets = torch.cat([m[torch.randint(len(m), (self._masks,))] for m in drawn]).float()[:, None]
        targets = targets.to(self.device)
        with self.autocast():
            embeddings = self.network.image_encoder(images).repeat_interleave(self._masks, dim=0)
        boxed = bool(torch.rand(()) < 0.5)
        points = None if boxed else first_points(targets)
        first = self._learn(
            embeddings, targets, update, points, shifted_boxes(targets) if boxed else None, None, True
        )
        if first is None:
            return {"first": float("nan")}
        loss, found = first
        return {"first": loss, "last": self._correct(embeddings.detach(), targets, found, update, loss)}

    def _correct(
        self,
        embeddings: Tensor,
        targets: Tensor,
        found: Decoded,
        update: Callable[[Tensor], bool],
        last: float,
    ) -> float:
        alone = {int(torch.randint(1, max(2, self._clicks - 1), ())), self._clicks - 1}
        for number in range(self._clicks):
            clicked = error_points(found.logits, targets)
            points = None if number in alone and self._clicks > 2 else clicked
            step = self._learn(
                embeddings, targets, update, points, None, found.logits.sigmoid(), not self._as_released
            )
            if step is None:
                break
            last, found = step
        return last

    def _learn(
        self, embeddings: Tensor, targets: Tensor, update: Callable[[Tensor], bool],
        points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None, prompts_learn: bool,
    ) -> tuple[float, Decoded] | None:  # fmt: skip
        """One update; None when the trainer stopped the training."""
        network = self.network
        with self.autocast():
            with nullcontext() if prompts_learn else torch.no_grad():
                sparse, dense = network.prompt_encoder(points, boxes, masks)
            logits, iou = network.mask_decoder(
                embeddings, network.prompt_encoder.get_dense_pe(), sparse, dense, True
            )
            best = iou.argmax(dim=1)
            each = torch.arange(len(best), device=best.device)
            chosen = logits[each, best][:, None].float()
            size = targets.shape[-2:]
            whole = F.interpolate(chosen, size, mode="bilinear", align_corners=False)
            loss = total_loss(whole, targets, iou[each, best][:, None].float())
        if not update(loss):
            return None
        return float(loss.detach()), Decoded(chosen.detach(), iou.detach())


def choose_trainable(
    network: Sam, trainable: Trainable, as_released: bool = False
) -> list[torch.nn.Parameter]:
    """Freeze what does not learn, and return what does. The encoder's neck is frozen unless ``all`` learns."""
    learned = []
    for name, parameter in network.named_parameters():
        if name.startswith("image_encoder."):
            learns = trainable == "all" or (trainable == "adapter" and ".Adapter." in name)
        else:
            learns = not (as_released and any(part in name for part in _NEVER_TRAINED))
        parameter.requires_grad_(learns)
        learned += [parameter] if learns else []
    if trainable == "adapter" and not any(".Adapter." in name for name, _ in network.named_parameters()):
        raise ValueError(
            "trainable: adapter, but the network has no adapter layers (encoder_adapter: true builds them)"
        )
    return learned


def first_points(targets: Tensor) -> tuple[Tensor, Tensor]:
    """One point on each mask: coordinates (B, 1, 2) as x, y, labels (B, 1)."""
    voxels = [torch.nonzero(target[0] > 0) for target in targets]
    picked = torch.stack([v[int(torch.randint(len(v), ()))] for v in voxels])
    return picked.flip(-1)[:, None].float(), torch.ones(len(targets), 1, device=targets.device)


def error_points(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Points uniform over each mask's wrong pixels, with replacement; their number one of 1, 3, 5, 9 for the batch.

    Labels: 1 missed, 0 too much, -1 (ignored by the prompt encoder) where nothing is wrong.
    """
    number = POINTS[int(torch.randint(len(POINTS), ()))]
    whole = F.interpolate(logits, targets.shape[-2:], mode="bilinear", align_corners=False)
    wrong = (whole > 0) != (targets > 0)
    coordinates, labels = [], []
    for error, target in zip(wrong[:, 0], targets[:, 0], strict=True):
        pixels = torch.nonzero(error)
        if len(pixels):
            picked = pixels[torch.randint(len(pixels), (number,))]
            labels.append((target[picked[:, 0], picked[:, 1]] > 0).float())
        else:
            picked = torch.randint(error.shape[0], (number, 2), device=targets.device)
            labels.append(torch.full((number,), -1.0, device=targets.device))
        coordinates.append(picked.flip(-1).float())
    return torch.stack(coordinates), torch.stack(labels)


def shifted_boxes(targets: Tensor) -> Tensor:
    """``boxes``, each moved as a whole by up to min(5, a tenth of half its shorter side) pixels.

    m = min(5, int(5 * 0.1 * min(width, height))); the shift is uniform in [-m, m) along each axis (utils.py).
    """
    found = boxes(targets)
    for box in found:
        most = min(5, int(5 * 0.1 * float((box[2:] - box[:2]).min())))
        dx, dy = (int(torch.randint(-most, most, ())) if most else 0 for _ in range(2))
        box += box.new_tensor([dx, dy, dx, dy])
    return found


def boxes(targets: Tensor) -> Tensor:
    """(B, 1, H, W), none empty -> (B, 4) x0, y0, x1, y1, half-open, around each mask's largest 8-connected component."""
    found = []
    for target in targets[:, 0].cpu().numpy() > 0:
        parts, count = ndimage.label(target, np.ones((3, 3)))
        largest = parts == 1 + np.bincount(parts.ravel())[1:].argmax() if count > 1 else target
        rows, columns = np.flatnonzero(largest.any(1)), np.flatnonzero(largest.any(0))
        found.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return torch.tensor(np.array(found), dtype=torch.float32, device=targets.device)
