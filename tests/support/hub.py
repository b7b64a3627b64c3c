"""A server in a thread that speaks the Hugging Face hub's protocol for downloads."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class Hub:
    """Its address, its files, how it misbehaves, and what it was asked."""

    url: str
    files: dict[str, bytes]  # {"OWNER/REPOSITORY/FILE": contents}
    announced_digest: str | None = None  # in place of the contents' own SHA-256
    breaks_after: int | None = None  # bytes of the next download, which then breaks off
    status: int | None = None  # of every answer, in place of what was asked for
    error_code: str = "EntryNotFound"  # the hub's own word for a refusal
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, range


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve these files on the loopback address."""
    served = Hub("", files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, *, with_body: bool) -> None:
            asked_range = self.headers.get("Range")
            served.asked.append((self.command, self.path, asked_range))
            named = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path)
            body = served.files.get(f"{named[1]}/{named[2]}") if named else None
            if served.status is not None or body is None:
                self._refuse(served.status or 404, served.error_code)
                return
            start = int(asked_range.removeprefix("bytes=").rstrip("-")) if asked_range else 0
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            digest = served.announced_digest or hashlib.sha256(body).hexdigest()
            self.send_header("ETag", f'"{digest}"')
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            if not with_body:
                return
            end = len(body)
            if served.breaks_after is not None:
                end, served.breaks_after = min(end, start + served.breaks_after), None
            self.wfile.write(body[start:end])
            if end < len(body):
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
