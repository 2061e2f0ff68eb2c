"""What SAM-Med2D is trained on: each image in the network's square with its masks, read when its turn comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medeval.datasets.base import Dataset
from medeval.types import DataError
from medeval_adapters.lazy_examples import LazyExamples
from medeval_adapters.rgb import to_picture
from medeval_adapters.sam_frames import Frame

if TYPE_CHECKING:
    from torch import Tensor

    from medeval_models.sam_med2d.sam import Sam
    from medeval_models.sam_med2d.training import Example


@dataclass(eq=False)
class SquareCases:
    """Cases of a dataset as examples. mean, std: (3, 1, 1), on the CPU. min_pixels: smaller masks are left out."""

    dataset: Dataset
    side: int
    mean: Tensor
    std: Tensor
    min_pixels: int = 1

    @classmethod
    def of(cls, dataset: Dataset, network: Sam, min_pixels: int = 1) -> SquareCases:
        """As ``network`` takes them."""
        mean, std = (part.detach().cpu().clone() for part in (network.pixel_mean, network.pixel_std))
        return cls(dataset, network.image_size, mean, std, min_pixels)

    def read(self, case_id: str) -> tuple[Example | None, int]:
        """(the example or None without a mask, number of masks that are too small). Raises ``DataError``."""
        import torch

        from medeval_models.sam_med2d.training import Example

        case = self.dataset.read(case_id)
        rgb = to_picture(case.inputs["image"])
        frame = Frame.fit(rgb.shape[:2], self.side, "loader")
        image = frame.place(
            self._normalised(frame.resize(rgb)[..., ::-1])
        )  # BGR, as the released weights expect
        structures = case.reference["structures"]
        framed = [
            frame.place(torch.from_numpy(_resized(frame, structures.mask(n)))) for n in structures.present()
        ]
        kept = [mask for mask in framed if int(mask.sum()) >= self.min_pixels]
        return (Example(image, torch.stack(kept)) if kept else None), len(framed) - len(kept)

    def _normalised(self, rgb: np.ndarray) -> Tensor:
        import torch

        pixels = torch.from_numpy(np.moveaxis(np.asarray(rgb, dtype=np.float32), -1, 0).copy())
        return (pixels - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class Squares:
    """The images of a dataset that have masks. masks, dropped: counts of all masks, and of those that were too small."""

    examples: LazyExamples[Example]
    masks: int
    dropped: int


def squares(cases: SquareCases, memory: int) -> Squares:
    """Every case is read once, so that one that cannot be used is told before the training. Raises ``DataError``.

    memory: bytes of examples that are kept instead of being read again.
    """
    ids: list[str] = []

    def make(number: int) -> Example:
        example, _ = cases.read(ids[number])
        if example is None:
            raise DataError(
                f"case {ids[number]!r}: its masks are no longer what they were when the training began"
            )
        return example

    every = list(cases.dataset.index.ids)
    scanned = LazyExamples(lambda n: cases.read(every[n]), lambda _: 1, memory=0, count=len(every))
    scanned.expect(range(len(every)))
    found = LazyExamples(make, _bytes, memory)
    masks = dropped = 0
    for case_id, (example, few) in zip(every, scanned, strict=True):
        dropped += few
        if example is not None:
            ids.append(case_id)
            found.append(example)
            masks += len(example.masks)
    return Squares(found, masks, dropped)


def _bytes(example: Example) -> int:
    return example.image.nbytes + example.masks.nbytes


def _resized(frame: Frame, mask: np.ndarray) -> np.ndarray:
    """A mask as the frame's inner part, nearest pixel."""
    return np.ascontiguousarray(frame.resize(mask[..., None])[..., 0])
