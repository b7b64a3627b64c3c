"""Runs the web process, with time limits on connections that send slowly or not at all."""

import asyncio
import contextlib
import resource
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from store.settings import Settings

KEEP_ALIVE = 75  # seconds; a connection that we close just as it is used again loses a request
STOP_SECONDS = 5  # for requests under way
HEADER_SECONDS = 10.0  # from a connection's or a request's start to the end of its headers
BODY_SECONDS = 60.0  # from a request's start to its end
HEADER_BYTES = 65_536  # of a request's line, headers and trailers
CHUNK_OVERHEAD = 16  # most bytes sent for one of the body: chunks may hold a single one
CONNECTIONS = 1_000  # at a time
FILES = 65_536  # open at a time, where the system allows it


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 that closes a connection whose client lets us wait.

    Uvicorn itself limits only the time between an answer and the next request.
    """

    _timer: asyncio.TimerHandle | None = None
    _in_message = False
    _in_headers = True
    _body_bytes = 0  # among those that came last
    _header_bytes = 0  # of this request, with all else that is no body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._wait(HEADER_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Read what came; what is still missing has to come in time."""
        self._body_bytes = 0
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_message:
            self._header_bytes = 0
            self._stop_waiting()
            return
        self._header_bytes += max(0, len(data) - CHUNK_OVERHEAD * self._body_bytes)
        if self._header_bytes > HEADER_BYTES:
            if self._in_headers:
                self.send_400_response("The headers are too large.")
            else:
                self.transport.abort()
        elif self._timer is None:
            self._wait(HEADER_SECONDS if self._in_headers else BODY_SECONDS)

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._in_message = self._in_headers = True
        self._header_bytes = 0

    def on_headers_complete(self) -> None:
        """Note that only the body may be missing."""
        self._in_headers = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        self._in_message = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that isn't used, also when its last answer was never read."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def server_options(settings: Settings) -> dict[str, Any]:
    """Uvicorn's options for the web process."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": PatientProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE,
        "timeout_graceful_shutdown": STOP_SECONDS,
    }


def run_server(app: FastAPI, settings: Settings) -> None:
    """Serve the application until SIGTERM or Ctrl-C."""
    with contextlib.suppress(ValueError, OSError):  # connections must not use up the files
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        enough = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))
    uvicorn.run(app, **server_options(settings))
