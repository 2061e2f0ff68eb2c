"""Bugs, each as a mixin over shipped adapters of 2D images, of volumes, and of automatic segmentation.

``planted.py:WrongShapeOnRegionGrowing`` and so on; what they are built with is ``OPTIONS`` of the host.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medeval.types import Grid, Image
from medeval_adapters.region_growing import RegionGrowing
from medeval_adapters.slicewise import Slicewise
from medeval_adapters.torch_segmenter import TorchSegmenter


class Bug:
    """Nothing is wrong: what a bug changes of what the model sees, is asked and answers."""

    def before(self, image):
        return image

    def asked(self, prompts):
        return prompts

    def after(self, mask):
        return mask


class Prompted(Bug):
    def encode(self, image):
        return super().encode(self.before(image))

    def segment(self, encoded, prompts):
        answers = super().segment(encoded, self.asked(prompts))
        return [replace(answer, mask=self.after(answer.mask)) for answer in answers]


class Unprompted(Bug):
    def segment_image(self, image, structures):
        return self.after(super().segment_image(self.before(image), structures))


class WrongShape:
    def after(self, mask):
        return mask[:-1]


class MutatedInput:
    def before(self, image):
        image.array[:] = (image.array - image.array.mean()) / max(image.array.std(), 1e-6)
        return image


class HiddenState:
    """The last answer is added to the next one."""

    def after(self, mask):
        before = getattr(self, "_before", None)
        self._before = np.roll(mask, 3, axis=0)
        return mask if before is None or before.shape != mask.shape else mask | before


class Nondeterminism:
    def after(self, mask):
        return mask ^ (np.random.default_rng().random(mask.shape) < 0.05)


class FloatMask:
    def after(self, mask):
        return mask.astype(np.float32) * 0.7


class WrongAxisOrder:
    """(x, y) or (z, y, x) in the place of array order: of the prompts, or of the image where there are none."""

    def asked(self, prompts):
        def turned(array):
            return None if array is None else array[:, ::-1]

        return [replace(prompt, box=turned(prompt.box), points=turned(prompt.points)) for prompt in prompts]


class TurnedImage:
    def before(self, image):
        return Image(np.swapaxes(image.array, 1, -1), Grid(image.grid.shape[::-1], image.grid.spacing[::-1]))


class OffByOneResize:
    """Works at half the resolution and comes back to an even size."""

    def after(self, mask):
        for axis in range(mask.ndim):
            mask = np.repeat(mask.take(range(0, mask.shape[axis], 2), axis), 2, axis)
        return mask


class Device:
    type = "cuda"


class OnCuda:
    """What a CUDA tensor looks like to numpy code."""

    device = Device()

    def __init__(self, array):
        self._held = array

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self._held


class CudaTensor:
    def after(self, mask):
        return OnCuda(mask)


class EmptyPromptCrash:
    def asked(self, prompts):
        for prompt in prompts:
            next(given for given in (prompt.box, prompt.points, prompt.mask) if given is not None)[0]
        return prompts


class NoStructuresCrash:
    def segment_image(self, image, structures):
        self.label_of_first = structures[0]
        return super().segment_image(image, structures)


class MemoryLeak:
    def before(self, image):
        if not hasattr(self, "_seen"):
            self._seen = []
        self._seen.append(Image(image.array.copy(), image.grid))
        return image


WIDELY = {
    WrongShape: "answers", MutatedInput: "input untouched", HiddenState: "no hidden state", Nondeterminism: "determinism",
    FloatMask: "answers", WrongAxisOrder: "axis order", OffByOneResize: "odd sizes", CudaTensor: "device",
    EmptyPromptCrash: "empty prompts", MemoryLeak: "memory",
}  # fmt: skip
"""The ten bugs, and the check that is for each."""

AUTOMATICALLY = {
    WrongAxisOrder: (TurnedImage, "axis order"),
    EmptyPromptCrash: (NoStructuresCrash, "no structures"),
}
"""What stands for a bug where there are no prompts."""

HOSTS = {RegionGrowing: Prompted, Slicewise: Prompted, TorchSegmenter: Unprompted}
PROMPTED_2D = {"takes": replace(RegionGrowing.takes, dimensions=frozenset({2}))}


def plant(bug, host, **members):
    """The class of a host with a bug, for a reference by file."""
    name = f"{bug.__name__}On{host.__name__}"
    kept = {**(PROMPTED_2D if host is RegionGrowing else {}), **members}
    return type(name, (bug, HOSTS[host], host), {"__module__": __name__, **kept})


def ten():
    """(class, host, the check that finds it) of ten bugs in three hosts."""
    for bug, check in WIDELY.items():
        for host in HOSTS:
            planted, by = AUTOMATICALLY.get(bug, (bug, check)) if host is TorchSegmenter else (bug, check)
            yield plant(planted, host), host, by


CASES = list(ten())
CLEAN = [plant(type("Sound", (), {}), host) for host in HOSTS]
globals().update({made.__name__: made for made in [*(c for c, _, _ in CASES), *CLEAN]})
