"""Adds the headers to every response that keep browsers from misusing it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Where a route sets one of them itself, its own counts.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class SafeHeaders:
    """ASGI middleware that adds HEADERS, and takes `/health/` as `/health`.

    A redirect to the path without the slash would go to whatever host the request names.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its response with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *(pair for pair in _RAW if pair[0] not in given),
                ]
            await send(message)

        if scope["path"] != "/" and scope["path"].endswith("/"):
            scope = dict(scope) | {"path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, add)
