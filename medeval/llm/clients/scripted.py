"""Replies from rules, from a list, or from a function: for tests, demos and doctors that a suite scripts.

    # script.yaml
    rules:                                   # the first that fits answers
      - when: "allerg|react"                 # regular expression, searched in the last message, case ignored
        reply: "Penicillin gave me a rash."
      - turn: 0                              # the reply's number in the dialogue, from 0
        reply: ["Hello.", "Good morning."]   # a list: one for each sample, in turn
    replies: ["First.", "Second."]           # without a fitting rule: by the reply's number
    otherwise: "I do not know."              # after them

A reply is text, or a mapping {text, thinking, refusal, finish, tool_calls: [{name, arguments}], data, error, times}: ``data``
is an object said as JSON; ``error`` a kind such as ``rate_limited``, raised the first ``times`` times that a call is made.

What is said depends on the conversation alone, never on how many calls came before: order, batching, and a killed and
continued run change nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medeval.llm.clients.base import Capabilities, ClientIdentity
from medeval.llm.clients.completions import finish_of
from medeval.llm.errors import Kind, TransportError
from medeval.llm.messages import ToolCall
from medeval.llm.replies import Finish, Reply, Usage
from medeval.llm.requests import ChatRequest
from medeval.plugins import OptionsError, complaints, resolve
from medeval.types import UserError, digest

Said = str | dict[str, Any]


class Rule(BaseModel):
    """One rule of a script; all conditions given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reply: Said | list[Said]
    when: str | None = None
    turn: int | None = Field(None, ge=0)

    @field_validator("when")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern

    def fits(self, last: str, turn: int) -> bool:
        """True when the rule answers."""
        right_turn = self.turn is None or self.turn == turn
        return right_turn and (self.when is None or re.search(self.when, last, re.I) is not None)


class Script(BaseModel):
    """A whole script."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...] = ()
    replies: tuple[Said | list[Said], ...] = ()
    otherwise: Said | None = None

    @staticmethod
    def load(path: Path) -> Script:
        """From YAML or JSON. Raises ``UserError`` naming file and key."""
        try:
            data: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            return Script.model_validate(data)
        except OSError as error:
            raise UserError(f"script {path}: {error.strerror}") from None
        except ValidationError as error:
            raise UserError(f"script {path}: {OptionsError(complaints(error, data, Script))}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"script {path}: no YAML: {error}") from None

    def said(self, request: ChatRequest) -> Said | list[Said] | None:
        """What the script says next, None where it has nothing."""
        turn = sum(message.role == "assistant" for message in request.messages)
        last = request.messages[-1].text if request.messages else ""
        for rule in self.rules:
            if rule.fits(last, turn):
                return rule.reply
        return self.replies[turn] if turn < len(self.replies) else self.otherwise


class ScriptedClient:
    """script: a YAML or JSON file. replies, rules, otherwise: the same inline. function: ``module:function`` or
    ``file.py:function`` that takes the ``ChatRequest`` and returns text, a mapping or a ``Reply``. delay: seconds a reply.
    name: what it is called in tables.
    """

    def __init__(
        self,
        script: Path | None = None,
        replies: list[Any] | None = None,
        rules: list[dict[str, Any]] | None = None,
        otherwise: str | dict[str, Any] | None = None,
        function: str | None = None,
        delay: float = 0.0,
        name: str = "scripted",
    ) -> None:
        inline = {"rules": rules or [], "replies": replies or [], "otherwise": otherwise}
        if sum((script is not None, any(inline.values()), function is not None)) != 1:
            raise UserError(
                "a scripted client takes one of: `script`, `function`, or inline `replies`/`rules`/`otherwise`"
            )
        self._script = Script.load(script) if script is not None else _inline(inline)
        self._function = resolve("medeval.clients", function) if function is not None else None
        self._delay = delay
        self._raised: Counter[str] = Counter()
        details = (
            {"function": function} if function else {"script": digest(self._script.model_dump_json())[:16]}
        )
        self._identity = ClientIdentity("scripted", name, details=details)

    @property
    def identity(self) -> ClientIdentity:
        """Who answers; the script's hash is part of it."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """Costs nothing, so nothing is cached or charged."""
        return Capabilities(forms=("schema", "tool", "json", "text"), cacheable=False, paid=False)

    async def complete(self, request: ChatRequest) -> Reply:
        """What the script says. Raises ``TransportError`` where it says an error, or nothing."""
        if self._delay:
            await asyncio.sleep(self._delay)
        said = self._said(request)
        if isinstance(said, list):
            said = said[request.sample % len(said)] if said else None
        if said is None:
            last = request.messages[-1].text[:80] if request.messages else ""
            raise TransportError(
                Kind.BAD_REQUEST, f"the script has no reply to {last!r}; give it an `otherwise`"
            )
        if isinstance(said, Reply):
            return said
        plain = {"text": said} if isinstance(said, str) else said
        self._raise_error(plain, request)
        return _reply(plain, request, self._identity.model)

    def _said(self, request: ChatRequest) -> Any:
        if self._function is None:
            return self._script.said(request)
        try:
            return self._function(request)
        except TransportError:
            raise
        except Exception as error:
            raise TransportError(
                Kind.RAISED, f"the script's function raised {type(error).__name__}: {error}"
            ) from None

    def _raise_error(self, plain: Mapping[str, Any], request: ChatRequest) -> None:
        if "error" not in plain:
            return
        self._raised[request.request_key] += 1
        if self._raised[request.request_key] <= plain.get("times", 1_000_000):
            raise TransportError(
                Kind(plain["error"]),
                f"the script says {plain['error']}",
                retry_after=plain.get("retry_after"),
            )


def _inline(data: dict[str, Any]) -> Script:
    try:
        return Script.model_validate(data)
    except ValidationError as error:
        raise UserError(f"scripted client: {OptionsError(complaints(error, data, Script))}") from None


def _reply(plain: Mapping[str, Any], request: ChatRequest, model: str) -> Reply:
    known = {"text", "thinking", "refusal", "finish", "tool_calls", "data", "error", "times", "retry_after"}
    if unknown := set(plain) - known:
        raise TransportError(
            Kind.RAISED,
            f"a scripted reply has the unknown key {min(unknown)!r}; known: {', '.join(sorted(known))}",
        )
    text = json.dumps(plain["data"]) if "data" in plain else str(plain.get("text", ""))
    calls = tuple(
        ToolCall(f"call_{i}", call["name"], json.dumps(call.get("arguments", {})))
        for i, call in enumerate(plain.get("tool_calls", ()))
    )
    finish = (
        finish_of(plain["finish"]) if "finish" in plain else (Finish.TOOL_CALLS if calls else Finish.STOP)
    )
    said = len((text + str(plain.get("thinking", ""))).encode("utf-8")) // 4 + 1
    return Reply(
        text=text, thinking=str(plain.get("thinking", "")), refusal=str(plain.get("refusal", "")), finish=finish,
        tool_calls=calls, usage=Usage(request.prompt_tokens, said, estimated=True), model=model,
    )  # fmt: skip
