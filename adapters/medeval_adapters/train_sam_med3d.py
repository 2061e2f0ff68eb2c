"""``medeval train sam-med3d``: volumes of any medeval dataset in, weights that the ``sam-med3d`` adapter loads out."""

# No `from __future__ import annotations`: the fields' types are read as they are.

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from medeval.types import PluginError
from medeval_adapters.sam_med3d_targets import Targets
from medeval_adapters.training_recipe import Told, TrainingRecipe

FROM_SCRATCH, FINE_TUNING = 8e-4, 8e-5


class TrainSAMMed3D(TrainingRecipe):
    """The paper's click-simulated training, and with a ``checkpoint`` its fine-tuning: ``medeval_models.sam_med3d.training``.

    Every structure of every case is a target of its own: a patch at 1.5 mm around its box, as the official crop. Defaults are
    the official script's but for two quirks, which only ``as_released`` repeats, for inference does neither: a batch is
    z-scored as one, and CT is cut to -1000..1000 HU. Fine-tuning there has ``batch_size: 2`` and rate 8e-5.
    """

    description: ClassVar[str] = (
        "SAM-Med3D's click-simulated training on volumes, from scratch or fine-tuning"
    )

    checkpoint: Path | None = Field(
        None, description="Weights to begin from, as sam_med3d_turbo.pth; unset: random."
    )
    sizes: dict[str, Any] = Field(
        default_factory=dict,
        description="Sizes of a random network, as `medeval_models.sam_med3d.build` takes them.",
    )
    epochs: int = Field(200, ge=1, description="Passes over the targets.")
    batch_size: int = Field(12, ge=1, description="Targets a batch.")
    accumulate: int = Field(20, ge=1, description="Batches whose gradients make one step.")
    clicks: int = Field(
        11, ge=1, description="Decoder steps a batch, the last and one random one without a click."
    )
    rule: Literal["random", "ritm"] = Field("random", description="Of the simulated clicks.")
    feed: Literal["newest", "all"] = Field("newest", description="Clicks that the decoder sees.")
    refine: bool = Field(True, description="Two of the steps by the mask prompt alone.")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Of the image encoder; unset: 8e-4, from a checkpoint 8e-5."
    )
    decoder_rate: float = Field(0.1, gt=0, description="The other parts' rate, as a part of it.")
    weight_decay: float = Field(0.1, ge=0)
    milestones: tuple[float, ...] = Field(
        (0.6, 0.9), description="Shares of a cycle after which the rate is a tenth."
    )
    cycles: int = Field(1, ge=1, description="How often the rate begins anew; the paper's first stage has 4.")
    flip: bool = Field(True, description="Flip each axis with probability 1/2.")
    min_voxels: int = Field(
        1000, ge=1, description="Leave out targets of fewer voxels in their patch (1.5 mm: 3.4 ml)."
    )
    channel: int | None = Field(None, ge=0, description="Of volumes with several.")
    as_released: bool = Field(False, description="Repeat what only the official training does, see above.")
    memory: float = Field(
        4.0, ge=0, description="GiB of cut patches that are kept instead of being read again."
    )

    def build_network(self, base: Path | None) -> Any:
        """See ``TrainingRecipe``."""
        from medeval_adapters.sam_med3d import load_network
        from medeval_models import sam_med3d

        if self.checkpoint is not None:
            if set(self.sizes) - {"decoder_num_heads"}:
                raise PluginError(
                    "sizes: a checkpoint has its own; only decoder_num_heads cannot be read from it"
                )
            return load_network(self.checkpoint, **self.sizes)
        try:
            return sam_med3d.build(**self.sizes)
        except (TypeError, ValueError) as error:
            raise PluginError(f"sizes: {error}") from error

    def build_recipe(self, network: Any, device: Any, base: Path | None, tell: Told) -> Any:
        """See ``TrainingRecipe``."""
        from medeval_models.sam_med3d.training import ClickRecipe

        targets = Targets.of(
            self.open_dataset(base), network.image_size, channel=self.channel, min_voxels=self.min_voxels,
            as_released=self.as_released, memory=int(self.memory * 2**30),
        )  # fmt: skip
        self.need_some(targets, f"no structure of at least {self.min_voxels} voxels at 1.5 mm")
        tell(f"{len(targets)} targets; {targets.dropped} smaller, or without intensities, left out")
        rate = self.learning_rate or (FINE_TUNING if self.checkpoint else FROM_SCRATCH)
        return ClickRecipe(
            network, targets, batch_size=self.batch_size, accumulate=self.accumulate, clicks=self.clicks, rule=self.rule,
            feed=self.feed, refine=self.refine, learning_rate=rate, decoder_rate=self.decoder_rate,
            weight_decay=self.weight_decay, milestones=self.milestones, cycles=self.cycles, flip=self.flip,
            standardise=self.as_released, seed=self.seed, device=device,
        )  # fmt: skip
