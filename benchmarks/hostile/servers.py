"""A Label Studio that serves attacks, one that must not be asked, and servers that drip."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "c0ffee0123456789c0ffee0123456789c0ffee01"
BODY = b"QzX7-a-secret-that-no-message-may-hold-"  # what the API answers
IMAGE_PATHS = ("/data/", "/tasks/")


class HostileStudio:
    """Plays Label Studio: images to whoever asks, secrets to who has the token.

    Attributes:
        files: what it serves, by path; None answers the path's secret.
        redirects: where it redirects to, by path.
        leaks: how often a path that is none of an image was asked with the token.
        asked: how often each path was asked.
    """

    def __init__(self) -> None:
        self.files: dict[str, Callable[[], bytes]] = {}
        self.encodings: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.leaks: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        studio = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                studio._answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.port = int(self._server.server_address[1])

    @contextlib.contextmanager
    def running(self) -> Iterator[HostileStudio]:
        """Serve until the `with` block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        self.asked[path] += 1
        if TOKEN in (handler.headers.get("Authorization") or "") and not path.startswith(
            IMAGE_PATHS
        ):
            self.leaks[path] += 1
        if path in self.redirects:
            self._send(handler, 302, b"", {"Location": self.redirects[path]})
        elif path in self.files:
            coding = {"Content-Encoding": self.encodings[path]} if path in self.encodings else {}
            self._send(handler, 200, self.files[path](), coding)
        else:
            self._send(handler, 200, b'{"token": "' + BODY + TOKEN.encode() + b'"}', {})

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        with contextlib.suppress(OSError):
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value.encode("ascii", "replace").decode())
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)


PIECES = (  # the answer's beginning, and what drips
    (b"HTTP/1.1 200 ", b"O"),
    (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    (b"", b""),
)


@contextlib.contextmanager
def dripping(host: str, count: int) -> Iterator[list[str]]:
    """URLs of so many servers on `host` that send a byte every now and then, for ever."""
    closing = threading.Event()
    sockets = [socket.create_server((host, 0)) for _ in range(count)]

    def serve(number: int) -> None:
        while not closing.is_set():
            try:
                connection, _ = sockets[number].accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection, number), daemon=True).start()

    def drip(connection: socket.socket, number: int) -> None:
        begin, piece = PIECES[number % len(PIECES)]
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(begin)
            while not closing.wait(1.0):
                connection.sendall(piece)

    for number in range(count):
        threading.Thread(target=serve, args=(number,), daemon=True).start()
    try:
        yield [f"http://{host}:{one.getsockname()[1]}/a.jpg" for one in sockets]
    finally:
        closing.set()
        for one in sockets:
            one.close()
