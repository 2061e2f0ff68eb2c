"""One YAML block becomes a chat model: a client, how it is sampled, and how it is asked.

    {client: openai, model: gpt-4o-mini, base_url: ..., api_key_env: OPENAI_API_KEY,
     temperature: 0, max_tokens: 512, limits: {connections: 16, rpm: 500}}

``client:`` names a plug-in of the group ``medeval.clients``; the keys of ``ChatKeys`` are medeval's own for every client,
all others are the client's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medeval.llm.clients.base import ChatClient
from medeval.llm.requests import Form, Sampling
from medeval.llm.retry import Limits
from medeval.llm.thinking import TAGS
from medeval.plugins import (
    Complaint,
    OptionsError,
    absolute,
    build,
    complaints,
    options_of,
    resolve,
    validate_options,
)
from medeval.plugins.messages import option_names
from medeval.types import nearest

CLIENTS = "medeval.clients"
_RESERVED = ("model", "messages", "stream", "stream_options", "n")


class ChatKeys(BaseModel):
    """Keys of a client block that every client has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client: str = Field(
        description="a registered client (openai, langchain, transformers, scripted, replay, human) or 'path/file.py:Class'"
    )
    temperature: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="0 is the least random; default: the server's."
    )
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling.")
    max_tokens: int | None = Field(None, ge=1, description="Tokens of a reply at most, thinking included.")
    seed: int | None = Field(
        None, description="Sampling seed, where the server has one; sample i gets seed + i."
    )
    stop: tuple[str, ...] | None = Field(None, description="Texts that end a reply.")
    presence_penalty: float | None = Field(None, allow_inf_nan=False)
    frequency_penalty: float | None = Field(None, allow_inf_nan=False)
    extra_body: dict[str, Any] | None = Field(
        None, description="Further keys of the request's body, passed on as they are."
    )
    template_args: dict[str, Any] | None = Field(
        None, description="Arguments of the chat template, e.g. enable_thinking: false."
    )
    limits: Limits = Field(Limits(), description="Concurrency, rates, time limits, retries.")
    structured: Literal["auto", "schema", "tool", "json", "text"] = Field(
        "auto", description="How a structured reply is asked for at first."
    )
    history: Literal["error", "drop-oldest"] = Field(
        "error", description="What to do when a conversation exceeds the context."
    )
    system: Literal["keep", "merge"] = Field(
        "keep", description="merge: system messages go into the first user message, roles alternate."
    )
    thinking_tags: tuple[tuple[str, str], ...] = Field(
        TAGS, description="Pairs of tags that enclose thinking."
    )

    @field_validator("extra_body")
    @classmethod
    def _leaves_ours(cls, extra: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in extra or {}:
            if name in _RESERVED:
                raise ValueError(f"extra_body cannot hold {name!r}: medeval sets it itself")
        return extra

    @property
    def sampling(self) -> Sampling:
        """The sampling options."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class ChatModel:
    """A client with its settings: what ``Harness.chat`` takes. block: the block as checked, without any secret."""

    client: ChatClient
    keys: ChatKeys
    block: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's name for tables."""
        return self.client.identity.model

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Plain data on which replies depend: who answers, how replies are drawn and asked for; no limits, no secrets.

        A LangChain model is built for it; the others load and send nothing.
        """
        asked = {
            name: getattr(self.keys, name) for name in ("structured", "history", "system", "thinking_tags")
        }
        return {"client": self.client.identity.text, "sampling": self.keys.sampling.given(), **asked}

    @property
    def forms(self) -> tuple[Form, ...]:
        """Ways to a structured reply, the block's own first."""
        forms = self.client.capabilities.forms
        asked = self.keys.structured
        return (
            forms
            if asked == "auto"
            else (asked, *(forms[forms.index(asked) + 1 :] if asked in forms else ()))
        )

    def check(self) -> None:
        """Raises ``UserError`` for what can be known before the first call: a missing key, package or file."""
        getattr(self.client, "check", lambda: None)()

    async def unlisted(self) -> str:
        """Why the server would not know the model, by its own list; "" when it does, or does not tell. Sends one request."""
        ask = getattr(self.client, "unlisted", None)
        return "" if ask is None else str(await ask())


def validate_block(block: Mapping[str, Any], base: Path | None = None) -> dict[str, Any]:
    """The block as plain data, defaults filled, paths absolute.

    base: folder that relative paths belong to. Raises ``OptionsError`` with every mistake and the nearest known key, and
    ``PluginError`` for an unknown client.
    """
    own, rest = _split(block)
    mistakes = [_no_key(name) for name in rest if _looks_like_key(name)]
    rest = {name: value for name, value in rest.items() if not _looks_like_key(name)}
    try:
        keys = ChatKeys.model_validate_json(json.dumps(own), strict=True)
    except ValidationError as error:
        raise OptionsError([*mistakes, *complaints(error, own, ChatKeys)]) from None
    cls = resolve(CLIENTS, keys.client, base)
    takes = option_names(options_of(cls))
    for name in [name for name in rest if name not in takes]:
        known = nearest(name, {*takes, *ChatKeys.model_fields})
        mistakes.append(Complaint((name,), f"unknown option {name!r} of client {keys.client!r}; {known}"))
        del rest[name]
    try:
        filled = validate_options(cls, rest, base)
    except OptionsError as error:
        raise OptionsError([*mistakes, *error.errors]) from None
    if mistakes:
        raise OptionsError(mistakes)
    return {
        **keys.model_dump(mode="json", exclude_unset=True),
        "client": absolute(keys.client, base),
        **filled,
    }


def open_model(block: Mapping[str, Any], base: Path | None = None) -> ChatModel:
    """The chat model that a block describes. Sends nothing and reads no key yet.

    Raises as ``validate_block``.
    """
    checked = validate_block(block, base)
    own, rest = _split(checked)
    keys = ChatKeys.model_validate_json(json.dumps(own), strict=True)
    return ChatModel(build(resolve(CLIENTS, keys.client, base), rest, base), keys, checked)


def model_of(client: ChatClient, **keys: Any) -> ChatModel:
    """A chat model from a client object, for Python callers: ``model_of(MyClient(), temperature=0)``."""
    given = ChatKeys(client=type(client).__name__, **keys)
    return ChatModel(
        client, given, {"client": given.client, **given.model_dump(mode="json", exclude_unset=True)}
    )


def _split(block: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    own = {name: value for name, value in block.items() if name in ChatKeys.model_fields}
    return own, {name: value for name, value in block.items() if name not in own}


def _looks_like_key(name: str) -> bool:
    return name.lower().replace("-", "_") in (
        "api_key",
        "apikey",
        "key",
        "token",
        "api_token",
        "secret",
        "password",
    )


def _no_key(name: str) -> Complaint:
    return Complaint(
        (name,),
        "keys never stand in a suite; put it into an environment variable and name that: `api_key_env: MY_KEY`",
    )
