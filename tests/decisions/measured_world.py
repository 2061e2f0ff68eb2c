"""Runs whose values are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

MEASURED = Path(__file__).with_name("measured.py")


class World:
    """Writes cases and values into its folder, and runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cases(
        self, patients: int = 20, rows: int = 2, name: str = "cases.jsonl", sites: str = "AB"
    ) -> list[str]:
        """Cases p00-0, p00-1, ... with their patients; sites in turn by patient."""
        found = [
            (f"p{p:02d}-{r}", f"p{p:02d}", sites[p % len(sites)])
            for p in range(patients)
            for r in range(rows)
        ]
        lines = [json.dumps({"id": i, "patient": p, "site": s}) for i, p, s in found]
        (self.folder / name).write_text("\n".join(lines))
        return [case for case, _, _ in found]

    def model(self, name: str, values: Mapping[str, float | None], **options: Any) -> dict[str, Any]:
        """A model's entry."""
        (self.folder / f"{name}.json").write_text(json.dumps(values))
        return {"adapter": f"{MEASURED}:Written", "values": f"{name}.json", **options}

    def suite(
        self, models: Mapping[str, Any], cases: str = "cases.jsonl", task: Any = None, **more: Any
    ) -> dict[str, Any]:
        """A suite as plain data."""
        return {
            "name": "decide",
            "datasets": {"hospital": {"format": f"{MEASURED}:Cases", "file": cases}},
            "models": dict(models),
            "tasks": [{"task": f"{MEASURED}:Measured", "name": "measured", "by": ["site"], **(task or {})}],
            **more,
        }

    def run(self, out: str, models: Mapping[str, Any], **more: Any) -> Path:
        """The folder of a finished run."""
        import medeval
        from medeval.api import RunOptions, Suite

        suite = Suite.from_dict(self.suite(models, **more), base=self.folder)
        return medeval.run(suite, self.folder / out, options=RunOptions(report=False)).path


def values(cases: Sequence[str], level: float, seed: int, spread: float = 0.03) -> dict[str, float]:
    """Alike within a patient, the same patients hard for everybody."""
    rng, common = np.random.default_rng(seed), np.random.default_rng(7)
    hard = {patient: common.normal(0, 0.05) for patient in sorted({case[:3] for case in cases})}
    return {case: float(np.clip(level + hard[case[:3]] + rng.normal(0, spread), 0, 1)) for case in cases}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of three models on 30 patients: good, middling, poor."""
    world = World(tmp_path_factory.mktemp("three"))
    cases = world.cases(30)
    levels = {"good": 0.85, "middling": 0.80, "poor": 0.60}
    models = {n: world.model(n, values(cases, level, seed)) for seed, (n, level) in enumerate(levels.items())}
    return world.run("run", models)


@pytest.fixture(scope="session")
def command() -> Callable[..., Result]:
    """``medeval WORDS`` of this room, in this process; a ``UserError`` is exit code 2 with its message."""
    import typer

    from medeval.cli.decisions import COMMANDS
    from medeval.types import UserError

    app = typer.Typer()
    for name, function in COMMANDS.items():
        app.command(name)(function)

    def run(*words: object) -> Result:
        found = CliRunner().invoke(app, [str(word) for word in words])
        if isinstance(found.exception, UserError):
            found.exit_code, found.stderr_bytes = 2, str(found.exception).encode()
        elif found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return run
