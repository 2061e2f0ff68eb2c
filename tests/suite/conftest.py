"""A stranger's plug-ins, as an installed distribution brings them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_distribution import install

__all__ = ["install"]

PLUGINS = """
from __future__ import annotations
from pathlib import Path
from typing import Literal
from pydantic import BaseModel, ConfigDict, Field
from medeval.datasets.base import Dataset
from medeval.tasks.base import Task

class Folder(Dataset):
    root: Path = Field(description="where the images are")
    def scan(self): return []
    def read(self, case_id, fields=()): raise NotImplementedError
    def sources(self): return []

class Jitter(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sigma: float = 0.1

class Ask(Task):
    prompts: tuple[str, ...] = ("box",)
    jitter: Jitter | Literal["none"] = "none"
    train: str = ""
    def arms(self): return ("plain", "tuned") if self.train else ("",)
    def prepares_from(self): return (self.train,) if self.train else ()
    def owed(self, case, context): return []
    def predict(self, model, cases, context): return iter(())
    def score(self, case, output, context): return []

class Walker:
    baseline = True
    trained_on = ("mni",)
    def __init__(self, beta: float = 1.0, key: str = "", checkpoint: Path | None = None, tags: tuple[str, ...] = ()) -> None:
        self.beta = beta

class Careless:
    def __init__(self, **kwargs) -> None: ...

class Greedy:
    def __init__(self, timeout: float = 1.0) -> None: ...
"""

GOOD = """\
name: abdomen-prompts
datasets:
  demo: {format: "plug.py:Folder", root: data}
models:
  walker: {adapter: "plug.py:Walker"}
tasks:
  - task: "plug.py:Ask"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``plug.py`` and a suite ``good.yaml`` that holds."""
    (tmp_path / "plug.py").write_text(PLUGINS)
    (tmp_path / "good.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Callable[..., object]:
    """``load(text, *overrides)`` writes suite.yaml and loads it."""
    from medeval.suite import Suite

    def make(text: str, *overrides: str) -> Suite:
        (folder / "suite.yaml").write_text(text)
        return Suite.load("suite.yaml", overrides)

    return make
