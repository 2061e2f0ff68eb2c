"""Any OpenAI-compatible server, through the official SDK: OpenAI, vLLM, Ollama, llama.cpp, Azure.

Of a call by ``chat.completions.create``, the transformation of messages and the typed parsing cost half of the CPU time.
Where the SDK offers its aiohttp transport, that is used, and requests go straight through it (``sender.py``); elsewhere, for
Azure and for streams, it is the SDK's ``client.post``. Retries and time limits are the harness's, so the SDK's are off.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator

from medeval.llm.clients.base import Capabilities, ClientIdentity
from medeval.llm.clients.completions import StreamedReply, body_of, filtered_reply, reply_of
from medeval.llm.clients.failures import Filtered, classify
from medeval.llm.clients.sender import Sender
from medeval.llm.errors import Kind, TransportError
from medeval.llm.loops import PerLoop
from medeval.llm.replies import Reply
from medeval.llm.requests import ChatRequest
from medeval.llm.secrets import Secret, from_environment, from_file, guard_logger, variable_name
from medeval.types import UserError, nearest

_POOLS: dict[Any, PerLoop[Any]] = {}  # one SDK client, so one pool of connections, for each server and key
LISTING_SECONDS = 5.0  # that a server's list of models is waited for
OPENAI = "https://api.openai.com/v1"
VariableName = Annotated[str, AfterValidator(variable_name)]


def plain_url(url: str) -> str:
    """Check that a URL holds no credentials; never repeats one that does."""
    parts = urlsplit(url)
    if "@" in url or parts.query or parts.fragment:
        raise ValueError(
            "the URL holds credentials or a query (not repeated here); keys are named by api_key_env or headers_env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL such as http://localhost:8000/v1, with http or https and a host")
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path.rstrip("/"), "", ""))


@dataclass(eq=False)
class _Opened:
    """What one event loop holds: the SDK's client, the way past it where there is one, and the server's list once asked."""

    sdk: Any
    sender: Sender | None = None
    listing: asyncio.Task[list[str]] | None = None

    async def listed(self) -> list[str]:
        """Names of the server's models, asked once; [] where it does not tell."""
        if self.listing is None:
            self.listing = asyncio.create_task(self._listed())
        return await asyncio.shield(self.listing)

    async def _listed(self) -> list[str]:
        try:
            told = await asyncio.wait_for(self.sdk.get("/models", cast_to=object), LISTING_SECONDS)
        except Exception:  # whatever keeps the list back: the first call will say what is wrong
            return []
        return listed_models(told)


class OpenAIClient:
    """A model behind an OpenAI-compatible server.

    model: its name there; for Azure, the deployment. base_url: the server, default OpenAI's. api_key_env: the environment
    variable that holds the key, default OPENAI_API_KEY (AZURE_OPENAI_API_KEY for Azure); servers at another base_url may
    need none. api_key_file: the file that holds it. headers_env: further headers, each with the variable that holds its
    value. azure_endpoint, api_version: the Azure form. stream: ask for a stream, which keeps slow replies alive behind
    proxies. max_tokens_field: found out by itself where ``auto``. check_model: look the name up in the server's list of
    models before a run; false for a server that takes names which it does not list.
    """

    def __init__(
        self,
        model: str,
        base_url: Annotated[str, AfterValidator(plain_url)] | None = None,
        api_key_env: VariableName | None = None,
        api_key_file: Path | None = None,
        headers_env: dict[str, VariableName] | None = None,
        azure_endpoint: Annotated[str, AfterValidator(plain_url)] | None = None,
        api_version: str | None = None,
        stream: bool = False,
        max_tokens_field: Annotated[str, AfterValidator(lambda name: _known_field(name))] = "auto",
        check_model: bool = True,
    ) -> None:
        if azure_endpoint and not api_version:
            raise UserError("azure_endpoint needs api_version, such as '2024-10-21'")
        if azure_endpoint and base_url:
            raise UserError("give base_url or azure_endpoint, not both")
        self._model = model
        self._azure = plain_url(azure_endpoint) if azure_endpoint else None
        self._url = self._azure or (plain_url(base_url) if base_url else OPENAI)
        self._api_version = api_version
        self._key_file = api_key_file
        self._key_env = api_key_env or ("AZURE_OPENAI_API_KEY" if azure_endpoint else "OPENAI_API_KEY")
        self._key_named = api_key_env is not None
        self._headers_env = headers_env or {}
        self._stream = stream
        self._check_model = check_model
        self._tokens_field = "max_tokens" if max_tokens_field == "auto" else max_tokens_field
        place = (
            self._url,
            api_version,
            self._key_env,
            self._key_named,
            api_key_file,
            tuple(self._headers_env.items()),
        )
        self._pool = _POOLS.setdefault(place, PerLoop(self._open, lambda opened: opened.sdk.close()))
        details = {"api_version": api_version} if azure_endpoint else {}
        self._identity = ClientIdentity(
            "azure" if azure_endpoint else "openai",
            model,
            self._url,
            str(api_key_file or self._key_env),
            details,
        )

    @property
    def identity(self) -> ClientIdentity:
        """Who answers."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """All forms; what a server lacks is found out at its first 400."""
        return Capabilities()

    def check(self) -> None:
        """Raises ``UserError`` when the SDK or the key is missing; sends nothing."""
        _sdk()
        self._secrets()

    async def unlisted(self) -> str:
        """Why the server would not know this model, by one request for its list; "" when it does, or does not tell.

        A server without a list, a broken, empty or late one, and one that serves one model under any name (llama.cpp) do
        not tell. Ollama's ``NAME:latest`` is ``NAME``, an entry with ``*`` is all that fit. Azure lists no deployments.
        """
        if not self._check_model or self._azure is not None:
            return ""
        names = await (await self._pool.get()).listed()
        known = any(
            self._model == name or name == f"{self._model}:latest" or fnmatchcase(self._model, name)
            for name in names
        )
        if known or not names:
            return ""
        hint = nearest(self._model, names) if len(names) <= 50 else f"{len(names)} models are listed"
        return f"{self._url} lists no model {self._model!r}; {hint}; `check_model: false` asks for it all the same"

    async def complete(self, request: ChatRequest) -> Reply:
        """One call. Raises ``TransportError``."""
        opened = await self._pool.get()
        body = body_of(request, self._model, self._tokens_field)
        try:
            return await self._post(opened, body)
        except TransportError as error:
            renamed = self._renamed(error, body)
            if renamed is None:
                raise
        return await self._post(opened, renamed)

    async def close(self) -> None:
        """Close the running loop's connections; also done by itself when the loop ends."""
        await self._pool.close()

    async def _post(self, opened: _Opened, body: dict[str, Any]) -> Reply:
        failure: TransportError | Filtered
        try:
            if self._stream:
                return reply_of(await self._streamed(opened.sdk, body))
            if opened.sender is not None:
                return reply_of(await opened.sender.post(body))
            return reply_of(await opened.sdk.post("/chat/completions", body=body, cast_to=object))
        except TransportError:
            raise
        except Exception as error:
            failure = classify(error)
            if failure_is_code(failure):
                failure = TransportError(Kind.MALFORMED, f"the SDK could not read the reply: {failure}")
        if isinstance(failure, Filtered):
            return filtered_reply(failure)
        raise failure

    async def _streamed(self, client: Any, body: dict[str, Any]) -> dict[str, Any]:
        whole = StreamedReply()
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        stream = await client.post(
            "/chat/completions",
            body=asked,
            cast_to=object,
            stream=True,
            stream_cls=_sdk().AsyncStream[object],
        )
        async for chunk in stream:
            whole.add(chunk)
        return whole.body()

    def _renamed(self, error: TransportError, body: dict[str, Any]) -> dict[str, Any] | None:
        """The body with the other name of the token limit, when that is what the server asks for."""
        other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[
            self._tokens_field
        ]
        wrong = error.kind in (Kind.UNSUPPORTED, Kind.BAD_REQUEST) and other in str(error)
        if not wrong or self._tokens_field not in body:
            return None
        renamed = {**body, other: body[self._tokens_field]}
        del renamed[self._tokens_field]
        self._tokens_field = other
        return renamed

    def _secrets(self) -> tuple[Secret | None, dict[str, Secret]]:
        headers = {name: from_environment(variable) for name, variable in self._headers_env.items()}
        if self._key_file is not None:
            return from_file(self._key_file), headers
        needed = self._key_named or self._azure is not None or self._url == OPENAI
        return (from_environment(self._key_env) if needed else None), headers

    def _open(self) -> _Opened:
        sdk = _sdk()
        key, headers = self._secrets()
        options: dict[str, Any] = {
            "api_key": key.reveal() if key else "EMPTY",
            "default_headers": {name: secret.reveal() for name, secret in headers.items()},
            "max_retries": 0,
            "timeout": None,  # the harness limits the whole try; the SDK would limit each read
        }
        if (transport := _aiohttp_transport(sdk)) is not None:
            options["http_client"] = transport
        if self._azure is not None:
            return _Opened(
                sdk.AsyncAzureOpenAI(azure_endpoint=self._azure, api_version=self._api_version, **options)
            )
        client = sdk.AsyncOpenAI(base_url=self._url, **options)
        if transport is None:
            return _Opened(client)
        told = {"Authorization": f"Bearer {options['api_key']}", **client.default_headers}
        return _Opened(client, Sender(transport, f"{client.base_url}chat/completions", told))


def listed_models(told: Any) -> list[str]:
    """Names in the body of ``GET /models``; [] for any other body, and for a server that takes every name."""
    entries = told.get("data") if isinstance(told, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return []
    if any(entry.get("owned_by") == "llamacpp" for entry in entries):
        return []
    return [entry["id"] for entry in entries if isinstance(entry.get("id"), str)]


def failure_is_code(failure: TransportError | Filtered) -> bool:
    """True for an exception that says nothing of server or network."""
    return isinstance(failure, TransportError) and failure.kind is Kind.RAISED


def _known_field(name: str) -> str:
    if name not in ("auto", "max_tokens", "max_completion_tokens"):
        raise ValueError(f"expected auto, max_tokens or max_completion_tokens, got {name!r}")
    return name


def _aiohttp_transport(sdk: Any) -> Any:
    """The SDK's HTTP client on aiohttp, or None where it is not installed and the SDK's own is used.

    The pool of the SDK's own up to 2.x looks at every connection for every request: at 64 connections that is 10 ms of CPU
    a call. Before 1.9x the SDK had no such client, and the package httpx-aiohttp brings it.
    """
    limits = {"timeout": None, "limits": sdk.DEFAULT_CONNECTION_LIMITS}
    try:
        if hasattr(sdk, "DefaultAioHttpClient"):
            return sdk.DefaultAioHttpClient(**limits)
        return importlib.import_module("httpx_aiohttp").HttpxAiohttpClient(**limits)
    except (ImportError, RuntimeError):
        return None


def _sdk() -> Any:
    try:
        import openai
    except ImportError:
        raise UserError(
            "the client `openai` needs its SDK: `pip install 'medeval-bench[llm]'` brings it"
        ) from None
    guard_logger("openai", "openai._base_client", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp")
    return openai
