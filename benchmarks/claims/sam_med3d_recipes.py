"""The same click-simulated training for a 3D network on whole phantoms and for a 2D one on their axial slices.

Both take ``steps`` steps an epoch, each on examples drawn with replacement, so that two trainings are equal in steps and, by
``batch_size``, in voxels. Loss, clicks, optimiser and schedule are those of ``medeval train sam-med3d``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from medeval.types import PluginError
from medeval_adapters.rgb import to_rgb
from medeval_adapters.slicewise_planes import Planes
from medeval_adapters.train_sam_med3d import TrainSAMMed3D
from medeval_adapters.training_recipe import Told
from medeval_models import sam_med2d
from medeval_models.sam_med3d.patches import normalise
from medeval_models.sam_med3d.training import ClickRecipe, Example
from medeval_models.training import seed_of


class VolumeClicks(ClickRecipe):
    """``ClickRecipe`` on batches drawn with replacement."""

    steps: int
    drawn_by: int

    def batches(self, epoch: int) -> list[list[int]]:
        """``steps`` batches."""
        rng = np.random.default_rng(seed_of(self.drawn_by, "draw", epoch))
        return rng.integers(0, len(self._examples), (self.steps, self._batch_size)).tolist()


class SliceClicks(VolumeClicks):
    """The same in 2D, images as the ``sam`` adapter shows them to the network."""

    def images(self, patches: Tensor) -> Tensor:
        """(B, rows, columns) in 0..255 -> three normalised channels."""
        return self.network.normalise(patches[:, None].expand(-1, 3, -1, -1))

    def coordinates(self, voxels: Tensor) -> Tensor:
        """row, column -> x, y."""
        return voxels.flip(-1).float()

    def opening(self, masks: Tensor) -> Tensor | None:
        """A first click comes without a mask, as the ``sam`` adapter asks."""
        return None


class TrainVolumes(TrainSAMMed3D):
    """SAM-Med3D's training on whole phantoms, which are as large as the network's cube."""

    steps: int = Field(100, ge=1, description="Steps an epoch.")

    def build_recipe(self, network: Any, device: Any, base: Path | None, tell: Told) -> Any:
        """See ``TrainingRecipe``."""
        return self._clicks(VolumeClicks, network, self._volumes(base), device)

    def _volumes(self, base: Path | None) -> list[Example]:
        dataset = self.open_dataset(base)
        made = []
        for case_id in dataset.index.ids:
            case = dataset.read(case_id)
            image = torch.from_numpy(normalise(case.inputs["image"].array[0]))
            structures = case.reference["structures"]
            made += [Example(image, torch.from_numpy(structures.mask(name))) for name in structures.present()]
        return made

    def _clicks(
        self, kind: type[VolumeClicks], network: Any, examples: Sequence[Example], device: Any
    ) -> VolumeClicks:
        made = kind(
            network, examples, batch_size=self.batch_size, accumulate=1, clicks=self.clicks, rule=self.rule, feed=self.feed,
            refine=self.refine, learning_rate=self.learning_rate or 1e-3, decoder_rate=self.decoder_rate,
            weight_decay=self.weight_decay, milestones=self.milestones, flip=self.flip, seed=self.seed, device=device,
        )  # fmt: skip
        made.steps, made.drawn_by = self.steps, self.seed
        return made


class TrainSlices(TrainVolumes):
    """The same for a 2D SAM on every axial slice that holds a target, turned as ``slicewise`` turns them."""

    def build_network(self, base: Path | None) -> Any:
        """A 2D network with random weights."""
        try:
            return sam_med2d.build(**self.sizes)
        except (TypeError, ValueError) as error:
            raise PluginError(f"sizes: {error}") from error

    def build_recipe(self, network: Any, device: Any, base: Path | None, tell: Told) -> Any:
        """See ``TrainingRecipe``."""
        dataset = self.open_dataset(base)
        made = []
        for case_id in dataset.index.ids:
            case = dataset.read(case_id)
            planes = Planes.of(case.inputs["image"].grid, "axial")
            for name in case.reference["structures"].present():
                made += list(_slices(planes, case.inputs["image"], case.reference["structures"].mask(name)))
        return self._clicks(SliceClicks, network, made, device)


def _slices(planes: Planes, image: Any, mask: np.ndarray) -> list[Example]:
    touched = np.flatnonzero(mask.any(axis=(0, 1))).tolist()
    pictures = [to_rgb(planes.image(image, index))[..., 0].astype(np.float32) for index in touched]
    cuts = [np.ascontiguousarray(planes.cut(mask, index)) for index in touched]
    return [
        Example(torch.from_numpy(picture), torch.from_numpy(cut))
        for picture, cut in zip(pictures, cuts, strict=True)
    ]
