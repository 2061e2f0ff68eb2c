"""Figures as vector files (PDF or SVG by the name's ending), drawn by matplotlib where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medeval.decisions.compare import Comparison
from medeval.types import RunError
from medeval.types.views import Matrix

SUFFIXES = (".pdf", ".svg")


def blob_plot(matrix: Matrix, path: Path) -> Path:
    """Rank frequencies: one blob a (model, rank), its area the share of resamples (challengeR)."""
    figure, axes = _figure(path, len(matrix.rows))
    for row, values in enumerate(matrix.values):
        for column, share in enumerate(values):
            axes.scatter(column + 1, row, s=600 * float(share or 0.0), color="C0")
    axes.set_yticks(range(len(matrix.rows)), matrix.rows)
    axes.set_xticks(range(1, len(matrix.columns) + 1))
    axes.set_xlabel("rank")
    axes.invert_yaxis()
    return _saved(figure, matrix.title, path)


def difference_plot(rows: Sequence[Comparison], path: Path) -> Path:
    """One difference with its interval a line, zero marked."""
    figure, axes = _figure(path, len(rows))
    for at, row in enumerate(rows):
        gap = row.difference
        if gap.value is not None:
            low, high = (gap.value if end is None else end for end in (gap.low, gap.high))
            axes.errorbar(
                gap.value, at, xerr=[[gap.value - low], [high - gap.value]], fmt="o", color="C0", capsize=3
            )
    labels = [
        " ".join(part for part in (f"{row.new} - {row.old}", row.prompt, row.metric) if part) for row in rows
    ]
    axes.set_yticks(range(len(rows)), labels)
    axes.axvline(0.0, color="0.5", linewidth=0.8)
    axes.set_xlabel("difference with its 95% interval")
    axes.invert_yaxis()
    return _saved(figure, "", path)


def _figure(path: Path, lines: int) -> tuple[Any, Any]:
    if path.suffix.lower() not in SUFFIXES:
        raise RunError(f"--figure {path}: figures are vector files; end the name in {' or '.join(SUFFIXES)}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunError("--figure needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(7, 1 + 0.4 * lines), layout="constrained")
    return figure, figure.add_subplot()


def _saved(figure: Any, title: str, path: Path) -> Path:
    if title:
        figure.suptitle(title, fontsize=9)
    figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else {"CreationDate": None})
    return path
