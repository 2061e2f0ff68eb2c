"""Messages of a conversation: what is sent to a chat model.

Texts that no UTF-8 can hold (lone surrogates) are replaced by U+FFFD when a message is made; everything else, also NUL,
emoji and right-to-left marks, is sent as it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from medeval.types import DataError

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
_MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}

_ROLES = frozenset(get_args(Role))
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True)
class Picture:
    """An image in a message. data: the encoded file (PNG, JPEG). detail: the resolution hint of OpenAI-like servers."""

    data: bytes = field(repr=False)
    media_type: str = "image/png"
    detail: str = ""

    @staticmethod
    def read(path: Path) -> Picture:
        """The image file as it is. Raises ``DataError`` for a missing file or an unknown suffix."""
        media = _MEDIA.get(path.suffix.lower())
        if media is None:
            raise DataError(
                f"{path}: expected an image file ({', '.join(_MEDIA)}), got {path.suffix or 'no suffix'}"
            )
        try:
            return Picture(path.read_bytes(), media)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error

    @cached_property
    def sha256(self) -> str:
        """Identity of the picture: what stands in the cache's key and in the exchange log."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def url(self) -> str:
        """The data URL that goes over the wire."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model wants called. arguments: the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. parameters: JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    def wire(self) -> dict[str, Any]:
        """As OpenAI-like servers take it."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Message:
    """One turn. content: text, or parts (texts and pictures) in order."""

    role: Role
    content: str | tuple[str | Picture, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        parts = (self.content,) if isinstance(self.content, str) else tuple(self.content)
        clean = tuple(clean_text(part) if isinstance(part, str) else part for part in parts)
        object.__setattr__(self, "content", clean[0] if isinstance(self.content, str) else clean)

    @property
    def text(self) -> str:
        """The texts of the message, pictures left out."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part for part in self.content if isinstance(part, str))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures of the message, in order."""
        return (
            () if isinstance(self.content, str) else tuple(p for p in self.content if isinstance(p, Picture))
        )

    @cached_property
    def wire(self) -> dict[str, Any]:
        """The message as OpenAI-like servers, LangChain and chat templates take it."""
        return self._plain(lambda picture: picture.url)

    @cached_property
    def canonical(self) -> str:
        """JSON of the message for keys and logs: pictures by their hash. Computed once, however long the dialogue."""
        plain = self._plain(lambda picture: f"sha256:{picture.sha256}")
        return _canonical(plain)

    def _plain(self, address: Any) -> dict[str, Any]:
        content: Any = self.content
        if not isinstance(content, str):
            content = [_part(part, address) for part in content]
        message: dict[str, Any] = {"role": self.role, "content": content}
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in self.tool_calls
            ]
        if self.tool_call_id:
            message["tool_call_id"] = self.tool_call_id
        return message


def system(text: str) -> Message:
    """A system message."""
    return Message("system", text)


def user(text: str, *pictures: Picture) -> Message:
    """A user's message, with pictures after the text where there are any."""
    return Message("user", (text, *pictures) if pictures else text)


def assistant(text: str) -> Message:
    """What the model said earlier; never its thinking."""
    return Message("assistant", text)


def to_messages(messages: Sequence[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    """Messages from plain ``{role, content}`` mappings, as JSONL files of dialogues hold them.

    Raises ``DataError`` naming the position for what is no message.
    """
    return tuple(
        message if isinstance(message, Message) else _from_plain(position, message)
        for position, message in enumerate(messages)
    )


def clean_text(text: str) -> str:
    """The text with lone surrogates replaced: JSON and UTF-8 cannot carry them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _part(part: str | Picture, address: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    image = {"url": address(part), **({"detail": part.detail} if part.detail else {})}
    return {"type": "image_url", "image_url": image}


def _from_plain(position: int, message: Mapping[str, Any]) -> Message:
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES or not isinstance(content, str):
        raise DataError(
            f"message {position}: expected {{role: system|user|assistant|tool, content: text}}, got role {role!r} and "
            f"content of type {type(content).__name__}"
        )
    return _plain_message(role, content)


@lru_cache(maxsize=4096)
def _plain_message(role: Role, content: str) -> Message:
    """A dialogue sends its history again at every turn: its messages are made, and written out, once."""
    return Message(role, content)
