"""The machinery of ``teachers.py``."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from medeval_models.adaptation.augment import flipped, perturbed
from medeval_models.adaptation.images import Batch
from medeval_models.adaptation.learner import Learner, parameters
from medeval_models.adaptation.losses import consistency
from medeval_models.adaptation.parts import adaptable, logits, train_mode, use_batch_statistics
from medeval_models.adaptation.teachers import CoTTA, MeanTeacher
from medeval_models.training import ema_update


class MeanTeacherLearner(Learner[MeanTeacher]):
    """A student in training mode, and its moving average."""

    def __init__(self, options: MeanTeacher, model: nn.Module) -> None:
        super().__init__(options, model)
        student = adaptable(model, "mean-teacher").train()
        teacher = train_mode(copy.deepcopy(student), dropout=False).requires_grad_(False)
        self.network = nn.ModuleDict({"student": student, "teacher": teacher})
        self.optimisers = [torch.optim.Adam(parameters(student), lr=options.lr)]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Distance to the teacher."""
        with torch.no_grad():
            target = logits(self.network["teacher"], batch.images)
        student = logits(self.network["student"], perturbed(batch.images, self.options.strength))
        if self.options.loss == "mse":
            loss = functional.mse_loss(student.softmax(1), target.softmax(1))
        else:
            loss = consistency(student, target)
        return loss, {"consistency": loss.item()}

    def after_step(self) -> None:
        """The teacher follows; its running statistics are the student's."""
        ema_update(self.network["teacher"], self.network["student"], self.options.decay)

    def deployed(self) -> nn.Module:
        """The teacher."""
        return copy.deepcopy(self.network["teacher"]).eval()


class CoTTALearner(Learner[CoTTA]):
    """Student, teacher, and the source as anchor; batch norm by batch statistics in all three."""

    def __init__(self, options: CoTTA, model: nn.Module) -> None:
        super().__init__(options, model)
        student = use_batch_statistics(adaptable(model, "cotta")).eval()
        teacher = copy.deepcopy(student).requires_grad_(False)
        self.anchor = copy.deepcopy(teacher)
        self.network = nn.ModuleDict({"student": student, "teacher": teacher})
        self.optimisers = [torch.optim.Adam(parameters(student), lr=options.lr, betas=options.betas)]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy under the teacher."""
        with torch.no_grad():
            sure = logits(self.anchor, batch.images).softmax(1).amax(1).mean().item()
            target = self._teacher(batch.images, averaged=sure < self.options.confident_above)
        loss = consistency(logits(self.network["student"], batch.images), target)
        return loss, {"consistency": loss.item(), "anchor_confidence": sure}

    def _teacher(self, x: Tensor, averaged: bool) -> Tensor:
        teacher = self.network["teacher"]
        if not averaged:
            return logits(teacher, x)
        total: Tensor | None = None
        for _ in range(self.options.augmentations):
            flip = bool(torch.rand(()) < 0.5)
            view = perturbed(flipped(x, flip), self.options.strength)
            out = flipped(logits(teacher, view), flip)
            total = out if total is None else total + out
        assert total is not None
        return total / self.options.augmentations

    @torch.no_grad()
    def after_step(self) -> None:
        """The teacher follows, then each of the student's weights returns to the source's with the stated probability."""
        student = self.network["student"]
        ema_update(self.network["teacher"], student, self.options.decay)
        for weight, source in zip(student.parameters(), self.anchor.parameters(), strict=True):
            back = torch.rand(weight.shape).to(weight.device) < self.options.restore
            weight.copy_(torch.where(back, source, weight))

    def deployed(self) -> nn.Module:
        """The teacher."""
        return copy.deepcopy(self.network["teacher"]).eval()
