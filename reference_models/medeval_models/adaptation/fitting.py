"""``fit``, ``save``, ``load`` and adaptation at test time: the same for every method."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medeval_models.adaptation.base import Adaptation, AdaptationError
from medeval_models.adaptation.images import TargetImages
from medeval_models.adaptation.learner import Learner, agreement_criterion, entropy_criterion
from medeval_models.training import Checkpoint, FileCheckpoint, Outcome, Progress, Trainer
from medeval_models.training_state import digest_of, pack, restore, snapshot, unpack

CRITERIA: dict[str, Callable[[Learner[Any]], float]] = {
    "entropy": entropy_criterion,
    "agreement": agreement_criterion,
}


def fit(
    method: Adaptation,
    model: nn.Module,
    target_images: Sequence[Tensor],
    labels: Sequence[Tensor] | None,
    seed: int,
    progress: Callable[[Progress], None] | None,
    checkpoint: Checkpoint | str | Path | None,
) -> nn.Module:
    """See ``Adaptation.fit``."""
    if method.uses_labels and labels is None:
        raise AdaptationError(f"{type(method).__name__} trains on labels, and none were given")
    images = TargetImages(target_images, model, labels if method.uses_labels else None)
    learner = method.learner(model)
    learner.begin(images, seed)
    kept = FileCheckpoint(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    identity = _identity(method, model, len(images), seed)
    trainer = Trainer(learner, learner.epochs, seed, identity, _precision(method))
    select = getattr(method, "select", "last")
    if select != "last":
        trainer.criterion = lambda: CRITERIA[select](learner)
    outcome = trainer.run(kept, progress)
    return _finished(learner, outcome)


def save(adapted: nn.Module, path: Path) -> None:
    """See ``Adaptation.save``."""
    outcome = getattr(adapted, "adaptation", Outcome())
    FileCheckpoint(path).write(pack(snapshot(adapted), asdict(outcome)))


def load(method: Adaptation, model: nn.Module, path: Path) -> nn.Module:
    """See ``Adaptation.load``. Raises ``AdaptationError`` for a file that is not there, ``TrainingError`` for another model's."""
    data = FileCheckpoint(path).read()
    if data is None:
        raise AdaptationError(f"{path}: no such file")
    tensors, notes = unpack(data, str(path))
    learner = method.learner(model)
    adapted = learner.deployed()
    restore(adapted, tensors, str(path))
    adapted.adaptation = Outcome(**notes)  # type: ignore[assignment]
    return adapted


class Online:
    """Adaptation at test time, one batch after another; the state goes on from batch to batch until ``reset``."""

    def __init__(self, method: Adaptation, model: nn.Module, seed: int) -> None:
        if not method.online:
            raise AdaptationError(
                f"{type(method).__name__} needs the whole target set (offline); it cannot adapt batch by batch"
            )
        self._method, self._model, self._seed = method, model, seed
        self.reset()

    def reset(self) -> None:
        """Back to the source model."""
        self._learner = self._method.learner(self._model)
        self._trainer = Trainer(self._learner, 1, self._seed, precision=_precision(self._method))

    @property
    def outcome(self) -> Outcome:
        """Steps so far, and why adaptation stopped where it did."""
        return self._trainer.outcome

    def adapt(self, images: Sequence[Tensor], steps: int = 1) -> dict[str, float]:
        """``steps`` steps on the images as one batch, (N, C, *spatial) each. Returns the last step's terms.

        After a loss that is not finite no further step is done until ``reset``.
        """
        batch = TargetImages(images, self._model).together()
        terms: dict[str, float] = {}
        for _ in range(steps):
            if self.outcome.stopped:
                break
            terms = self._trainer.step(batch, 0, self.outcome.steps)
        return terms

    @property
    def module(self) -> nn.Module:
        """What predicts now."""
        return _finished(self._learner, self.outcome)


def _precision(method: Adaptation) -> torch.dtype | None:
    names = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    return names[getattr(method, "precision", "fp32")]


def _identity(method: Adaptation, model: nn.Module, count: int, seed: int) -> str:
    parts = [type(method).__name__, json.dumps(method.named(), sort_keys=True), count, seed, digest_of(model)]
    return " ".join(map(str, parts))


def _finished(learner: Learner[Any], outcome: Outcome) -> nn.Module:
    adapted = learner.deployed()
    for parameter in adapted.parameters():
        parameter.requires_grad_(False)
    adapted.adaptation = outcome  # type: ignore[assignment]
    return adapted
