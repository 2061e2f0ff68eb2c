"""Ten bugs, each as a mixin over any promptable adapter: ``planted.py:WrongShapeOnGeodesic`` and so on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medeval.types import Image, Segmentation
from medeval_adapters.floors import BoxAsMask
from medeval_adapters.geodesic import Geodesic
from medeval_adapters.region_growing import RegionGrowing


def changed(answers, function):
    return [Segmentation(function(answer.mask)) for answer in answers]


class WrongShape:
    def segment(self, encoded, prompts):
        return changed(super().segment(encoded, prompts), lambda mask: mask[:-1])


class MutatedInput:
    def encode(self, image):
        image.array[:] = image.array[..., ::-1].copy()
        return super().encode(image)


class HiddenState:
    """Every image's masks are added to the next one's."""

    def segment(self, encoded, prompts):
        before = getattr(self, "_before", None)
        answers = super().segment(encoded, prompts)
        masks = [answer.mask for answer in answers]
        if before is not None and masks and before.shape == masks[0].shape:
            answers = changed(answers, lambda mask: mask | before)
        if masks:
            self._before = np.roll(np.logical_or.reduce(masks), 3, axis=0)
        return answers


class Nondeterminism:
    def segment(self, encoded, prompts):
        generator = np.random.default_rng()
        return changed(super().segment(encoded, prompts), lambda m: m ^ (generator.random(m.shape) < 0.05))


class FloatMask:
    def segment(self, encoded, prompts):
        return changed(super().segment(encoded, prompts), lambda mask: mask.astype(np.float32) * 0.7)


class WrongAxisOrder:
    """Reads (x, y) where (row, column) was given."""

    def segment(self, encoded, prompts):
        turned = [
            replace(
                prompt,
                box=None if prompt.box is None else prompt.box[:, ::-1],
                points=None if prompt.points is None else prompt.points[:, ::-1],
            )
            for prompt in prompts
        ]
        return super().segment(encoded, turned)


class OffByOneResize:
    """Works at half the resolution and comes back to an even size."""

    def segment(self, encoded, prompts):
        def there_and_back(mask):
            for axis in range(mask.ndim):
                mask = np.repeat(mask.take(range(0, mask.shape[axis], 2), axis), 2, axis)
            return mask

        return changed(super().segment(encoded, prompts), there_and_back)


class Device:
    type = "cuda"


class OnCuda:
    """What a CUDA tensor looks like to numpy code."""

    device = Device()

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.array


class CudaTensor:
    def segment(self, encoded, prompts):
        return changed(super().segment(encoded, prompts), OnCuda)


class EmptyPromptCrash:
    def segment(self, encoded, prompts):
        for prompt in prompts:
            (prompt.points if prompt.box is None else prompt.box)[0]
        return super().segment(encoded, prompts)


class MemoryLeak:
    def encode(self, image):
        if not hasattr(self, "_seen"):
            self._seen = []
        self._seen.append(Image(image.array.copy(), image.grid))
        return super().encode(image)


BUGS = {
    WrongShape: "answers", MutatedInput: "input untouched", HiddenState: "no hidden state", Nondeterminism: "determinism",
    FloatMask: "answers", WrongAxisOrder: "axis order", OffByOneResize: "odd sizes", CudaTensor: "device",
    EmptyPromptCrash: "empty prompts", MemoryLeak: "memory",
}  # fmt: skip
HOSTS = (RegionGrowing, Geodesic, BoxAsMask)
CASES = [
    (f"{bug.__name__}On{host.__name__}", bug, host, check) for bug, check in BUGS.items() for host in HOSTS
]

for name, bug, host, _ in CASES:
    globals()[name] = type(
        name, (bug, host), {"__module__": __name__, "takes": replace(host.takes, dimensions=frozenset({2}))}
    )
