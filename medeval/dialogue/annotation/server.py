"""HTTP on 127.0.0.1: the page, the work, and one rating at a time.

Nothing but this page can use it: ratings and work need a token that stands in the link's fragment (never sent by a browser on
its own), requests must name this host (against DNS rebinding), a foreign ``Origin`` is refused, and a content security policy
by hash lets no other script or style run and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar, Self

from medeval.dialogue.annotation.book import Book
from medeval.dialogue.annotation.work import Work
from medeval.dialogue.files import DialogueFileError

HOST = "127.0.0.1"
_LONGEST = 16 * 1024  # bytes of a request's body
_SECONDS = 30  # that a connection may stand still


class Annotation:
    """The running page. ``url`` opens it; ``serve`` blocks until the process is stopped, ``with`` serves in a thread."""

    def __init__(self, work: Work, book: Book, port: int = 0) -> None:
        self.work, self.book = work, book
        self.token = secrets.token_urlsafe(24)
        self.page = files("medeval.dialogue.annotation").joinpath("page.html").read_text("utf-8").encode()
        self.policy = _policy(self.page.decode())
        handler = type("Handler", (_Handler,), {"owner": self})
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as error:
            raise DialogueFileError(
                f"port {port}: {error.strerror}; choose another with --port, or 0 for any free one"
            ) from error
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        """The link for the rater, with the token."""
        return f"http://{HOST}:{self.port}/#{self.token}"

    @property
    def hosts(self) -> tuple[str, str]:
        """What a request may call this host."""
        return f"{HOST}:{self.port}", f"localhost:{self.port}"

    def serve(self) -> None:
        """Answer until ``KeyboardInterrupt``."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    owner: ClassVar[Annotation]
    server_version, sys_version = "medeval", ""
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS

    def do_GET(self) -> None:
        """The page, or the work with what was rated before."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """One rating."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a terminal full of requests hides the link."""

    def _answer(self, work: Any) -> None:
        try:
            if self.headers.get("Host") not in self.owner.hosts:
                raise _Refused(421, "this page answers for its own address alone")
            kind, body = work()
            self._send(200, kind, body)
        except _Refused as refused:
            self.close_connection = True
            self._send(refused.status, "application/json", json.dumps({"error": str(refused)}).encode())

    def _get(self) -> tuple[str, bytes]:
        path = self.path.partition("?")[0]
        if path == "/":
            return "text/html; charset=utf-8", self.owner.page
        if path == "/api/work":
            self._known()
            work = self.owner.work
            plain = {**work.to_plain(), "marks": work.blinded(self.owner.book.to_plain())}
            return "application/json", json.dumps(plain, ensure_ascii=False).encode()
        raise _Refused(404, f"nothing at {path}")

    def _post(self) -> tuple[str, bytes]:
        self._known()
        if self.path != "/api/rate":
            raise _Refused(404, f"nothing at {self.path}")
        given = self._body()
        token, *rating = (given.get(name) for name in ("dialogue", "item", "score", "na"))
        if told := self.owner.work.refusal(token, *rating):
            raise _Refused(422, told)
        try:
            self.owner.book.write(self.owner.work.dialogue(token), *rating)  # type: ignore[arg-type]
        except OSError as error:
            raise _Refused(507, f"not saved: {error.strerror or error}") from error
        return "application/json", b'{"saved": true}'

    def _known(self) -> None:
        """Refuses whoever has no token, and pages from elsewhere."""
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in self.owner.hosts]:
            raise _Refused(403, "requests of other pages are refused")
        if not secrets.compare_digest(self.headers.get("X-Token", "").encode(), self.owner.token.encode()):
            raise _Refused(403, "open the link that `medeval annotate` printed: it holds the key")

    def _body(self) -> dict[str, Any]:
        if self.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise _Refused(415, "a rating is sent as application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LONGEST:
            raise _Refused(413, f"a rating has at most {_LONGEST} bytes")
        try:
            given = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _Refused(400, "a rating is sent as JSON") from error
        if not isinstance(given, dict):
            raise _Refused(400, "a rating is an object")
        return given

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self.owner.policy),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _policy(page: str) -> str:
    """The content security policy that lets this page's own script and style run, by their hashes, and nothing else."""
    hashed = {
        name: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        )
        for name in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashed['script']}; style-src {hashed['style']}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
