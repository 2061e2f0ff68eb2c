"""A promptable model in one file: voxels in the box (or the image) as bright as the clicks, or as the box's median."""

import numpy as np

from medeval.types import Capabilities, Segmentation


class MyModel:
    takes = Capabilities(prompts=frozenset({"box", "points"}), dimensions=frozenset({2, 3}))

    def __init__(self, tolerance: float = 0.1):
        self.tolerance = tolerance

    def encode(self, image):  # once an image; array is (channel, row, column) or (channel, R, A, S)
        return image.array[0] / max(1e-9, float(image.array.max()))

    def segment(self, encoded, prompts):  # a batch: one Segmentation a prompt
        return [Segmentation(self.alike(encoded, prompt)) for prompt in prompts]

    def alike(self, image, prompt):
        inside = np.full(image.shape, prompt.box is None)
        if prompt.box is not None:  # half-open, array order; it may stick out of the image
            inside[tuple(slice(max(0, start), max(0, stop)) for start, stop in prompt.box.T)] = True
        on = () if prompt.points is None else image[tuple(prompt.points[prompt.labels == 1].T)]
        return inside & (np.abs(image - np.median(on if len(on) else image[inside])) < self.tolerance)
