"""The closed set of what can become of an owed record, and who answers for it."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of one owed record.

    ``ok`` and ``carried`` hold the model's own answer; ``undefined`` says that nothing could be scored by rule;
    the model's failures take every metric's worst value; the others are missing values, counted and bounded, and
    never a verdict on the model.
    """

    OK = "ok"
    UNDEFINED = "undefined"
    CARRIED = "carried"  # the session ended early; the last value stands
    NOT_COVERED = "not_covered"  # the model says that it does not do this structure or prompt

    MODEL_FAILED = "model_failed"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNPARSABLE = "unparsable"

    EVALUATOR_FAILED = "evaluator_failed"
    DATA_ERROR = "data_error"
    INFRASTRUCTURE = "infrastructure"
    BUDGET = "budget"

    @property
    def answered(self) -> bool:
        """True when the model's own answer was scored."""
        return self in (Status.OK, Status.CARRIED)

    @property
    def models_fault(self) -> bool:
        """True when the failure is the model's: the worst value is recorded."""
        return self in _MODEL

    @property
    def missing(self) -> bool:
        """True when the failure is somebody else's: no value, the score is printed with bounds."""
        return self in _MISSING

    @property
    def failed(self) -> bool:
        """True for any failure, whoever's it is."""
        return self.models_fault or self.missing


_MODEL = frozenset({Status.MODEL_FAILED, Status.TIMEOUT, Status.REFUSED, Status.UNPARSABLE})
_MISSING = frozenset({Status.EVALUATOR_FAILED, Status.DATA_ERROR, Status.INFRASTRUCTURE, Status.BUDGET})
