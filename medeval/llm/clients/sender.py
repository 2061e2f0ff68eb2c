"""Posts through the HTTP client that the SDK was given, without the SDK's own request and response objects.

They cost two fifths of a call's CPU time and add nothing for a plain completion: ``benchmarks/perf/bench_llm_harness.py``
measures both. The SDK still decides where to post, with which headers, and over which connections.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class StatusError(Exception):
    """The server answered with an error status. status_code, response, body: as of the SDK's ``APIStatusError``."""

    def __init__(self, response: Any) -> None:
        self.status_code = int(response.status_code)
        self.response = response
        self.body = _body(response)
        super().__init__(f"HTTP {self.status_code}")


class Sender:
    """One place to post to. http: an ``AsyncClient`` of httpx or httpx2. url: where completions are."""

    def __init__(self, http: Any, url: str, headers: Mapping[str, Any]) -> None:
        self._http = http
        self._url = http.build_request("POST", url).url  # parsed once
        told = ((name.lower(), value) for name, value in headers.items() if isinstance(value, str))
        self._headers = dict(told)  # of two of one name the later one counts

    async def post(self, body: Mapping[str, Any]) -> Any:
        """The reply's JSON, or its text where the server calls it something else.

        Raises ``StatusError``, ``json.JSONDecodeError``, or what the HTTP client raises.
        """
        content = json.dumps(body, separators=(",", ":")).encode("ascii")
        response = await self._http.send(
            self._http.build_request("POST", self._url, content=content, headers=self._headers)
        )
        if not 200 <= response.status_code < 300:
            raise StatusError(response)
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        return json.loads(response.content) if kind.endswith("json") else response.text


def _body(response: Any) -> Any:
    """The error's JSON where there is one, else its text."""
    try:
        return json.loads(response.content)
    except ValueError:
        return response.text
