"""Any LangChain chat model, or any Runnable from messages to a message or text.

LangChain's own cache, retries and callbacks are switched off: the harness has them, once.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import SecretStr

from medeval.llm.clients.base import Capabilities, ClientIdentity
from medeval.llm.clients.completions import filtered_reply, finish_of, usage_of
from medeval.llm.clients.failures import Filtered, classify
from medeval.llm.errors import Kind, TransportError
from medeval.llm.messages import ToolCall, clean_text
from medeval.llm.replies import Finish, Reply, Usage
from medeval.llm.requests import ChatRequest, Form
from medeval.llm.secrets import remember
from medeval.plugins import resolve
from medeval.types import UserError, digest

_SECRET = ("key", "token", "secret", "password", "authorization", "headers")


class LangChainClient:
    """model: ``package.module:object`` or ``file.py:object`` (a chat model, a Runnable, or a class or function that makes
    one), or a name for ``langchain.chat_models.init_chat_model`` such as ``openai:gpt-4o-mini``. options: keywords for
    that class, function or ``init_chat_model``; keys are read by LangChain from the environment. name: identifies the model
    in caches and tables where it cannot tell itself.
    """

    def __init__(self, model: str, options: dict[str, Any] | None = None, name: str | None = None) -> None:
        self._reference = model
        self._options = options or {}
        self._name = name
        for key in self._options:
            if (
                any(word in key.lower() for word in ("api_key", "token", "secret", "password"))
                and "max" not in key
            ):
                raise UserError(
                    f"options.{key}: keys never stand in a suite; LangChain reads them from the environment"
                )

    @property
    def identity(self) -> ClientIdentity:
        """Class and identifying parameters of the model, secrets left out."""
        return self._identity

    @cached_property
    def _identity(self) -> ClientIdentity:
        found = self._identifying or {}
        name = self._name or str(found.get("model") or found.get("model_name") or self._reference)
        details = {"class": type(self._model).__qualname__, "options": self._options}
        details |= (
            {"parameters": digest(json.dumps(found, sort_keys=True, default=str))[:16]} if found else {}
        )
        return ClientIdentity("langchain", name, account=self._reference, details=details)

    @property
    def capabilities(self) -> Capabilities:
        """Not cached where nothing identifies the model: two Runnables of one class may differ."""
        forms: tuple[Form, ...] = ("tool", "text") if hasattr(self._model, "bind_tools") else ("text",)
        forms = ("schema", *forms) if "openai" in type(self._model).__module__ else forms
        return Capabilities(forms=forms, cacheable=self._name is not None or self._identifying is not None)

    def check(self) -> None:
        """Raises ``UserError`` when LangChain, the model or its key is missing; sends nothing."""
        _ = self._model

    async def complete(self, request: ChatRequest) -> Reply:
        """One call. Raises ``TransportError``."""
        failure: TransportError | Filtered
        try:
            return _reply(
                await self._bound(request).ainvoke(
                    [m.wire for m in request.messages], config={"callbacks": []}
                )
            )
        except TransportError:
            raise
        except NotImplementedError as error:  # no tools, no structured output
            feature = (
                "tools"
                if request.object_form is None or request.object_form.form == "tool"
                else "response_format"
            )
            failure = TransportError(
                Kind.UNSUPPORTED, f"{self._reference}: {error or 'not implemented'}", feature=feature
            )
        except Exception as error:
            failure = classify(error)
        if isinstance(failure, Filtered):
            return filtered_reply(failure)
        raise failure

    @cached_property
    def _model(self) -> Any:
        try:
            import langchain_core.runnables as runnables
        except ImportError:
            raise UserError(
                "the client `langchain` needs langchain-core: `pip install 'medeval-bench[llm]'`"
            ) from None
        made = self._made(self._options)
        retries = getattr(made, "max_retries", 0) != 0 and "max_retries" not in self._options
        if retries and self._makes is not None:
            made = self._made(
                {**self._options, "max_retries": 0}
            )  # clients are built with it: setting it later is too late
        if not isinstance(made, runnables.Runnable):
            raise UserError(
                f"{self._reference}: expected a LangChain chat model or Runnable, got {type(made).__name__}"
            )
        if hasattr(made, "cache"):
            made.cache = False
        _remember_keys(made)
        return made

    @cached_property
    def _makes(self) -> Any:
        """What makes the model of options; None where the reference is the model itself."""
        if not _is_object(self._reference):
            return lambda **options: _init_chat_model(self._reference, options)
        found = resolve("medeval.clients", self._reference)
        maker = isinstance(found, type) or (callable(found) and not hasattr(found, "ainvoke"))
        return found if maker else None

    def _made(self, options: dict[str, Any]) -> Any:
        if self._makes is None:
            if options:
                raise UserError(
                    f"{self._reference} is an object, not a class or function: it takes no options"
                )
            return resolve("medeval.clients", self._reference)
        try:
            return self._makes(**options)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self._reference} cannot be built: {type(error).__name__}: {error}") from None

    @cached_property
    def _identifying(self) -> dict[str, Any] | None:
        found = getattr(self._model, "_identifying_params", None)
        if not isinstance(found, Mapping):
            return None
        return {k: v for k, v in found.items() if not any(word in str(k).lower() for word in _SECRET)}

    def _bound(self, request: ChatRequest) -> Any:
        """The model with the request's sampling, tools and asked form."""
        model, form, bound = self._model, request.object_form, self._sampling(request)
        if form is not None and form.form == "tool":
            tool = {"name": form.name, "description": "Give the answer.", "parameters": form.schema}
            model = model.bind_tools([{"type": "function", "function": tool}], tool_choice=form.name)
        elif form is not None and form.form == "schema":
            schema = {"name": form.name, "schema": form.schema, "strict": True}
            bound["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.tools:
            choice = {"tool_choice": request.tool_choice} if request.tool_choice else {}
            model = model.bind_tools([tool.wire() for tool in request.tools], **choice)
        return model.bind(**bound) if bound else model

    def _sampling(self, request: ChatRequest) -> dict[str, Any]:
        """Keywords for the model. A Runnable that is no chat model takes none: what it drops is on the reply."""
        sampling = request.sampling.given()
        if sampling and not hasattr(self._model, "bind_tools"):
            name = next(iter(sampling))
            raise TransportError(
                Kind.UNSUPPORTED, f"{self._reference} is a Runnable and takes no {name}", feature=name
            )
        template = sampling.pop("template_args", None)
        if template:
            sampling["extra_body"] = {**sampling.get("extra_body", {}), "chat_template_kwargs": template}
        return sampling


def _remember_keys(model: Any) -> None:
    """Redact the keys that LangChain has read from the environment, as our own are."""
    for name in getattr(type(model), "model_fields", {}):
        value = getattr(model, name, None)
        if isinstance(value, SecretStr):
            remember(value.get_secret_value())


def _is_object(reference: str) -> bool:
    """True for ``module:object`` and ``file.py:object``, False for a name such as ``openai:gpt-4o-mini``."""
    module, colon, name = reference.partition(":")
    if "." in module or "/" in module:
        return bool(colon)
    try:
        return name.isidentifier() and hasattr(importlib.import_module(module), name)
    except (ImportError, ValueError):  # ValueError: no name of a module at all
        return False


def _init_chat_model(name: str, options: dict[str, Any]) -> Any:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        raise UserError(
            f"{name!r} is a name for init_chat_model, which is in the package `langchain`: pip install it"
        ) from None
    return init_chat_model(name, **options)


def _reply(answer: Any) -> Reply:
    """A message or a text as a reply."""
    if isinstance(answer, str):
        return Reply(text=clean_text(answer), finish=Finish.STOP)
    if not hasattr(answer, "content"):
        raise TransportError(
            Kind.RAISED, f"expected a message or text from the Runnable, got {type(answer).__name__}"
        )
    told = dict(getattr(answer, "response_metadata", None) or {})
    extra = dict(getattr(answer, "additional_kwargs", None) or {})
    text, thoughts = _content(answer)
    calls = tuple(
        ToolCall(
            str(call.get("id") or f"call_{i}"), str(call.get("name")), json.dumps(call.get("args") or {})
        )
        for i, call in enumerate(getattr(answer, "tool_calls", None) or ())
    )
    calls += tuple(
        ToolCall(str(call.get("id") or "invalid"), str(call.get("name") or ""), str(call.get("args") or ""))
        for call in getattr(answer, "invalid_tool_calls", None) or ()
    )
    reason = told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason")
    thoughts += [
        str(extra[name]) for name in ("reasoning_content", "reasoning") if isinstance(extra.get(name), str)
    ]
    return Reply(
        text=text,
        thinking="\n\n".join(dict.fromkeys(t.strip() for t in thoughts if t.strip())),
        finish=finish_of(reason) if reason else Finish.UNKNOWN,
        refusal=str(extra.get("refusal") or ""),
        tool_calls=calls,
        usage=_usage(getattr(answer, "usage_metadata", None), told),
        model=str(told.get("model_name") or told.get("model") or ""),
        fingerprint=str(told.get("system_fingerprint") or ""),
        raw={"content": answer.content, "response_metadata": told, "additional_kwargs": extra},
    )


def _content(answer: Any) -> tuple[str, list[str]]:
    if isinstance(answer.content, str):
        return clean_text(answer.content), []
    texts: list[str] = []
    thoughts: list[str] = []
    for part in answer.content:
        kind = "text" if isinstance(part, str) else str(part.get("type", ""))
        told = (
            part
            if isinstance(part, str)
            else part.get("text") or part.get("thinking") or part.get("reasoning") or ""
        )
        (thoughts if "think" in kind or "reason" in kind else texts).append(str(told))
    return clean_text("".join(texts)), [clean_text(thought) for thought in thoughts]


def _usage(given: Any, told: Mapping[str, Any]) -> Usage:
    if not isinstance(given, Mapping):
        return usage_of(told.get("token_usage"))
    cached = (given.get("input_token_details") or {}).get("cache_read") or 0
    reasoning = (given.get("output_token_details") or {}).get("reasoning") or 0
    return Usage(given.get("input_tokens") or 0, given.get("output_tokens") or 0, cached, reasoning)
