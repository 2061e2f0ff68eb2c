"""What every ``medeval train`` recipe shares: a dataset in, weights out, told as it goes, gone on with after any stop.

class TrainMine(TrainingRecipe):
    epochs: int = Field(10, ge=1)

    def build_network(self, base): ...                       # random weights or a checkpoint's, on the CPU
    def build_recipe(self, network, device, base, tell): ... # a medeval_models.training.Recipe
"""

# No `from __future__ import annotations`: subclasses in other modules inherit the fields' types as they are.

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from medeval.datasets.base import Dataset
from medeval.plugins import build, resolve
from medeval.types import DataError, PluginError, digest
from medeval_adapters.torch_common import Device, Precision, import_torch, pick_device, pick_precision

Told = Callable[[str], None]

_BAR = 20  # characters
_EVERY = 0.5  # seconds between two lines of progress at least


class TrainingRecipe(BaseModel, ABC):
    """Options and run of a recipe. Leaves three files in its folder.

    ``weights.safetensors``: the network's weights, for the adapter; whole or not there. ``last.safetensors``: what a stopped
    training goes on from, written after every epoch. ``history.json``: the mean of each loss, one entry an epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    beside: ClassVar[frozenset[str]] = frozenset({"device"})
    """Options that change how fast it goes and nothing that comes out: a kept state may have been made under others."""

    dataset: dict[str, Any] = Field(description="A suite's dataset entry: {format: sa-med2d, root: ...}.")
    epochs: int = Field(10, ge=1, description="Passes over the dataset.")
    seed: int = Field(0, description="Of everything random.")
    device: Device = "auto"
    precision: Precision = "fp32"

    @abstractmethod
    def build_network(self, base: Path | None) -> Any:
        """The network on the CPU, before training. Raises ``PluginError``. base: folder that relative paths begin at."""

    @abstractmethod
    def build_recipe(self, network: Any, device: Any, base: Path | None, tell: Told) -> Any:
        """The ``medeval_models.training.Recipe`` that trains it on ``device``, with its examples read."""

    def trained(self, recipe: Any) -> Any:
        """The module whose weights are kept; default: the recipe's network."""
        return recipe.network

    def run(self, out: Path, tell: Told, base: Path | None = None) -> Path:
        """Train into ``out``; returns the file of the weights.

        Raises ``PluginError`` or ``DataError`` before the first step, ``PluginError`` also for a folder that holds another
        training's state.
        """
        torch = import_torch()
        from medeval_models.training import FileCheckpoint, Trainer, TrainingError, seeded
        from medeval_models.training_state import digest_of

        device = pick_device(self.device)
        with seeded(torch.device("cpu"), self.seed, "weights"):
            network = self.build_network(base)
        begun_from = digest_of(network)
        try:
            recipe = self.build_recipe(network, device, base, tell)
        except ValueError as error:
            raise PluginError(f"options that do not go together: {error}") from error
        identity = self._identity(begun_from, self._contents(base))
        trainer = Trainer(recipe, self.epochs, self.seed, identity, pick_precision(self.precision, device))
        out.mkdir(parents=True, exist_ok=True)
        try:
            outcome = trainer.run(FileCheckpoint(out / "last.safetensors"), _teller(tell))
        except TrainingError as error:
            raise PluginError(f"{out / 'last.safetensors'}: {error}") from error
        (out / "history.json").write_text(json.dumps(outcome.history, indent=1), encoding="utf-8")
        weights = out / "weights.safetensors"
        _save(self.trained(recipe), weights)
        tell(outcome.stopped or f"{outcome.steps} steps done: {weights}")
        return weights

    def open_dataset(self, base: Path | None) -> Dataset:
        """The dataset that ``dataset`` names. Raises ``PluginError``, or ``DatasetError`` for one that cannot be opened."""
        options = dict(self.dataset)
        name = options.pop("format", None)
        if not isinstance(name, str):
            raise PluginError("dataset: give `format:` and its options, as in a suite")
        return build(resolve("medeval.datasets", name, base), options, base)

    def need_some(self, examples: Sequence[Any], wanted: str) -> None:
        """Raise ``DataError`` when there is nothing to train on."""
        if not len(examples):
            raise DataError(f"dataset {self.dataset['format']}: {wanted} to train on")

    def _contents(self, base: Path | None) -> str:
        """A hash of all that the dataset's cases hold."""
        dataset = self.open_dataset(base)
        return digest(*(part for info in dataset.index for part in (info.id, dataset.fingerprint(info.id))))

    def _identity(self, begun_from: str, contents: str) -> str:
        """What a kept state must agree with: options but those ``beside``, the data, the weights that training began from."""
        options = self.model_dump(mode="json", exclude=set(self.beside))
        return json.dumps({**options, "begun from": begun_from, "dataset holds": contents}, sort_keys=True)


def _teller(tell: Told) -> Callable[[Any], None]:
    """Lines of progress, a few a second: epoch, share done, losses of the last step."""
    last = float("-inf")

    def progress(told: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _EVERY and told.done < 1:
            return
        last = now
        full = int(told.done * _BAR)
        terms = ", ".join(f"{name} {value:.4f}" for name, value in told.terms.items())
        bar = "#" * full + "." * (_BAR - full)
        tell(f"[{bar}] {told.done:4.0%} epoch {told.epoch + 1}/{told.epochs}, step {told.step}: {terms}")

    return progress


def _save(network: Any, path: Path) -> None:
    """The state dict as safetensors, tensors that share memory one by one; beside first, then renamed."""
    from safetensors.torch import save_file

    state = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()
    }
    partial = path.with_name(f".{path.name}.partial")
    save_file(state, partial)
    partial.replace(path)
