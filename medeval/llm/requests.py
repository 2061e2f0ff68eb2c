"""A request to a chat model, and the key under which its reply is kept.

The key is the SHA-256 of a canonical JSON of everything that determines the reply: the client's identity (provider,
endpoint, model), the messages, the sampling, the asked form, the tools, the number of the sample, the number of the
re-ask, and the user's namespace. Time limits, retries, concurrency, keys and headers are no part of it. What is not set is
absent, so that a new option with an unset default leaves old keys as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from medeval.llm.messages import Message, Tool

PROTOCOL = 1  # raised when the meaning of a request changes: old cache entries are then no longer found

Form: TypeAlias = Literal["schema", "tool", "json", "text", ""]  # "": however it is asked for

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn; None leaves the server's default.

    temperature: >= 0. top_p: (0, 1]. max_tokens: tokens of the reply, thinking included. seed: best effort, servers differ
    under load. stop: texts that end the reply. extra_body: further keys of the request's body, passed on as they are.
    template_args: arguments of the chat template, such as ``enable_thinking: false``.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    extra_body: Mapping[str, Any] | None = None
    template_args: Mapping[str, Any] | None = None

    def given(self) -> dict[str, Any]:
        """What is set, by name; numbers of one value have one form."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
            if name in found:
                found[name] = float(found[name])
        if "stop" in found:
            found["stop"] = list(found["stop"])
        return found

    def over(self, defaults: Sampling) -> Sampling:
        """These options, and the defaults where they are unset."""
        return replace(
            defaults, **{f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        )


@dataclass(frozen=True)
class ObjectForm:
    """The asked form of a structured reply. schema: strict JSON schema. form: how it is asked for on the wire."""

    name: str
    schema: Mapping[str, Any]
    form: Form = "schema"


@dataclass(frozen=True)
class ChatRequest:
    """One call.

    sample: number of the repetition. attempt: 0, or the number of the re-ask after an invalid reply. root: the request that
    the caller made, where this is another form of it (another way to an object, a shorter history); trimmed: messages left
    out of it. Neither is part of the key.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""  # "", auto, required, none, or a tool's name
    object_form: ObjectForm | None = None
    sample: int = 0
    attempt: int = 0
    namespace: str = ""
    root: ChatRequest | None = None
    trimmed: int = 0

    @cached_property
    def canonical(self) -> str:
        """Canonical JSON without the client's identity."""
        rest: dict[str, Any] = {
            "protocol": PROTOCOL,
            "sampling": self.sampling.given(),
            "sample": self.sample,
        }
        if self.tools:
            rest["tools"] = [tool.wire() for tool in self.tools]
        if self.object_form is not None:
            form = self.object_form
            rest["object"] = {"name": form.name, "schema": form.schema, "form": form.form}
        for name in ("tool_choice", "attempt", "namespace"):
            if value := getattr(self, name):
                rest[name] = value
        tail = _canonical(rest)
        return f'{{"messages":[{",".join(m.canonical for m in self.messages)}],{tail[1:]}'

    @cached_property
    def request_key(self) -> str:
        """Hash of what the caller asked, whoever answers and in whatever form: what a replay looks a reply up by."""
        return hashlib.sha256(f"{(self.root or self).canonical}#{self.attempt}".encode()).hexdigest()

    def key(self, identity: str) -> str:
        """Hash of the request to the client of this identity: the cache's key."""
        return hashlib.sha256(f"{identity}\n{self.canonical}".encode()).hexdigest()

    @cached_property
    def prompt_tokens(self) -> int:
        """A guess of the prompt's tokens: one for four bytes of text, 1,000 for a picture, 4 for a message."""
        size = sum(len(m.text.encode("utf-8")) // 4 + 4 + 1000 * len(m.pictures) for m in self.messages)
        return size + sum(len(json.dumps(tool.wire())) for tool in self.tools) // 4
