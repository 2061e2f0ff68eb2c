"""When a failed try is tried again, and how long after it."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medeval.llm.errors import RETRIED, TransportError


class Limits(BaseModel):
    """``limits:`` of a client block: how it is asked; none of it changes a reply.

    Concurrency starts at ``start``, doubles with each clean round of calls, is cut by 30% at each 429 and then grows by
    one a round, between 1 and ``connections``. Requests and tokens a minute are kept over every span of 60 s.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    connections: int = Field(default=32, ge=1, description="Calls in flight at most.")
    start: int | None = Field(
        default=None, ge=1, description="Calls in flight at first; default: 8, or connections if fewer."
    )
    rpm: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Requests a minute at most."
    )
    tpm: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="Tokens a minute at most.")
    timeout: float = Field(
        default=120.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds of one try, from its sending to its last byte.",
    )
    deadline: float = Field(
        default=600.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds of a call with all its tries and waits.",
    )
    attempts: int = Field(default=6, ge=1, description="Tries of a call at most.")
    backoff: float = Field(
        default=0.5,
        ge=0,
        allow_inf_nan=False,
        description="Seconds of the first wait; doubled each time, jittered.",
    )
    max_backoff: float = Field(
        default=30.0, ge=0, allow_inf_nan=False, description="Seconds of a wait at most."
    )
    max_retry_after: float = Field(
        default=120.0,
        ge=0,
        allow_inf_nan=False,
        description="Longest Retry-After that is waited for; a longer one gives the call up.",
    )
    give_up_after: int = Field(
        default=20,
        ge=1,
        description="Calls given up in a row, with no success between, after which the endpoint is left alone.",
    )


def wait_before(error: TransportError, tries: int, limits: Limits, draw: Any = random.random) -> float | None:
    """Seconds until the next try, None when there is none.

    tries: how many have failed. The server's Retry-After wins over full jitter (uniform in [0, base 2^(tries-1)]).
    """
    if error.kind not in RETRIED or tries >= limits.attempts:
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= limits.max_retry_after else None
    return draw() * min(limits.max_backoff, limits.backoff * 2 ** (tries - 1))


def retry_after(headers: Any, now: datetime | None = None) -> float | None:
    """Seconds that response headers ask to wait: ``retry-after-ms``, then ``retry-after`` as seconds or HTTP date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    return seconds if seconds is not None or text is None else _until(text, now or datetime.now(UTC))


def _number(text: str | None) -> float | None:
    """A finite number, negative ones as 0; None for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _until(text: str, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
