"""A client that sends any bytes as a request, and reads the answers."""

from __future__ import annotations

import asyncio
import contextlib

from benchmarks.hostile.mutations import RawRequest

ANSWER_SECONDS = 20.0


class NoAnswerError(Exception):
    """The server closed the connection, or didn't answer in time."""


class RawClient:
    """One connection that is opened again whenever it was closed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: RawRequest) -> int:
        """Send the request and return the answer's status.

        Raises:
            NoAnswerError: there was none.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._send(request)
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
            self.close()
            raise NoAnswerError(repr(error)) from error

    async def _send(self, request: RawRequest) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=2**20)
        reader, writer = self._streams
        writer.write(request.to_bytes())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        if request.method != "HEAD":
            await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split(" ")[1])

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            with contextlib.suppress(OSError):
                self._streams[1].close()
            self._streams = None
