"""medeval: evaluate medical foundation models. One YAML suite in; records, scores with intervals and a report out.

    run = medeval.run("suite.yaml", out="runs/mine")
    run.records()      # pandas: one row a case x structure x prompt x round
    run.summary()      # scores with 95% intervals, n, failures

Everything here is imported when it is first used: ``import medeval`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medeval.api import evaluate, merge, run, score
    from medeval.runs import Run
    from medeval.suite import Suite

__all__ = ["Run", "Suite", "evaluate", "merge", "run", "score"]

_HOMES = {
    "Run": "medeval.runs",
    "Suite": "medeval.suite",
    "evaluate": "medeval.api",
    "merge": "medeval.api",
    "run": "medeval.api",
    "score": "medeval.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medeval' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
