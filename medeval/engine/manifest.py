"""The manifest: what was run, on what, with which versions, so that a number can be traced and repeated."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medeval.engine.plan import Plan
from medeval.suite.declared import Declared

DISTRIBUTION = "medeval-bench"
_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-image",
    "nibabel",
    "pyarrow",
    "pydantic",
    "torch",
    "monai",
    "transformers",
    "openai",
)


def make_manifest(plan: Plan, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The manifest of a plan; cells of an earlier manifest that the suite no longer has are kept as such.

    Of the environment it holds versions and the machine's kind, never variables: keys live there.
    """
    cells = {
        planned.name: {
            "task": planned.cell.task.label,
            "dataset": planned.cell.dataset,
            "model": planned.cell.model,
            "arm": planned.cell.arm,
            "seed": planned.cell.seed,
            "predict": dict(planned.predict),
            "score": dict(planned.score),
            "baseline": planned.baseline,
            **({"answers": planned.answers} if planned.answers else {}),
        }
        for planned in plan.cells
    }
    earlier = {label: cell for label, cell in (before or {}).get("cells", {}).items() if label not in cells}
    return json.loads(
        json.dumps(
            {
                "medeval": package_version(),
                "created": (before or {}).get("created", _now()),
                "updated": _now(),
                "suite": plan.suite.resolved(),
                "endpoint": {"sha256": Declared.of(plan.suite.resolved()).sha256},
                "base": str(plan.suite.base),
                "shard": f"{plan.shard.number}/{plan.shard.count}",
                "seeds": list(plan.suite.seeds),
                "datasets": {name: _dataset(plan, name) for name in plan.datasets},
                "cells": {**earlier, **cells},
                "not_run": [vars(misfit) for misfit in plan.misfits],
                "versions": _versions(),
                "machine": _machine(),
                "git": _git(plan.suite.base),
            },
            default=str,
        )
    )


def package_version() -> str:
    """The installed version of medeval."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _dataset(plan: Plan, name: str) -> dict[str, Any]:
    index = plan.datasets[name].index
    known = {info.patient for info in index if info.patient is not None}
    return {
        "cases": len(index),
        "patients": len(known) if index.patients_known else None,
        "fingerprint": plan.content(name),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    machine: dict[str, Any] = {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        machine["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return machine


def _git(base: Path) -> dict[str, Any] | None:
    """Commit of the suite's folder and whether it was changed; None outside of a repository or without git."""
    try:
        commit = _git_says(base, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "changed": bool(_git_says(base, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git_says(base: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(base), *words], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
