"""An OpenAI-compatible server on the loopback that can misbehave: in a thread for tests, in a process for benchmarks.

    with MockServer() as server:
        server.on("flaky", lambda call: status(500) if call.number == 0 else reply("hello"))
        ... base_url=server.url, model="flaky"; server.calls["flaky"] is the number of requests

As a process: ``python mock_server.py --delay 0.2 --seconds 600`` prints its port, answers every request after the delay,
tells its counters at GET /stats, and ends by itself. ``listed`` is what it says at GET /models.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """One request. number: of this model's requests, from 0."""

    model: str
    number: int
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class Answer:
    """What the server does: wait, then write pieces with pauses between them, then perhaps break the connection off."""

    pieces: Sequence[bytes] = ()
    delay: float = 0.0
    pause: float = 0.0
    cut: bool = False  # a reset after the last piece
    then: list[Any] = field(default_factory=list)


def http(status: int, body: bytes, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    """A whole HTTP response."""
    lines = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    head = (
        f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    )
    return Answer([head.encode() + body], **more)


def completion(
    text: str | None, finish: str | None = "stop", usage: bool = True, **message: Any
) -> dict[str, Any]:
    """A chat completion's body."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "mock-2026-01-01",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    return body


def reply(text: str | None, finish: str | None = "stop", delay: float = 0.0, **message: Any) -> Answer:
    """A well-formed reply."""
    return http(200, json.dumps(completion(text, finish, **message)).encode(), delay=delay)


def status(
    http_status: int, message: str = "no", headers: dict[str, str] | None = None, **error: Any
) -> Answer:
    """An error as OpenAI-like servers tell it."""
    return http(http_status, json.dumps({"error": {"message": message, **error}}).encode(), headers)


def stream(chunks: Sequence[Any], done: bool = True, pause: float = 0.0, cut: bool = False) -> Answer:
    """Server-sent events; without ``done`` the stream just ends."""
    head = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    events = [f"data: {c if isinstance(c, str) else json.dumps(c)}\n\n".encode() for c in chunks]
    return Answer(
        [head, *events, *([b"data: [DONE]\n\n"] if done else [])], pause=pause, cut=cut, then=["close"]
    )


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream."""
    content = {"content": text} if text is not None else {}
    return {
        "id": "1",
        "model": "mock-2026-01-01",
        "choices": [{"index": 0, "delta": {**content, **more}, "finish_reason": finish}],
    }


class MockServer:
    """See the module. delay: seconds before the default reply, which names the number of messages it was sent."""

    def __init__(self, delay: float = 0.0) -> None:
        self.calls: Counter[str] = Counter()
        self.seen: list[Call] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.listed: Any = None  # body of GET /models; None: 404, as a server without a list
        self.listings = 0
        self._delay = delay
        self._handlers: dict[str, Callable[[Call], Answer]] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def on(self, model: str, handler: Callable[[Call], Answer]) -> str:
        """Answer a model's requests by this; returns the model's name."""
        self._handlers[model] = handler
        return model

    def __enter__(self) -> MockServer:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.listen())
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def listen(self) -> None:
        """Listen on a free port of the loopback."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    def answer(self, call: Call) -> Answer:
        """What a request gets."""
        handler = self._handlers.get(call.model)
        if handler is not None:
            return handler(call)
        return reply(f"reply {len(call.body.get('messages', ()))} of {call.model}", delay=self._delay)


class _Connection(asyncio.Protocol):
    def __init__(self, server: MockServer) -> None:
        self.server = server
        self.buffer = b""
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
            size = int(headers.get("content-length", 0))
            if len(self.buffer) < end + 4 + size:
                return
            body = self.buffer[end + 4 : end + 4 + size]
            self.buffer = self.buffer[end + 4 + size :]
            self._request(head[0], headers, body)

    def _request(self, line: str, headers: dict[str, str], body: bytes) -> None:
        server = self.server
        if " /stats " in line:
            told = {"calls": dict(server.calls), "most": server.most_in_flight}
            self.transport.write(http(200, json.dumps(told).encode()).pieces[0])
            return
        if line.startswith("GET ") and line.split(" ")[1].endswith("/models"):
            server.listings += 1
            told = server.listed if server.listed is not None else {"error": {"message": "no such path"}}
            listing = http(404 if server.listed is None else 200, json.dumps(told).encode())
            self.transport.write(listing.pieces[0])
            return
        data = json.loads(body) if body else {}
        model = str(data.get("model", line.split(" ")[1]))
        call = Call(model, server.calls[model], data, {**headers, ":path": line.split(" ")[1]})
        server.calls[model] += 1
        server.seen.append(call)
        del server.seen[:-1000]
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        answer = server.answer(call)
        if len(answer.pieces) == 1 and not answer.cut and not answer.then:
            asyncio.get_running_loop().call_later(answer.delay, self._write, answer.pieces[0])
        else:
            task = asyncio.get_running_loop().create_task(self._play(answer))
            self.tasks.add(task)

    def _write(self, piece: bytes) -> None:
        self.server.in_flight -= 1
        if not self.transport.is_closing():
            self.transport.write(piece)

    async def _play(self, answer: Answer) -> None:
        try:
            await asyncio.sleep(answer.delay)
            for piece in answer.pieces:
                self.transport.write(piece)
                await asyncio.sleep(answer.pause)
        finally:
            self.server.in_flight -= 1
        if answer.cut:
            # SO_LINGER 0 makes the close a reset
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.transport.abort()
        elif answer.then:
            self.transport.close()


def main() -> None:
    """The process form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()

    async def serve() -> None:
        server = MockServer(options.delay)
        await server.listen()
        print(server.port, flush=True)
        await asyncio.sleep(options.seconds)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
