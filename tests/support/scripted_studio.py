"""A scripted HTTP server in a thread, and tokens as Label Studio makes them."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.images.addresses import AddressPolicy


@dataclass(frozen=True)
class Request:
    """A request that the server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


@dataclass(frozen=True)
class Reply:
    """What a route answers. `write` may send the body itself, in its own time."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    write: Callable[[BaseHTTPRequestHandler], None] | None = None


Route = Callable[[Request], Reply]

CERTIFICATE = Path(__file__).parents[1] / "data" / "tls" / "certificate.pem"  # until 2126


class ScriptedServer:
    """Answers by path (without the query); 404 for any other. Keeps the requests it got.

    With `tls` it has a certificate of its own for "localhost", which nobody trusts by itself.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                script._answer(self)

            do_HEAD = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._tls = tls
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_name("key.pem"))
            # The handshake is made in the request's thread: a refused one mustn't end the server.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    def on(self, path: str, reply: Reply | Route) -> None:
        self.routes[path] = (lambda _request: reply) if isinstance(reply, Reply) else reply

    def asked(self, path: str) -> list[Request]:
        """The requests for a path, without their queries."""
        return [request for request in self.requests if request.path.split("?")[0] == path]

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        request = Request(
            method=handler.command,
            path=handler.path,
            headers={name.lower(): value for name, value in handler.headers.items()},
            body=handler.rfile.read(length),
        )
        self.requests.append(request)
        route = self.routes.get(handler.path.split("?")[0])
        reply = route(request) if route else Reply(404, b"nothing here")
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.write is not None:
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.close_connection = True
            try:
                reply.write(handler)
            except OSError:
                return  # the client has seen enough
        else:
            if "Content-Length" not in reply.headers:
                handler.send_header("Content-Length", str(len(reply.body)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(reply.body)


def json_reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def jwt(**claims: Any) -> str:
    """A token of JWT form; nobody here checks its signature."""
    parts = [{"alg": "HS256", "typ": "JWT"}, claims, "signature"]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


REFRESH_TOKEN = jwt(token_type="refresh", exp=8_000_000_000, iat=1, user_id=1)
IMAGE = b"the bytes of an image"
UPLOAD = "/data/upload/1/ab-cat.jpg"
LOCAL = AddressPolicy(allow_private=True)  # the scripted servers are on this machine
LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"
