"""What can go wrong with a chat call, and whose failure it is.

    TransportError                 one try of one call failed (never leaves the harness)
    CallFailure(CaseFailure)       the call is given up; ``status`` says who answers for it
    ├── EndpointDown               INFRASTRUCTURE   retries used up, server or network
    ├── EndpointRefuses            INFRASTRUCTURE   wrong key, unknown model, no quota: stops the run
    ├── BadCall                    EVALUATOR_FAILED the server says that our request is wrong
    ├── ContextTooLong             MODEL_FAILED     the conversation does not fit the model's context
    ├── ModelRaised                MODEL_FAILED     the model's own code (a Runnable, a local model) raised
    ├── DialogueTimeout            TIMEOUT          a dialogue's own time limit
    ├── RunTimeout                 BUDGET           the run's time limit: stops the run, continue later
    ├── BudgetSpent                BUDGET           tokens, calls or money: stops the run unless of one dialogue
    ├── RefusedReply               REFUSED          the model refused, or a content filter cut in
    ├── TruncatedReply             UNPARSABLE       ``finish_reason=length``, or a thought that never closed
    ├── EmptyReply                 UNPARSABLE       no text at all
    ├── UnparsableReply            UNPARSABLE       no object of the asked form after the whole ladder
    └── NotRecorded                INFRASTRUCTURE   a replay that meets a call which was never recorded

A single request that hangs is the server's failure, whatever model stands behind it; only a limit that the suite itself
set on a dialogue counts against the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from medeval.llm.secrets import redact
from medeval.types import CaseFailure, Status


class Kind(StrEnum):
    """What became of one try; a closed set, written into the trace."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    SERVER = "server"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    MALFORMED = (
        "malformed"  # 200, but no chat completion: HTML, half a JSON, no choice, a stream without an end
    )
    QUOTA = "quota"
    AUTH = "auth"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    UNSUPPORTED = "unsupported"  # the server names a feature that it does not have
    CONTEXT_LENGTH = "context_length"
    RAISED = "raised"  # the model's own code (a Runnable, a local model) raised
    NOT_RECORDED = "not_recorded"
    BUDGET = "budget"
    CANCELLED = "cancelled"


RETRIED = frozenset({Kind.RATE_LIMITED, Kind.SERVER, Kind.TIMEOUT, Kind.CONNECTION, Kind.MALFORMED})
HOPELESS = frozenset({Kind.QUOTA, Kind.AUTH, Kind.NOT_FOUND})


class TransportError(Exception):
    """One try failed.

    retry_after: seconds that the server asks to wait, None where it does not say.
    feature: for ``Kind.UNSUPPORTED``, the parameter or feature that the server named.
    status: the HTTP status, None without a response.
    """

    def __init__(
        self, kind: Kind, message: str, *, retry_after: float | None = None, feature: str = "", status: int | None = None
    ) -> None:  # fmt: skip
        super().__init__(redact(message))
        self.kind = kind
        self.retry_after = retry_after
        self.feature = feature
        self.status = status


class CallFailure(CaseFailure):
    """A chat call is given up.

    stops_run: no further unit is worth starting until the user changes something.
    raw: texts that came back before it was given up, for the record; never empty where the model said something.
    """

    stops_run: ClassVar[bool] = False

    def __init__(self, message: str, raw: Sequence[str] = ()) -> None:
        super().__init__(redact(message))
        self.raw = tuple(redact(text) for text in raw)

    def of_evaluator(self) -> CallFailure:
        """The same failure when the caller was our own side (judge, patient): never the doctor's fault."""
        if self.status.models_fault:
            self.status = Status.EVALUATOR_FAILED
        return self


class EndpointDown(CallFailure):
    """The server or the network failed until the retries were used up; ``--retry-errors`` asks again."""

    status = Status.INFRASTRUCTURE


class EndpointRefuses(CallFailure):
    """Every call to this endpoint would fail: the key is wrong, the model unknown, the quota used up, the server gone."""

    status = Status.INFRASTRUCTURE
    stops_run = True


class BadCall(CallFailure):
    """The server calls our request wrong (400, 422): no verdict on the model."""

    status = Status.EVALUATOR_FAILED


class ContextTooLong(CallFailure):
    """The conversation does not fit the model's context, also after trimming where the block allows it."""

    status = Status.MODEL_FAILED


class ModelRaised(CallFailure):
    """The model's own code raised."""

    status = Status.MODEL_FAILED


class DialogueTimeout(CallFailure):
    """A dialogue took longer than its own limit."""

    status = Status.TIMEOUT


class RunTimeout(CallFailure):
    """The run's time is spent; the same command continues it."""

    status = Status.BUDGET
    stops_run = True


class BudgetSpent(CallFailure):
    """A budget of the run or of a role is spent; what was in flight has finished and is kept."""

    status = Status.BUDGET
    stops_run = True


class DialogueBudgetSpent(BudgetSpent):
    """The budget of one dialogue is spent; others go on."""

    stops_run = False


class RefusedReply(CallFailure):
    """The model refused, or a content filter cut its reply off."""

    status = Status.REFUSED


class TruncatedReply(CallFailure):
    """The reply was cut at its token limit, or its thought never closed."""

    status = Status.UNPARSABLE


class EmptyReply(CallFailure):
    """The model answered with no text at all."""

    status = Status.UNPARSABLE


class UnparsableReply(CallFailure):
    """No object of the asked form, also after one repair request; ``raw`` keeps what was said."""

    status = Status.UNPARSABLE


class NotRecorded(CallFailure):
    """A replay met a call that its recording does not hold; nothing was sent."""

    status = Status.INFRASTRUCTURE
    stops_run = True
