"""Twenty-four pictures of noisy disks, one a patient, drawn on the spot: a stand-in for your own test set."""

import numpy as np

from medeval.datasets.base import Dataset
from medeval.types import CaseInfo, Grid, Image, MaskStack

SIZE = 64


class Disks(Dataset):
    patients: int = 24

    def scan(self):
        return [
            CaseInfo(f"p{number:02d}", patient=f"p{number:02d}", structures=("disk",))
            for number in range(self.patients)
        ]

    def sources(self, case_id):
        return {}

    def reading(self, case_id):
        return "drawn by data.py, version 1"

    def read(self, case_id, fields=("inputs", "reference")):
        generator = np.random.default_rng(int(case_id[1:]))
        centre, radius = generator.uniform(24, 40, 2), generator.uniform(9, 16)
        truth = np.hypot(*(np.indices((SIZE, SIZE)) - centre[:, None, None])) < radius
        array = (truth + generator.normal(0, 0.15, truth.shape)).astype(np.float32)[None]
        grid = Grid(truth.shape, (1.0, 1.0), unit="px")
        inputs = {"image": Image(array, grid)} if "inputs" in fields else {}
        reference = {"structures": MaskStack({"disk": truth}, grid.shape)} if "reference" in fields else {}
        return self.case(case_id, inputs, reference)
