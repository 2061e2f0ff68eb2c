"""A small world for whole runs: pictures of 24 x 24 pixels, a model in a file, the command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

SIZE = 24

MODEL = '''
import os, signal, time
import numpy as np
from medeval.types import Capabilities, Segmentation

count = 0

def called(what):
    """Notes the call; kills the process at the call that KILL_AT names."""
    global count
    count += 1
    if os.environ.get("CALLS"):
        with open(os.environ["CALLS"], "a") as file:
            file.write(what + "\\n")
    if count == int(os.environ.get("KILL_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)

class Model:
    """Voxels as bright as the middle of the prompt. Pixel (0, 0) of an image is the case's number."""
    takes = Capabilities(prompts=frozenset({"box", "points"}))
    def __init__(self, tolerance: float = 30.0, does: str = "", at: int = -1) -> None:
        called("build")
        if does == "not built":
            raise ValueError("no weights here")
        if does == "dies when built":
            os.kill(os.getpid(), signal.SIGSEGV)
        self.tolerance, self.does, self.at = tolerance, does, at
    def encode(self, image):
        self.case = int(image.array.flat[0])
        called(f"encode {self.case}")
        if self.does == "encode raises" and self.case == self.at:
            raise ValueError("cannot encode")
        return image.array[0].astype(float)
    def segment(self, encoded, prompts):
        called(f"segment {len(prompts)}")
        if self.case == self.at:
            self.misbehave()
        masks = [self.mask(encoded, prompt) for prompt in prompts]
        if self.case == self.at:
            return self.spoiled(masks)
        return [Segmentation(mask, score=0.5) for mask in masks]
    def mask(self, image, prompt):
        inside = np.zeros(image.shape, bool)
        if prompt.box is not None:
            inside[tuple(slice(a, b) for a, b in prompt.box.T)] = True
            middle = np.median(image[inside])
        else:
            inside[...] = True
            middle = np.median(image[tuple(prompt.points[prompt.labels == 1].T)])
        return inside & (np.abs(image - middle) <= self.tolerance)
    def misbehave(self):
        if self.does == "raises":
            raise ValueError("boom")
        if self.does == "exits":
            raise SystemExit(3)
        if self.does == "memory":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        if self.does == "hangs":
            time.sleep(600)
        if self.does == "segfaults":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.does == "slow":
            time.sleep(0.3)
    def spoiled(self, masks):
        does = self.does
        if does == "shape":
            masks = [mask[:-1] for mask in masks]
        if does == "nan":
            masks = [np.full(mask.shape, np.nan) for mask in masks]
        if does == "floats":
            masks = [mask * 0.7 for mask in masks]
        if does == "integers":
            masks = [mask * 3 for mask in masks]
        if does == "first only":
            return [Segmentation(masks[0])]
        if does == "none":
            return None
        if does == "bare masks":
            return masks
        if does == "score":
            return [Segmentation(mask, score="high") for mask in masks]
        if does == "probabilities":
            return [Segmentation(mask, probabilities=mask * 2.0) for mask in masks]
        return [Segmentation(mask) for mask in masks]
'''


class Small:
    """A folder with data, a model and a suite; runs are below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "model.py").write_text(MODEL)

    def pictures(
        self, name: str = "data", cases: int = 6, patients: int = 3, seed: int = 0
    ) -> dict[str, Any]:
        """Writes pictures with a disk (1) and a bar (2; in even cases only) and gives the dataset's entry."""
        from PIL import Image as Pil

        root = self.folder / name
        for sub in ("images", "masks"):
            (root / sub).mkdir(parents=True, exist_ok=True)
        for number in range(cases):
            image, labels = picture(number, seed)
            stem = f"p{number % patients}-c{number:02d}"
            Pil.fromarray(image).save(root / "images" / f"{stem}.png")
            Pil.fromarray(labels).save(root / "masks" / f"{stem}.png")
        return {
            "format": "image-mask-folder",
            "root": name,
            "labels": {"background": 0, "disk": 1, "bar": 2},
            "patient_id": "^p[0-9]+",
        }

    def suite(self, name: str = "suite.yaml", **parts: Any) -> Path:
        """Writes a suite; what is not given: the pictures, the model, box and clicks."""
        data: dict[str, Any] = {
            "name": "small",
            "datasets": parts.pop("datasets", None) or {"pics": self.pictures()},
            "models": {"mine": {"adapter": "model.py:Model"}},
            "tasks": [self.task()],
            **parts,
        }
        path = self.folder / name
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    @staticmethod
    def task(**changes: Any) -> dict[str, Any]:
        """A prompted-segmentation entry."""
        return {
            "task": "prompted-segmentation",
            "prompts": ["box", "3 clicks"],
            "metrics": ["dice", "iou"],
            "by": ["structure"],
            **changes,
        }

    @staticmethod
    def model(**options: Any) -> dict[str, Any]:
        """A model's entry."""
        return {"adapter": "model.py:Model", **options}

    def run(
        self, suite: Path | str | Mapping[str, Any] = "suite.yaml", out: str = "run", **options: Any
    ) -> Any:
        """Run inside this process; no report unless asked."""
        import medeval
        from medeval.api import RunOptions

        path = self.folder / suite if isinstance(suite, str) else suite
        return medeval.run(path, self.folder / out, options=RunOptions(**{"report": False, **options}))

    def cli(self, *words: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        """``medeval WORDS`` as a process in the folder."""
        return subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment(**environment), text=True, capture_output=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    @staticmethod
    def command(*words: str) -> list[str]:
        """The command line of a process."""
        return [sys.executable, "-m", "medeval.cli", *words]

    def environment(self, **more: str) -> dict[str, str]:
        """This process's environment; calls are noted in ``calls.txt``."""
        return {**os.environ, "CALLS": str(self.folder / "calls.txt"), **more}

    def calls(self) -> list[str]:
        """What the model was asked so far."""
        path = self.folder / "calls.txt"
        return path.read_text().splitlines() if path.exists() else []

    def log(self, out: str = "run") -> list[dict[str, Any]]:
        """The events of a run's log."""
        return [json.loads(line) for line in (self.folder / out / "log.jsonl").read_text().splitlines()]

    def work(self, out: str = "run", since: int = 0) -> list[tuple[str, str, str, str]]:
        """(work, task, dataset, model) of each unit done, after the first ``since`` events of the log."""
        events = [event for event in self.log(out)[since:] if event["event"] == "unit"]
        return [(e["work"], e["task"], e["dataset"], e["model"]) for e in events]

    def parts(self, out: str = "run") -> dict[str, bytes]:
        """Records parts and summary.json as bytes."""
        folder = self.folder / out
        files = [*(folder / "records").iterdir(), folder / "summary.json"]
        return {path.name: path.read_bytes() for path in files}


def picture(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(image, labels) of one case, uint8; its number stands in pixel (0, 0)."""
    rng = np.random.default_rng([seed, number])
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = np.zeros((SIZE, SIZE), np.uint8)
    centre = rng.integers(6, 9, 2)
    labels[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= 16] = 1
    if number % 2 == 0:
        labels[15:20, 4:20] = 2
    image = np.choose(labels, [60, 140, 220]).astype(float) + rng.normal(0, 14, labels.shape)
    image = np.clip(image, 0, 255).astype(np.uint8)
    image[0, 0] = number % 256
    return image, labels


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """The small world in a folder of its own, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls.txt"))
    return Small(tmp_path)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the repository; tests that need it are skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not there")
    return folder


def scores(run: Any, **wanted: Any) -> Sequence[Mapping[str, Any]]:
    """Score rows of a run whose fields have these values."""
    return [row for row in run.summary()["scores"] if all(row.get(k) == v for k, v in wanted.items())]
