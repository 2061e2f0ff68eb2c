"""``medeval train sam-med2d``: a dataset of medeval in, weights that the ``sam-med2d`` adapter loads out."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from medeval.types import PluginError
from medeval_adapters.sam_med2d_examples import SquareCases, squares
from medeval_adapters.training_recipe import Told, TrainingRecipe


class TrainSAMMed2D(TrainingRecipe):
    """The paper's fine-tuning, see ``medeval_models.sam_med2d.training``; its weights are for ``adapter: sam-med2d``."""

    description: ClassVar[str] = (
        "SAM-Med2D's interactive fine-tuning of SAM's adapters, prompt encoder and decoder"
    )

    checkpoint: Path | None = Field(
        None, description="Weights to begin from: SAM's or SAM-Med2D's; unset: random."
    )
    sizes: dict[str, Any] = Field(
        default_factory=dict,
        description="Sizes of the network, as `medeval_models.sam_med2d.build` takes them.",
    )
    trainable: str = Field(
        "adapter", pattern="^(adapter|decoder|all)$", description="adapter, decoder (FT-SAM) or all."
    )
    as_released: bool = Field(False, description="Leave untrained what the released script leaves untrained.")
    epochs: int = Field(15, ge=1)
    batch_size: int = Field(2, ge=1, description="Images a batch.")
    masks: int = Field(5, ge=1, description="Masks an image, drawn with replacement.")
    clicks: int = Field(8, ge=0, description="Correction steps a batch.")
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    milestones: tuple[float, ...] = Field(
        (), description="Shares of the training after which the rate is halved."
    )
    min_pixels: int = Field(1, ge=1, description="Leave out masks that are smaller in the network's frame.")
    memory: float = Field(
        1.0, ge=0, description="GiB of prepared images that are kept instead of being read again."
    )

    beside: ClassVar[frozenset[str]] = TrainingRecipe.beside | {"memory"}

    def build_recipe(self, network: Any, device: Any, base: Path | None, tell: Told) -> Any:
        """See ``TrainingRecipe``."""
        from medeval_models.sam_med2d.training import InteractiveRecipe

        return InteractiveRecipe(
            network, self._examples(network, base, tell), batch_size=self.batch_size, masks=self.masks, clicks=self.clicks,
            learning_rate=self.learning_rate, trainable=self.trainable, as_released=self.as_released, seed=self.seed,  # type: ignore[arg-type]
            milestones=self.milestones, device=device,
        )  # fmt: skip

    def build_network(self, base: Path | None) -> Any:
        """Random weights, or a checkpoint's; adapter layers that it lacks begin at random."""
        from medeval_adapters.sam_base import load_network
        from medeval_models import sam_med2d

        if self.checkpoint is None:
            try:
                return sam_med2d.build(**self.sizes)
            except (TypeError, ValueError) as error:
                raise PluginError(f"sizes: {error}") from error
        adapted = self.trainable == "adapter"
        network = load_network(
            self.checkpoint,
            image_size=self.sizes.get("image_size"),
            decoder_num_heads=self.sizes.get("decoder_num_heads", 8),
        )
        has_adapters = any(".Adapter." in name for name, _ in network.named_parameters())
        return network if has_adapters or not adapted else self._with_fresh_adapters(network)

    def _with_fresh_adapters(self, network: Any) -> Any:
        """SAM's weights in a network with adapter layers, which begin at random."""
        from medeval_models import sam_med2d

        state = network.state_dict()
        adapted = sam_med2d.build(**{**sam_med2d.sizes_of(state), **self.sizes, "encoder_adapter": True})
        fresh = {name: tensor for name, tensor in adapted.state_dict().items() if ".Adapter." in name}
        adapted.load_state_dict({**state, **fresh})
        return adapted

    def _examples(self, network: Any, base: Path | None, tell: Told) -> Any:
        cases = SquareCases.of(self.open_dataset(base), network, self.min_pixels)
        found = squares(cases, int(self.memory * 2**30))
        self.need_some(found.examples, f"no mask of at least {self.min_pixels} pixels")
        tell(
            f"{len(found.examples)} images, {found.masks} masks; {found.dropped} masks below {self.min_pixels} pixels left out"
        )
        return found.examples
