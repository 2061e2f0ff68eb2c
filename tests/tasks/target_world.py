"""A source network that has seen dark pictures, target pictures of another look, and suites of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image as Pil

import medeval

SIZES = {"ft_chns": [4, 8, 16, 32, 64], "n_classes": 3, "dropout_p": [0.0, 0.1]}
LABELS = {"background": 0, "disk": 1, "bar": 2}
UPL = {"method": "upl-sfda", "epochs": 2, "lr": 1e-3, "threshold": 0.4, "slices": None}


def trained_source(path: Path) -> Path:
    """A source network that has seen dark pictures with bright structures; trained for a few steps."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from medeval_models.upl_sfda import build_source

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build_source(**SIZES).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(40):
        pairs = [picture(100 + 4 * step + n, shift=0) for n in range(4)]
        x = torch.stack([torch.from_numpy(_scaled(image)) for image, _ in pairs])[:, None]
        y = torch.stack([torch.from_numpy(label).long() for _, label in pairs])
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    torch.save(model.state_dict(), path)
    return path


def _scaled(image):
    low, high = np.percentile(image.astype(np.float32), (1, 99))
    return (2 * (np.clip(image, low, high) - low) / (high - low) - 1).astype(np.float32)


def picture(number, shift):
    """(image, labels) of 32 x 32; shift: how much noise and haze the target domain adds."""
    rng = np.random.default_rng([number, shift])
    rows, columns = np.mgrid[:32, :32]
    labels = np.zeros((32, 32), np.uint8)
    labels[(rows - rng.integers(8, 12)) ** 2 + (columns - rng.integers(8, 20)) ** 2 <= 25] = 1
    labels[22:27, 5 : rng.integers(16, 28)] = 2
    image = np.choose(labels, [60, 140, 220]) + rng.normal(0, 6 + 20 * shift, labels.shape)
    image = image + shift * 60 * columns / 32
    return np.clip(image, 0, 255).astype(np.uint8), labels


def folder_of(root, count, first, shift=1, patients=3):
    for sub in ("images", "masks"):
        (root / sub).mkdir(parents=True)
    for n in range(count):
        image, labels = picture(first + n, shift)
        Pil.fromarray(image).save(root / "images" / f"p{n % patients}-c{n:02d}.png")
        Pil.fromarray(labels).save(root / "masks" / f"p{n % patients}-c{n:02d}.png")
    return {"format": "image-mask-folder", "root": root.name, "labels": LABELS, "patient_id": "^p[0-9]+"}


class World:
    """Source network, target training and test pictures, and suites of them."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.folder = folder
        self.datasets = {
            "train": folder_of(folder / "train", 4, 0),
            "test": folder_of(folder / "test", 6, 50),
        }
        self.model = {
            "adapter": "torch-segmenter",
            "builder": "medeval_models.upl_sfda:build_source",
            "arguments": SIZES,
            "checkpoint": str(checkpoint),
            "device": "cpu",
        }

    def task(self, **changes):
        entry = {
            "task": "domain-adaptation",
            "target": "train",
            "datasets": ["test"],
            "adaptations": ["ptbn", "tent"],
            "metrics": ["dice", "assd"],
            **changes,
        }
        return {key: value for key, value in entry.items() if value is not None}

    def suite(self, **changes):
        parts = {
            "name": "sfda",
            "datasets": self.datasets,
            "models": {"net": self.model},
            "tasks": [self.task()],
        }
        path = self.folder / "suite.yaml"
        path.write_text(yaml.safe_dump({**parts, **changes}, sort_keys=False))
        return path

    def run(self, out="run", **task):
        return medeval.run(self.suite(tasks=[self.task(**task)]), self.folder / out)

    def artifacts(self, out="run"):
        """Arm facts and bytes of weights, in order of name of the artifact."""
        found = [
            p for p in sorted((self.folder / out / "artifacts").iterdir()) if (p / "adaptation.json").exists()
        ]
        return [(json.loads((p / "adaptation.json").read_text()), p) for p in found]

    def weights(self, out="run"):
        return sorted(
            path.read_bytes() for _, folder in self.artifacts(out) for path in folder.glob("*.safetensors")
        )


def records_of(run: Any) -> pd.DataFrame:
    """The run's records by arm and case."""
    paths = sorted((run.path / "records").glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in paths]).sort_values(
        ["arm", "case"], ignore_index=True
    )
