"""What SAM-Med3D is trained on: a patch at 1.5 mm around each structure of each case, cut when its turn comes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.base import Dataset
from medeval.types import Case, DataError
from medeval_adapters.lazy_examples import LazyExamples
from medeval_adapters.sam_med3d_volume import Begin, Volume, open_volume

if TYPE_CHECKING:
    from medeval_models.sam_med3d.training import Example

VOLUMES = 2
"""Targets that are cut ahead: a whole volume is read for each."""
_CT_RANGE = (-1000.0, 1000.0)
_log = logging.getLogger(__name__)


class Targets(LazyExamples["Example"]):
    """(case, structure, first voxel of its patch) of every target; an item is read from the dataset unless it is kept.

    memory: bytes of patches that are kept. dropped: structures that were too small or could not be normalised.
    """

    def __init__(
        self, dataset: Dataset, size: int, channel: int | None = None, min_voxels: int = 1000, as_released: bool = False,
        memory: int = 2**32,
    ) -> None:  # fmt: skip
        super().__init__(self._read, _bytes, memory, ahead=VOLUMES)
        self.dataset, self.size, self.channel = dataset, size, channel
        self.min_voxels, self.as_released = min_voxels, as_released
        self.dropped = 0
        self._where: list[tuple[str, str, Begin]] = []

    @classmethod
    def of(cls, dataset: Dataset, size: int, **options: Any) -> Targets:
        """All targets of a dataset; each case is read once. Raises ``DataError`` for one that cannot be read."""
        made = cls(dataset, size, **options)
        for case_id in dataset.index.ids:
            case = dataset.read(case_id)
            volume = made._open(case)
            for name in case.reference["structures"].present():
                begin = _around(volume, case.reference["structures"].mask(name))
                example = made._cut(volume, case, name, begin)
                if example is None:
                    made.dropped += 1
                    continue
                made._where.append((case_id, name, begin))
                made.append(example)
        return made

    def _read(self, number: int) -> Example:
        case_id, name, begin = self._where[number]
        case = self.dataset.read(case_id)
        example = self._cut(self._open(case), case, name, begin)
        if example is None:
            raise DataError(f"case {case_id!r}: {name} is no longer what it was when the training began")
        return example

    def _open(self, case: Case) -> Volume:
        try:
            return open_volume(case.inputs["image"], self.size, self.channel)
        except DataError as error:
            raise DataError(f"case {case.id!r}: {error}") from error

    def _cut(self, volume: Volume, case: Case, name: str, begin: Begin) -> Example | None:
        """None for a target that is too small, or whose patch has no intensities to be normalised by."""
        import torch

        from medeval_models.sam_med3d.patches import FlatPatch
        from medeval_models.sam_med3d.training import Example

        mask = case.reference["structures"].mask(name)
        target = volume.grid.labels(mask, begin, (self.size,) * 3)
        if np.count_nonzero(target) < self.min_voxels:
            return None
        try:
            image = volume.patch(begin)
        except FlatPatch as error:
            _log.info("case %s: %s left out: %s", case.id, name, error)
            return None
        if self.as_released:
            image = _as_released(volume, begin, str(case.metadata.get("modality", "")))
        return Example(torch.from_numpy(image), torch.from_numpy(target))


def _bytes(example: Example) -> int:
    return example.image.nbytes + example.target.nbytes


def _around(volume: Volume, mask: NDArray[np.bool_]) -> Begin:
    from medeval_models.sam_med3d.patches import crop_begin

    sides = [np.flatnonzero(mask.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    box = np.array([[side[0] for side in sides], [side[-1] + 1 for side in sides]])
    return crop_begin(volume.grid.box(box), volume.size)


def _as_released(volume: Volume, begin: Begin, modality: str) -> NDArray[np.float32]:
    """The patch as it is stored, CT within ``_CT_RANGE``: the batch is normalised as one."""
    raw = volume.cut(begin).astype(np.float32)
    return np.clip(raw, *_CT_RANGE) if modality.lower() == "ct" else raw
