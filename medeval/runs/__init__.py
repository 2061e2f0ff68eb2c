"""The run folder: written part by part, continued after any stop, read as tables."""

from medeval.runs.folder import RunFolder
from medeval.runs.run import Run

__all__ = ["Run", "RunFolder"]
