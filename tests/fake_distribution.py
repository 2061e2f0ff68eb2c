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
