"""What every client is: one asynchronous call, and an identity that enters the cache's key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from medeval.llm.replies import Reply
from medeval.llm.requests import ChatRequest, Form


@dataclass(frozen=True)
class ClientIdentity:
    """Who answers. It decides replies, so it is part of every key; it holds no secret.

    provider: the kind of client. endpoint: scheme, host and path of the server, no credentials, no query. model: the name.
    account: what request limits belong to beside the endpoint (the variable that holds the key); not part of the key.
    details: whatever else changes replies: revision, dtype, quantisation, hash of a script.
    """

    provider: str
    model: str
    endpoint: str = ""
    account: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Canonical JSON of what decides replies."""
        parts = {"provider": self.provider, "model": self.model, "endpoint": self.endpoint, **self.details}
        return json.dumps(
            {k: v for k, v in parts.items() if v}, sort_keys=True, separators=(",", ":"), default=str
        )

    @property
    def endpoint_key(self) -> tuple[str, str, str, str]:
        """What shares one limiter."""
        return self.provider, self.endpoint, self.account, self.model

    def __str__(self) -> str:
        return f"{self.model} at {self.endpoint}" if self.endpoint else f"{self.model} ({self.provider})"


@dataclass(frozen=True)
class Capabilities:
    """What a client can ask for. forms: ways to a structured reply, best first. cacheable: equal requests have equal
    replies as far as anyone can tell. paid: budgets and logs of spending apply.
    """

    forms: tuple[Form, ...] = ("schema", "tool", "json", "text")
    cacheable: bool = True
    paid: bool = True


@runtime_checkable
class ChatClient(Protocol):
    """One way of reaching one model. No retries, no cache, no limits inside: the harness has them.

    ``complete`` raises ``TransportError`` for everything that is no complete reply, and lets nothing of the library
    beneath it out.
    """

    @property
    def identity(self) -> ClientIdentity: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def complete(self, request: ChatRequest) -> Reply: ...
