"""Exceptions of client libraries as ``TransportError``, by what they carry: status code, headers, body, name.

Works on the openai SDK's errors and on those of LangChain's providers, which look alike; messages are read only where the
body has no code to tell by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from medeval.llm.errors import Kind, TransportError
from medeval.llm.retry import retry_after

_CONTEXT = re.compile(
    r"context[_ ]length|maximum context|context window|too many (input )?tokens|prompt is too long|exceed(s|ed)?.{0,40}context"
    r"|input is too long", re.I)  # fmt: skip
_FILTER = re.compile(r"content[_ ](filter|management|policy)|responsible ?ai", re.I)
_SYSTEM = re.compile(
    r"system role (is )?not supported|(does not|doesn't) support (a )?system|only user and assistant roles",
    re.I,
)
_ALTERNATE = re.compile(r"roles must alternate", re.I)
_REFUSING = re.compile(r"unsupported|not supported|does not support|doesn't support|unrecognized|unknown|unexpected|invalid schema"
                       r"|not permitted|extra inputs|not allowed|only the default", re.I)  # fmt: skip
PARAMETERS = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "stop", "max_tokens")
_FEATURES = ("response_format", "json_schema", "guided_json", "tool_choice", "tools", *PARAMETERS)


class Filtered(Exception):
    """A content filter answered in the place of the model: a reply, not an error."""

    def __init__(self, message: str, body: Any) -> None:
        super().__init__(message)
        self.body = body


def classify(error: BaseException) -> TransportError | Filtered:
    """The kind of failure that an exception of a client library stands for."""
    status = _status(error)
    body = _body(error)
    message = _message(error, body)
    if status is None:
        return _without_response(error, message)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    wait = retry_after(headers)
    code = str(body.get("code") or body.get("type") or "") if isinstance(body, Mapping) else ""
    told = f"HTTP {status}: {message}"
    if status in (400, 413, 422):
        return _bad_request(told, code, body, message)
    return TransportError(_kind(status, code, message), told, retry_after=wait, status=status)


def _kind(status: int, code: str, message: str) -> Kind:
    if status == 429:
        return Kind.QUOTA if "insufficient_quota" in f"{code} {message}" else Kind.RATE_LIMITED
    if status in (401, 403):
        return Kind.AUTH
    if status == 402:
        return Kind.QUOTA
    if status == 404:
        return Kind.NOT_FOUND
    if status in (408, 409) or status >= 500:
        return Kind.SERVER
    return Kind.BAD_REQUEST


def _bad_request(told: str, code: str, body: Any, message: str) -> TransportError | Filtered:
    text = f"{code} {message}"
    if _CONTEXT.search(text):
        return TransportError(Kind.CONTEXT_LENGTH, told, status=400)
    if _FILTER.search(text):
        return Filtered(message, body)
    if _SYSTEM.search(text):
        return TransportError(Kind.UNSUPPORTED, told, feature="system", status=400)
    if _ALTERNATE.search(text):
        return TransportError(Kind.UNSUPPORTED, told, feature="alternate", status=400)
    parameter = str(body.get("param") or "") if isinstance(body, Mapping) else ""
    named = parameter.partition(".")[0] if parameter.partition(".")[0] in _FEATURES else ""
    if _REFUSING.search(text) or named in ("response_format", "tools", "tool_choice"):
        named = named or next((name for name in _FEATURES if re.search(rf"\b{name}\b", message)), "")
        if named:
            return TransportError(Kind.UNSUPPORTED, told, feature=named, status=400)
    return TransportError(Kind.BAD_REQUEST, told, status=400)


def _without_response(error: BaseException, message: str) -> TransportError:
    names = {cls.__name__ for cls in type(error).__mro__}
    told = f"{type(error).__name__}: {message}"
    if isinstance(error, TimeoutError) or any("Timeout" in name for name in names):
        return TransportError(Kind.TIMEOUT, told)
    if isinstance(error, json.JSONDecodeError):
        return TransportError(Kind.MALFORMED, f"the server's JSON does not parse: {error}")
    if names & {
        "APIConnectionError",
        "ConnectionError",
        "TransportError",
        "NetworkError",
        "ProtocolError",
        "OSError",
        "ClientError",
    }:
        cause = error.__cause__
        return TransportError(Kind.CONNECTION, f"{told} ({type(cause).__name__}: {cause})" if cause else told)
    if "APIError" in names:  # an error event inside a stream
        return TransportError(Kind.SERVER, told)
    if isinstance(error, MemoryError) or "out of memory" in message.lower():
        return TransportError(Kind.SERVER, told)
    return TransportError(Kind.RAISED, told)


def _status(error: BaseException) -> int | None:
    for value in (
        getattr(error, "status_code", None),
        getattr(getattr(error, "response", None), "status_code", None),
    ):
        if isinstance(value, int):
            return value
    return None


def _body(error: BaseException) -> Any:
    body = getattr(error, "body", None)
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        return body["error"]
    return body


def _message(error: BaseException, body: Any) -> str:
    if isinstance(body, Mapping) and isinstance(body.get("message"), str):
        return body["message"][:2000]
    if isinstance(body, str) and body.strip():
        return " ".join(body.split())[:500]
    return str(error)[:2000]
