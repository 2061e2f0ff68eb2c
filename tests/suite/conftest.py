"""A fake installed distribution, so that entry points are tested as a stranger's package would bring them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medeval import plugins


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """``install("stranger", {"pkg.py": source}, {"medeval.adapters": {"name": "pkg:Class"}})`` -> its folder."""
    before = set(sys.modules)

    def make(name: str, files: dict[str, str], groups: dict[str, dict[str, str]], requires: str = "") -> Path:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n{requires}")
        tops = {file.partition("/")[0].removesuffix(".py") for file in files}
        (info / "top_level.txt").write_text("\n".join(tops))
        sections = [
            f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in entries.items())
            for group, entries in groups.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(sections))
        for file, source in files.items():
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text(source)
        monkeypatch.syspath_prepend(str(site))
        plugins.refresh()
        return site

    yield make
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]
    monkeypatch.undo()
    plugins.refresh()


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
