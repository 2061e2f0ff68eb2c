"""One small trainer for every recipe: epochs of steps, mixed precision, EMA, checkpoints, resume, progress.

    class MyRecipe(Recipe):
        def batches(self, epoch): ...              # what is trained on, in the epoch's order
        def loss(self, batch): ...                 # -> (loss, {"dice": 0.3})

    outcome = Trainer(MyRecipe(network, [optimiser]), epochs=10, seed=0).run(FileCheckpoint("last.safetensors"), print)

Every step draws from generators seeded by (seed, epoch, step), and a checkpoint is written between epochs: a training
that was killed and continued ends in the same weights, bit for bit, as one that was not (on a CPU). The caller's global
generators are left as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from medeval_models.training_state import (
    Checkpoint,
    FileCheckpoint,
    TrainingError,
    below,
    optimiser_tensors,
    pack,
    restore,
    restore_optimisers,
    snapshot,
    unique_state,
    unpack,
)

__all__ = [
    "Checkpoint", "FileCheckpoint", "Outcome", "Progress", "Recipe", "Trainer", "TrainingError", "ema_update",
    "seed_of", "seeded", "shuffled",
]  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Told after every step. epoch: from 0. step: steps done in all. terms: the step's losses by name. done: share, 0..1."""

    epoch: int
    epochs: int
    step: int
    terms: Mapping[str, float]
    done: float = 0.0


@dataclass
class Outcome:
    """What became of a training.

    history: one entry an epoch: the mean of each term, and the criterion. stopped: why it ended early, "" if it did not.
    chosen: the epoch (from 0) whose weights are kept; None: the last.
    """

    steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""
    chosen: int | None = None


class Recipe:
    """A way of training: what a paper contributes. Subclasses give ``batches`` and ``loss``, or their own ``step``.

    network: all modules whose parameters and buffers belong to the state (also teachers). optimisers: stepped together.
    device: where batches are computed. precision: dtype of autocast, set by the trainer.
    """

    network: nn.Module
    optimisers: Sequence[Optimizer] = ()
    device: torch.device = torch.device("cpu")
    precision: torch.dtype | None = None

    def autocast(self) -> torch.autocast:
        """Around forward passes, never around the backward one."""
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision is not None)

    def batches(self, epoch: int) -> Iterable[Any]:
        """The epoch's batches; a function of the epoch and the seed alone."""
        raise NotImplementedError

    def start_epoch(self, epoch: int) -> None:
        """Before an epoch's first step, also the first one after a resume: what it makes depends on the network alone."""

    def loss(self, batch: Any) -> tuple[Tensor | None, dict[str, float]]:
        """The loss to be minimised (None: nothing is), and the terms to be told."""
        raise NotImplementedError

    def step(self, batch: Any, update: Callable[[Tensor], bool]) -> dict[str, float]:
        """One step. update: backward and optimiser steps of a loss; False when it or a gradient is not finite."""
        with self.autocast():
            loss, terms = self.loss(batch)
        if loss is not None and update(loss):
            self.after_step()
        return terms

    def after_step(self) -> None:
        """After the optimisers' step: teachers, restores."""

    def factor(self, done: float) -> float:
        """The learning rate as a part of the optimisers' own when this share of the steps is done."""
        return 1.0

    def resumable_after(self, epoch: int) -> bool:
        """False where ``start_epoch`` of the next epoch could not make again what it needs."""
        return True


@dataclass
class Trainer:
    """Runs a recipe.

    epochs: passes over ``batches``. seed: of everything random. identity: what a checkpoint must have been written under.
    precision: dtype of autocast, None for float32; float16 is scaled (GPUs). clip: largest norm of all gradients.
    criterion: asked after every epoch, smaller is better; the best epoch's weights are kept at the end.
    """

    recipe: Recipe
    epochs: int
    seed: int = 0
    identity: str = ""
    precision: torch.dtype | None = None
    clip: float | None = None
    criterion: Callable[[], float] | None = None
    outcome: Outcome = field(default_factory=Outcome, init=False)

    def __post_init__(self) -> None:
        self.recipe.precision = self.precision
        self._best: dict[str, Tensor] | None = None
        self._good = snapshot(self.recipe.network)
        self._base = [
            [float(g["lr"]) for g in optimiser.param_groups] for optimiser in self.recipe.optimisers
        ]
        self._scaler = torch.amp.GradScaler(self.recipe.device.type, enabled=self.precision is torch.float16)

    def run(
        self, checkpoint: Checkpoint | None = None, progress: Callable[[Progress], None] | None = None
    ) -> Outcome:
        """Train to the end, from the checkpoint's state where it has one.

        A loss or gradient that is not finite ends the training with the weights before the step that led to it, and the
        outcome says so. Raises ``TrainingError`` for a checkpoint of another training.
        """
        if checkpoint is not None and (state := checkpoint.read()) is not None:
            self._read(state)
        for epoch in range(len(self.outcome.history), self.epochs):
            if self.outcome.stopped:
                break
            self._epoch(epoch, progress)
            if checkpoint is not None and (self.outcome.stopped or self.recipe.resumable_after(epoch)):
                checkpoint.write(self.state())
        if self._best is not None:
            restore(self.recipe.network, self._best)
        return self.outcome

    def _epoch(self, epoch: int, progress: Callable[[Progress], None] | None) -> None:
        with seeded(self.recipe.device, self.seed, epoch, "start"):
            self.recipe.start_epoch(epoch)
        sums: dict[str, list[float]] = {}
        for number, batch, count in _counted(self.recipe.batches(epoch)):
            self._set_rates((epoch + number / count) / self.epochs)
            terms = self.step(batch, epoch, number)
            if self.outcome.stopped:
                break
            for name, value in terms.items():
                sums.setdefault(name, []).append(value)
            if progress is not None:
                done = (epoch + (number + 1) / count) / self.epochs
                progress(Progress(epoch, self.epochs, self.outcome.steps, terms, done))
        self.outcome.history.append({name: math.fsum(values) / len(values) for name, values in sums.items()})
        if self.criterion is not None and not self.outcome.stopped:
            self._choose(epoch, self.criterion())

    def step(self, batch: Any, epoch: int, number: int) -> dict[str, float]:
        """One step of the recipe, as ``run`` does it and as online adaptation does it batch by batch."""
        with seeded(self.recipe.device, self.seed, epoch, number):
            terms = self.recipe.step(batch, self._update)
        self.outcome.steps += not self.outcome.stopped
        return terms

    def _update(self, loss: Tensor) -> bool:
        """Backward, clip, step. Keeps the weights from before, to which the next step may have to return."""
        if not torch.isfinite(loss):
            return self._stop("the loss is not finite")
        for optimiser in self.recipe.optimisers:
            optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        for optimiser in self.recipe.optimisers:
            self._scaler.unscale_(optimiser)
        gradients = self._gradients()
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
        if not torch.isfinite(norm) and not self._scaler.is_enabled():  # a scaler skips such a step by itself
            return self._stop("a gradient is not finite")
        if self.clip is not None and norm > self.clip:
            for gradient in gradients:
                gradient.mul_(self.clip / norm)
        self._good = snapshot(self.recipe.network)
        for optimiser in self.recipe.optimisers:
            self._scaler.step(optimiser)
        self._scaler.update()
        return True

    def _stop(self, why: str) -> bool:
        self.outcome.stopped = f"{why} in step {self.outcome.steps + 1}; the last good weights are kept"
        restore(self.recipe.network, self._good)
        return False

    def _gradients(self) -> list[Tensor]:
        groups = [group for optimiser in self.recipe.optimisers for group in optimiser.param_groups]
        return [p.grad for group in groups for p in group["params"] if p.grad is not None]

    def _choose(self, epoch: int, value: float) -> None:
        history = self.outcome.history
        history[epoch]["criterion"] = value
        before = history[self.outcome.chosen]["criterion"] if self.outcome.chosen is not None else math.inf
        if value < before:
            self.outcome.chosen = epoch
            self._best = snapshot(self.recipe.network)

    def _set_rates(self, done: float) -> None:
        factor = self.recipe.factor(done)
        for optimiser, rates in zip(self.recipe.optimisers, self._base, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def state(self) -> bytes:
        """Everything that ``run`` goes on from."""
        tensors = {f"network/{n}": t for n, t in unique_state(self.recipe.network).items()}
        tensors |= {f"best/{n}": t for n, t in (self._best or {}).items()}
        moments, plain = optimiser_tensors(self.recipe.optimisers)
        outcome = self.outcome
        notes = {
            "identity": self.identity, "steps": outcome.steps, "history": outcome.history, "chosen": outcome.chosen,
            "stopped": outcome.stopped, "optimisers": plain, "scaler": self._scaler.state_dict(),
        }  # fmt: skip
        return pack(tensors | moments, notes)

    def _read(self, state: bytes) -> None:
        tensors, notes = unpack(state)
        if notes["identity"] != self.identity:
            raise TrainingError(
                "the checkpoint belongs to another training (other options, seed, data or source weights); "
                "delete it to begin anew"
            )
        restore(self.recipe.network, below(tensors, "network"), "the checkpoint")
        self._good = snapshot(self.recipe.network)
        restore_optimisers(self.recipe.optimisers, tensors, notes["optimisers"])
        self._scaler.load_state_dict(notes["scaler"])
        self._best = below(tensors, "best") or None
        self.outcome = Outcome(notes["steps"], notes["history"], notes["stopped"], notes["chosen"])


def _counted(batches: Iterable[Any]) -> Iterator[tuple[int, Any, int]]:
    """(number, batch, count); the batches are asked for one by one where they know their number."""
    if not hasattr(batches, "__len__"):
        batches = list(batches)
    count = len(batches)  # type: ignore[arg-type]
    return ((number, batch, count) for number, batch in enumerate(batches))


@torch.no_grad()
def ema_update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * network, parameters; buffers are copied."""
    for mean, new in zip(average.parameters(), network.parameters(), strict=True):
        mean.mul_(decay).add_(new.detach(), alpha=1 - decay)
    for mean, new in zip(average.buffers(), network.buffers(), strict=True):
        mean.copy_(new)


def shuffled(examples: Sequence[Any], seed: int, epoch: int) -> list[int]:
    """The numbers of all examples in an order that depends on (seed, epoch) alone.

    Examples that have ``expect(numbers)`` are told it, so that they can be read before they are asked for.
    """
    order: list[int] = (
        np.random.default_rng(seed_of(seed, "order", epoch)).permutation(len(examples)).tolist()
    )
    expect = getattr(examples, "expect", None)
    if expect is not None:
        expect(order)
    return order


def seed_of(*parts: Any) -> int:
    """63 bits from numbers and text."""
    entropy = [
        part if isinstance(part, int) else int.from_bytes(str(part).encode(), "little") for part in parts
    ]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(device: torch.device, *parts: Any) -> Iterator[None]:
    """While inside, PyTorch's global generators are those of ``parts``; then they are what they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(*parts))
        yield
