"""Reads request bodies within limits: of one body, and of the memory that all of them take."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.http.error_responses import RETRY_AFTER, error_response
from backend.http.request_bodies import INLINE_BODY, RequestError

MAX_BODY = 50_000_000  # bytes; 10,000 tasks with their annotations are about 20 MB
MAX_API_BODY = 100_000  # bytes; our own API is sent a few short fields
ALL_BODIES = 64_000_000  # bytes of all bodies that are being read or answered
PARSED_SMALL = 30_000_000  # bytes that all parsed small bodies may take together
PARSED_LARGE = 150_000_000  # bytes that all parsed large bodies may take together

# What Python takes for parsed JSON, in bytes, by the characters that stand for it: an object, an
# array, a value after another one, one of a string's two quotes.
COSTS = ((b"{", 230), (b"[", 80), (b",", 40), (b'"', 25))
WIDE = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")  # characters that take four bytes each
WIDER = re.compile(rb"[\xc4-\xef]|\\u")  # two


def parsed_size(body: bytes | bytearray) -> int:
    """The bytes that a JSON body takes once it is parsed, at most: counted before it is.

    A string takes as much for each character as its widest one needs, and so does the body's text.
    """
    width = 4 if WIDE.search(body) else 2 if WIDER.search(body) else 1
    return 2 * width * len(body) + sum(cost * body.count(sign) for sign, cost in COSTS)


class _Room:
    """Memory that requests share: those that find no room wait. For one event loop."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Take `size` bytes for a `with` block.

        Raises:
            RequestError: 413, it is more than there ever is.
        """
        if size > self._size:
            raise RequestError(413, "the body has too many values: send fewer tasks at a time")
        while size > self._free:
            self._freed.clear()
            await self._freed.wait()
        self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._freed.set()


class LimitedBodies:
    """ASGI middleware that reads each request's body before the request is answered.

    A body that is too large is a 413, as soon as that shows. When bodies take too much memory
    together, further ones are a 503, or wait until others are answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held = 0
        self._small, self._large = _Room(PARSED_SMALL), _Room(PARSED_LARGE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or answer 413 or 503."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._read(scope, receive, body)
            room = self._small if len(body) <= INLINE_BODY else self._large
            async with room.take(await _parsed_size(body)):
                await self._app(scope, _replay(body, receive), send)
        except RequestError as error:
            await error_response(error.status, str(error), error.retry_after)(scope, receive, send)
        finally:
            self._held -= len(body)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        limit = MAX_API_BODY if scope["path"].startswith("/api/") else MAX_BODY
        too_large = RequestError(413, f"the body is larger than {limit:,} bytes")
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared[:20]) > limit:
            raise too_large
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part, more = message.get("body", b""), message.get("more_body", False)
            body += part
            self._held += len(part)
            if len(body) > limit:
                raise too_large
            if self._held > ALL_BODIES:
                raise RequestError(503, "too many large requests at once", retry_after=RETRY_AFTER)


async def _parsed_size(body: bytearray) -> int:
    if len(body) <= INLINE_BODY:
        return parsed_size(body)
    return await asyncio.to_thread(parsed_size, body)


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _replay(body: bytearray, receive: Receive) -> Receive:
    """A `receive` that tells the whole body first, and then what comes after it."""
    told = False

    async def tell() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return tell
