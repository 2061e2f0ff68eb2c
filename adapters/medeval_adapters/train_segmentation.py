"""``medeval train segmentation``: a labelled dataset of medeval in, weights that the ``torch-segmenter`` adapter loads out."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from medeval.plugins import resolve
from medeval.types import DataError, PluginError
from medeval_adapters.image_tensors import Intensity, Placement, scaled
from medeval_adapters.torch_segmenter import class_numbers, dimensions_of
from medeval_adapters.training_recipe import Told, TrainingRecipe


class TrainSegmentation(TrainingRecipe):
    """Supervised training of any segmentation network (see ``medeval_models.upl_sfda.training``).

    Options of images and of the network are those of ``torch-segmenter``: what was trained is loaded with the same.
    """

    description: ClassVar[str] = (
        "supervised training of a segmentation network, such as a source model to be adapted"
    )

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

    def build_recipe(self, network: Any, device: Any, base: Path | None, tell: Told) -> Any:
        """See ``TrainingRecipe``."""
        from medeval_models.upl_sfda.training import SegmentationRecipe

        images, labels = self._examples(network, base)
        self.need_some(images, "no case")
        tell(f"{len(images)} examples")
        return SegmentationRecipe(
            network, images, labels, epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate,
            loss=self.loss, rotate=self.rotate, strength=self.strength, patch=self.patch, ema=self.ema, decay=self.decay,
            decay_every=self.decay_every, seed=self.seed, device=device,
        )  # fmt: skip

    def trained(self, recipe: Any) -> Any:
        """The moving average, where one is kept."""
        return recipe.trained

    def build_network(self, base: Path | None) -> Any:
        """What ``builder`` gives, with its initial weights."""
        from medeval_models.upl_sfda.training import initialise

        try:
            network = resolve("medeval.networks", self.builder, base)(**self.arguments)
        except (TypeError, ValueError) as error:
            raise PluginError(f"arguments: {self.builder} cannot be built: {error}") from error
        return initialise(network) if self.initial == "official" else network

    def _examples(self, network: Any, base: Path | None) -> tuple[list[Any], list[Any]]:
        """Images and labels, one example each: a volume's slices are examples of their own for a 2D network."""
        dataset = self.open_dataset(base)
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
