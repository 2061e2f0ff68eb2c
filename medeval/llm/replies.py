"""What came back: text, object or tool calls, with the thinking apart from all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from medeval.llm.errors import EmptyReply, RefusedReply, TruncatedReply
from medeval.llm.messages import Message, ToolCall


class Outcome(StrEnum):
    """What a complete reply is. All but ``ok`` say why there is no usable answer."""

    OK = "ok"
    REFUSED = "refused"
    CONTENT_FILTERED = "content_filtered"
    TRUNCATED = "truncated"  # finish_reason=length
    UNCLOSED_THOUGHT = "unclosed_thought"  # the reply ended inside its thought
    EMPTY = "empty"


class Finish(StrEnum):
    """Why the model stopped; ``unknown`` where the server does not say."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. output includes thinking. estimated: the server did not say, one token for four bytes."""

    input: int = 0
    output: int = 0
    cached: int = 0  # part of input that the server had in its own cache
    reasoning: int = 0  # part of output that was thinking
    estimated: bool = False

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output


@dataclass(frozen=True)
class Reply:
    """A complete reply.

    text: what the model says, thinking taken out. thinking: stored, never sent to anyone. data: the parsed object (JSON
    types) of a structured reply; value: the same as validated. latency: seconds of the try that succeeded. attempts: tries
    that it took. cost: in the price table's currency, None where the price is not known. cached: taken from the cache, so
    nothing was paid. dropped: parameters that the server refused and that were left out. trimmed: earlier messages left out
    because the context was full. raw: the server's body.
    """

    text: str = ""
    finish: Finish = Finish.STOP
    usage: Usage = Usage()
    thinking: str = ""
    unclosed: bool = False
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    data: Any = None
    value: Any = None
    model: str = ""
    fingerprint: str = ""
    latency: float = 0.0
    attempts: int = 1
    cost: float | None = None
    cached: bool = False
    dropped: tuple[str, ...] = ()
    trimmed: int = 0
    key: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def outcome(self) -> Outcome:
        """The one word for it; a refusal counts before a cut."""
        if self.refusal:
            return Outcome.REFUSED
        if self.finish is Finish.CONTENT_FILTER:
            return Outcome.CONTENT_FILTERED
        if self.unclosed:
            return Outcome.UNCLOSED_THOUGHT
        if self.finish is Finish.LENGTH:
            return Outcome.TRUNCATED
        return Outcome.OK if self.text.strip() or self.tool_calls or self.data is not None else Outcome.EMPTY

    def require(self) -> Reply:
        """This reply, when it is a whole answer.

        Raises ``RefusedReply``, ``TruncatedReply`` or ``EmptyReply``, each with the status that belongs on the record.
        """
        outcome = self.outcome
        if outcome in (Outcome.REFUSED, Outcome.CONTENT_FILTERED):
            raise RefusedReply(
                f"{outcome}: {self.refusal or self.text or 'the server gave no text'}", [self.text]
            )
        if outcome in (Outcome.TRUNCATED, Outcome.UNCLOSED_THOUGHT):
            said = f"{outcome} after {self.usage.output} tokens; raise max_tokens, or switch thinking off"
            raise TruncatedReply(said, [self.text or self.thinking])
        if outcome is Outcome.EMPTY:
            raise EmptyReply("the model answered with no text")
        return self

    def message(self) -> Message:
        """The reply as a turn of the history: text and tool calls, never the thinking."""
        return Message("assistant", self.text, self.tool_calls)

    def to_plain(self, *, raw: bool = False) -> dict[str, Any]:
        """JSON types, for a journal; ``raw`` keeps the server's body too. Defaults are left out."""
        found = {name: value for name in _PLAIN if (value := getattr(self, name)) != getattr(_EMPTY, name)}
        usage = self.usage
        found["usage"] = {name: value for name in _USAGE if (value := getattr(usage, name))}
        if self.tool_calls:
            found["tool_calls"] = [[call.id, call.name, call.arguments] for call in self.tool_calls]
        if self.dropped:
            found["dropped"] = list(self.dropped)
        if raw:
            found["raw"] = dict(self.raw)
        return found

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> Reply:
        """The reply that ``to_plain`` wrote; ``value`` is not kept, its owner validates ``data`` again."""
        known = {name: value for name, value in plain.items() if name in Reply.__dataclass_fields__}
        known["usage"] = Usage(**plain.get("usage", {}))
        known["finish"] = Finish(plain.get("finish", Finish.STOP))
        known["tool_calls"] = tuple(ToolCall(*call) for call in plain.get("tool_calls", ()))
        known["dropped"] = tuple(plain.get("dropped", ()))
        return Reply(**known)

    def encode(self) -> str:
        """JSON text of ``to_plain(raw=True)``, for the cache."""
        return _encode(self.to_plain(raw=True))

    def over(self, **changes: Any) -> Reply:
        """A copy with these fields changed."""
        return replace(self, **changes)


_EMPTY = Reply()
_USAGE = tuple(Usage.__dataclass_fields__)
_APART = (
    "raw",
    "value",
    "usage",
    "tool_calls",
    "cached",
    "dropped",
)  # written in a form of their own, or not at all
_PLAIN = tuple(name for name in Reply.__dataclass_fields__ if name not in _APART)
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
