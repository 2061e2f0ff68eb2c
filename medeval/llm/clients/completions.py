"""The chat-completions format of OpenAI-compatible servers: requests to bodies, bodies and streams to replies.

Servers differ. Read here: usage may be absent; ``finish_reason`` may be null; thinking may stand in ``reasoning_content``,
``reasoning`` or ``thinking``; a refusal in ``refusal``; a 200 may hold an error. What is no completion at all is
``Kind.MALFORMED`` and tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medeval.llm.clients.failures import Filtered
from medeval.llm.errors import Kind, TransportError
from medeval.llm.messages import ToolCall, clean_text
from medeval.llm.replies import Finish, Reply, Usage
from medeval.llm.requests import ChatRequest

_FINISHES = {
    "stop": Finish.STOP, "eos": Finish.STOP, "end_turn": Finish.STOP, "stop_sequence": Finish.STOP,
    "length": Finish.LENGTH, "max_tokens": Finish.LENGTH, "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS, "tool_use": Finish.TOOL_CALLS, "content_filter": Finish.CONTENT_FILTER,
}  # fmt: skip
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def finish_of(reason: Any) -> Finish:
    """The reason that a server or LangChain gives, as one of ours."""
    return _FINISHES.get(str(reason).lower(), Finish.UNKNOWN)


def body_of(request: ChatRequest, model: str, tokens_field: str) -> dict[str, Any]:
    """The request's body. tokens_field: ``max_tokens`` or ``max_completion_tokens``."""
    sampling = request.sampling.given()
    extra = dict(sampling.pop("extra_body", {}))
    template = sampling.pop("template_args", None)
    if "max_tokens" in sampling:
        sampling[tokens_field] = sampling.pop("max_tokens")
    body: dict[str, Any] = {
        "model": model,
        "messages": [message.wire for message in request.messages],
        **sampling,
    }
    if request.tools:
        body["tools"] = [tool.wire() for tool in request.tools]
    if request.tool_choice:
        plain = request.tool_choice in ("auto", "none", "required")
        named = {"type": "function", "function": {"name": request.tool_choice}}
        body["tool_choice"] = request.tool_choice if plain else named
    if template:
        body["chat_template_kwargs"] = dict(template)
    return {**body, **_form(request), **extra}


def _form(request: ChatRequest) -> dict[str, Any]:
    form = request.object_form
    if form is None or form.form == "text":
        return {}
    if form.form == "json":
        return {"response_format": {"type": "json_object"}}
    if form.form == "schema":
        schema = {"name": form.name, "schema": form.schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    function = {"name": form.name, "description": "Give the answer.", "parameters": form.schema}
    choice = {"type": "function", "function": {"name": form.name}}
    return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}


def reply_of(body: Any) -> Reply:
    """The reply in a completion's body. Raises ``TransportError`` for what is no completion."""
    if isinstance(body, str):
        raise TransportError(Kind.MALFORMED, f"expected a chat completion, got text: {body[:200]!r}")
    if not isinstance(body, Mapping):
        raise TransportError(Kind.MALFORMED, f"expected a chat completion, got {type(body).__name__}")
    if body.get("error"):
        raise TransportError(
            Kind.SERVER, f"the server answered 200 with an error: {str(body['error'])[:500]}"
        )
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise TransportError(Kind.MALFORMED, "the completion has no choice with a message")
    text, thought = _content(message.get("content"))
    thoughts = [thought, *(str(message[name]) for name in _THOUGHTS if isinstance(message.get(name), str))]
    return Reply(
        text=text,
        thinking=clean_text("\n\n".join(dict.fromkeys(part.strip() for part in thoughts if part.strip()))),
        finish=finish_of(choice.get("finish_reason")),
        refusal=clean_text(str(message.get("refusal") or "")),
        tool_calls=_tool_calls(message),
        usage=usage_of(body.get("usage")),
        model=str(body.get("model") or ""),
        fingerprint=str(body.get("system_fingerprint") or ""),
        raw=body,
    )


def filtered_reply(error: Filtered) -> Reply:
    """The reply that a content filter's 400 stands for."""
    return Reply(finish=Finish.CONTENT_FILTER, refusal="", raw={"content_filter": str(error)})


def usage_of(usage: Any) -> Usage:
    """Token counts; all 0 where the server says nothing."""
    if not isinstance(usage, Mapping):
        return Usage()
    given, asked = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        _count(given.get("cached_tokens")) if isinstance(given, Mapping) else 0,
        _count(asked.get("reasoning_tokens")) if isinstance(asked, Mapping) else 0,
    )


class StreamedReply:
    """Puts the chunks of a stream together into a completion's body."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None

    def add(self, chunk: Any) -> None:
        """One chunk; a chunk without choices may carry the usage."""
        if not isinstance(chunk, Mapping):
            raise TransportError(Kind.MALFORMED, f"expected a stream of objects, got {type(chunk).__name__}")
        self._top |= {
            k: chunk[k] for k in ("id", "model", "system_fingerprint", "usage", "error") if chunk.get(k)
        }
        choices = chunk.get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        for name in ("content", "refusal", *_THOUGHTS):
            if isinstance(delta.get(name), str):
                self._texts.setdefault(name, []).append(delta[name])
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        self._finish = choices[0].get("finish_reason") or self._finish

    def body(self) -> dict[str, Any]:
        """The whole. Raises ``TransportError`` where the stream ended without a finish reason: it was cut off."""
        if self._finish is None and not self._top.get("error"):
            raise TransportError(Kind.CONNECTION, "the stream ended before the reply did")
        message: dict[str, Any] = {name: "".join(parts) for name, parts in self._texts.items()}
        if self._calls:
            message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        return {**self._top, "choices": [{"message": message, "finish_reason": self._finish}]}

    def _add_call(self, call: Mapping[str, Any]) -> None:
        kept = self._calls.setdefault(
            call.get("index") or 0, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        kept["id"] = kept["id"] or call.get("id") or ""
        function = call.get("function") or {}
        kept["function"]["name"] += function.get("name") or ""
        kept["function"]["arguments"] += function.get("arguments") or ""


def _content(content: Any) -> tuple[str, str]:
    """(text, thinking) of a message's content: text, or parts."""
    if isinstance(content, str):
        return clean_text(content), ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            kind = str(part.get("type", ""))
            told = part.get("text") or part.get("thinking") or part.get("reasoning") or ""
            (thoughts if "think" in kind or "reason" in kind else texts).append(
                told if isinstance(told, str) else ""
            )
    return clean_text("".join(texts)), clean_text("\n\n".join(thoughts))


def _tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    found = []
    for position, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else "{}"
            found.append(
                ToolCall(str(call.get("id") or f"call_{position}"), function["name"], clean_text(text))
            )
    return tuple(found)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
