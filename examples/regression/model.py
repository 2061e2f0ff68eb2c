"""The model that is guarded. Environment variables make it worse, so that the gate can be seen at work.

ERODE=1 erodes its masks by one voxel, NOISE_SEED=7 draws other noise, SLOWER=2 takes twice the time.
"""

import os
import time

import numpy as np

from medeval.types import Capabilities, Segmentation


class Thresholding:
    """Voxels in the box nearer to the box's brightest tenth than to its darkest; a little noise at the border."""

    takes = Capabilities(prompts=frozenset({"box"}), dimensions=frozenset({2}))

    def __init__(self) -> None:
        self.noise_seed = int(os.environ.get("NOISE_SEED", "0"))
        self.erode = os.environ.get("ERODE") == "1"
        self.seconds = 0.02 * float(os.environ.get("SLOWER", "1"))

    def encode(self, image):
        return image.array[0].astype(np.float32)

    def segment(self, encoded, prompts):
        time.sleep(self.seconds)  # a network's time, so that two speeds can be told apart
        return [Segmentation(self._mask(encoded, prompt)) for prompt in prompts]

    def _mask(self, image, prompt):
        from scipy import ndimage

        window = tuple(slice(start, stop) for start, stop in prompt.box.T)
        low, high = np.quantile(image[window], (0.1, 0.9))
        mask = np.zeros(image.shape, dtype=bool)
        mask[window] = image[window] > (low + high) / 2
        border = mask ^ ndimage.binary_erosion(mask)
        flips = np.random.default_rng([self.noise_seed, *prompt.box.ravel()]).random(image.shape) < 0.05
        mask[border & flips] = False
        return ndimage.binary_erosion(mask) if self.erode else mask
