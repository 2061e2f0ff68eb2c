"""What can go wrong, and whose fault it is.

MedevalError
├── UserError            the user's input is wrong: a message and exit code 2, never a traceback
│   ├── SuiteError       the suite file, with the YAML line where it is known
│   ├── PluginError      a name that is not known, or a plug-in that does not import
│   ├── DatasetError     a dataset that cannot be opened at all
│   ├── MetricError      a metric name or its arguments
│   └── RunError         a run folder that contradicts what is asked of it
└── CaseFailure          one case failed: becomes a record with ``status``, and the run goes on
    ├── DataError            the case's own files
    ├── ModelFailure         the model under test raised or answered nonsense
    ├── EvaluatorFailure     our side: simulated user, scorer, judge
    └── InfrastructureFailure  out of memory, a lost worker: not a finished unit of work
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from medeval.types.status import Status


class MedevalError(Exception):
    """Root of every error that medeval raises on purpose."""


class UserError(MedevalError):
    """The user's input is wrong; the message says what was given and what would be right."""


class SuiteError(UserError):
    """A suite that does not hold; all mistakes of a file are told in one message."""


class PluginError(UserError):
    """A plug-in name that is not known, does not import, or whose options do not fit."""


class DatasetError(UserError):
    """A dataset that cannot be opened."""


class MetricError(UserError, ValueError):
    """A metric's name or an argument that it cannot work on; also a ``ValueError`` for Python callers."""


class RunError(UserError):
    """A run folder that contradicts the suite, or that is no run folder."""


class CaseFailure(MedevalError):
    """One case could not be evaluated. Subclasses say whose failure it is by ``status``."""

    status: Status = Status.EVALUATOR_FAILED


class DataError(CaseFailure):
    """A case's files are missing, broken or contradict each other."""

    status = Status.DATA_ERROR


class ModelFailure(CaseFailure):
    """The model raised, or its answer is not what the protocol asks for."""

    status = Status.MODEL_FAILED


class EvaluatorFailure(CaseFailure):
    """Our own side failed: the simulated user, a scorer or a judge."""

    status = Status.EVALUATOR_FAILED


class InfrastructureFailure(CaseFailure):
    """The machine failed (out of memory, a lost worker); ``--retry-errors`` does the unit again."""

    status = Status.INFRASTRUCTURE


def nearest(name: str, known: Iterable[str]) -> str:
    """A half-sentence for messages: the closest known name, and all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(names) if names else 'none'}"
