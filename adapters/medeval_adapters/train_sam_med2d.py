"""``medeval train sam-med2d``: a dataset of medeval in, weights that the ``sam-med2d`` adapter loads out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medeval.datasets.base import Dataset
from medeval.plugins import build, resolve
from medeval.types import DataError, PluginError
from medeval_adapters.rgb import to_picture
from medeval_adapters.sam_frames import Frame
from medeval_adapters.torch_common import Device, Precision, import_torch, pick_device, pick_precision

Told = Callable[[str], None]


class TrainSAMMed2D(BaseModel):
    """The paper's fine-tuning (see ``medeval_models.sam_med2d.training``); resumes from its folder after any stop.

    Leaves ``weights.safetensors`` (for `adapter: sam-med2d`), ``last.safetensors`` (to go on from) and ``history.json``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: ClassVar[str] = (
        "SAM-Med2D's interactive fine-tuning of SAM's adapters, prompt encoder and decoder"
    )

    dataset: dict[str, Any] = Field(description="A suite's dataset entry: {format: sa-med2d, root: ...}.")
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
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "fp32"

    def run(self, out: Path, tell: Told, base: Path | None = None) -> Path:
        """Train; returns the file of the weights. Raises ``PluginError`` or ``DataError`` before the first step."""
        torch = import_torch()
        from safetensors.torch import save_file

        from medeval_models.sam_med2d.training import InteractiveRecipe
        from medeval_models.training import FileCheckpoint, Progress, Trainer, seeded

        device = pick_device(self.device)
        with seeded(torch.device("cpu"), self.seed, "weights"):
            network = self._network()
        examples = self._examples(network, base, tell)
        recipe = InteractiveRecipe(
            network, examples, batch_size=self.batch_size, masks=self.masks, clicks=self.clicks,
            learning_rate=self.learning_rate, trainable=self.trainable, as_released=self.as_released, seed=self.seed,  # type: ignore[arg-type]
            milestones=self.milestones, device=device,
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
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()},
            weights,
        )
        tell(outcome.stopped or f"{outcome.steps} steps done: {weights}")
        return weights

    def _network(self) -> Any:
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

    def _examples(self, network: Any, base: Path | None, tell: Told) -> list[Any]:
        options = dict(self.dataset)
        name = options.pop("format", None)
        if not isinstance(name, str):
            raise PluginError("dataset: give `format:` and its options, as in a suite")
        dataset: Dataset = build(resolve("medeval.datasets", name, base), options, base)
        examples, masks, dropped = [], 0, 0
        for case_id in dataset.index.ids:
            example, few = self._example(network, dataset, case_id)
            dropped += few
            if example is not None:
                examples.append(example)
                masks += len(example.masks)
        if not examples:
            raise DataError(f"dataset {name}: no mask of at least {self.min_pixels} pixels to train on")
        tell(
            f"{len(examples)} images, {masks} masks; {dropped} masks below {self.min_pixels} pixels left out"
        )
        return examples

    def _example(self, network: Any, dataset: Dataset, case_id: str) -> tuple[Any, int]:
        import torch

        from medeval_models.sam_med2d.training import Example, normalised

        case = dataset.read(case_id)
        rgb = to_picture(case.inputs["image"])
        frame = Frame.fit(rgb.shape[:2], network.image_size, "loader")
        image = frame.place(
            normalised(network, frame.resize(rgb)[..., ::-1])
        )  # BGR, as the released weights expect
        structures = case.reference["structures"]
        framed = [
            frame.place(torch.from_numpy(_resized(frame, structures.mask(n)))) for n in structures.present()
        ]
        kept = [mask for mask in framed if int(mask.sum()) >= self.min_pixels]
        return (Example(image, torch.stack(kept)) if kept else None), len(framed) - len(kept)


def _resized(frame: Frame, mask: np.ndarray) -> np.ndarray:
    """A mask as the frame's inner part, nearest pixel."""
    return np.ascontiguousarray(frame.resize(mask[..., None])[..., 0])
