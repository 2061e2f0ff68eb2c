"""``medeval train segmentation``: a labelled dataset of medeval in, weights that the ``torch-segmenter`` adapter loads out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from medeval.datasets.base import Dataset
from medeval.plugins import build, resolve
from medeval.types import DataError, PluginError
from medeval_adapters.image_tensors import Intensity, Placement, scaled
from medeval_adapters.torch_common import Device, Precision, import_torch, pick_device, pick_precision
from medeval_adapters.torch_segmenter import class_numbers, dimensions_of

Told = Callable[[str], None]


class TrainSegmentation(BaseModel):
    """Supervised training of any segmentation network (see ``medeval_models.upl_sfda.training``); resumes from its folder.

    Options of images and of the network are those of ``torch-segmenter``: what was trained is loaded with the same.
    Leaves ``weights.safetensors``, ``last.safetensors`` (to go on from) and ``history.json``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: ClassVar[str] = (
        "supervised training of a segmentation network, such as a source model to be adapted"
    )

    dataset: dict[str, Any] = Field(description="A suite's dataset entry: {format: nnunet, root: ...}.")
    builder: str = Field(
        "medeval_models.upl_sfda:build_source", description="Class or function that builds it."
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="What the builder is called with.")
    classes: tuple[str, ...] | None = Field(
        None, description="Names of the output channels, background first."
    )
    initial: Literal["official", "default"] = Field(
        "default", description="Random weights: PyTorch's, or normal(0, 0.02) as the paper's code."
    )
    intensity: Intensity = "percentiles"
    scale: tuple[float, float] = (-1.0, 1.0)
    window: tuple[float, float] | None = None
    channels: tuple[int, ...] | None = None
    slice_axis: Annotated[int, Field(ge=0, le=2)] = 2
    size: tuple[int, ...] | None = None
    divisible_by: Annotated[int, Field(ge=1)] = 16
    epochs: int = Field(400, ge=1)
    batch_size: int = Field(
        4, ge=1, description="Examples a step: slices for a 2D network, volumes for a 3D one."
    )
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    loss: Literal["dice", "dice+ce"] = "dice"
    rotate: bool = Field(True, description="Turn each batch by random quarters.")
    strength: float = Field(0.0, ge=0, description="Of photometric augmentation; 0: none.")
    patch: tuple[int, ...] | None = Field(None, description="Size of a random crop.")
    ema: float | None = Field(None, ge=0, lt=1, description="Decay of a moving average of the weights.")
    decay: float = Field(
        0.9, gt=0, le=1, description="The rate is multiplied by it every `decay_every` epochs."
    )
    decay_every: int = Field(4, ge=1)
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "fp32"

    def run(self, out: Path, tell: Told, base: Path | None = None) -> Path:
        """Train; returns the file of the weights. Raises ``PluginError`` or ``DataError`` before the first step."""
        torch = import_torch()
        from safetensors.torch import save_file

        from medeval_models.training import FileCheckpoint, Progress, Trainer, seeded
        from medeval_models.upl_sfda.training import SegmentationRecipe

        device = pick_device(self.device)
        with seeded(torch.device("cpu"), self.seed, "weights"):
            network = self._network(base)
        images, labels = self._examples(network, base)
        tell(f"{len(images)} examples")
        recipe = SegmentationRecipe(
            network, images, labels, epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate,
            loss=self.loss, rotate=self.rotate, strength=self.strength, patch=self.patch, ema=self.ema, decay=self.decay,
            decay_every=self.decay_every, seed=self.seed, device=device,
        )  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        identity = json.dumps(self.model_dump(mode="json", exclude={"device"}), sort_keys=True)
        trainer = Trainer(recipe, self.epochs, self.seed, identity, pick_precision(self.precision, device))

        def progress(told: Progress) -> None:
            terms = ", ".join(f"{name} {value:.4f}" for name, value in told.terms.items())
            tell(f"epoch {told.epoch + 1}/{told.epochs}, step {told.step}: {terms}")

        outcome = trainer.run(FileCheckpoint(out / "last.safetensors"), progress)
        (out / "history.json").write_text(json.dumps(outcome.history, indent=1), encoding="utf-8")
        weights = out / "weights.safetensors"
        state = recipe.trained.state_dict()
        save_file(
            {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}, weights
        )
        tell(outcome.stopped or f"{outcome.steps} steps done: {weights}")
        return weights

    def _network(self, base: Path | None) -> Any:
        from medeval_models.upl_sfda.training import initialise

        try:
            network = resolve("medeval.networks", self.builder, base)(**self.arguments)
        except (TypeError, ValueError) as error:
            raise PluginError(f"arguments: {self.builder} cannot be built: {error}") from error
        return initialise(network) if self.initial == "official" else network

    def _examples(self, network: Any, base: Path | None) -> tuple[list[Any], list[Any]]:
        """Images and labels, one example each: a volume's slices are examples of their own for a 2D network."""
        options = dict(self.dataset)
        name = options.pop("format", None)
        if not isinstance(name, str):
            raise PluginError("dataset: give `format:` and its options, as in a suite")
        dataset: Dataset = build(resolve("medeval.datasets", name, base), options, base)
        dimensions = dimensions_of(network, self.size)
        images: list[Any] = []
        labels: list[Any] = []
        for case_id in dataset.index.ids:
            case = dataset.read(case_id)
            image, structures = case.inputs["image"], case.reference["structures"]
            placement = Placement.of(
                image.grid.shape, dimensions, self.slice_axis, self.size, self.divisible_by
            )
            try:
                array = scaled(image, self.channels, self.window, self.intensity, self.scale)
            except DataError as error:
                raise DataError(f"case {case_id!r}: {error}") from error
            images += placement.image(array).split(1)
            labels += placement.label(class_numbers(structures, self.classes)).split(1)
        return images, labels
