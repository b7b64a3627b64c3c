"""Answers errors as a JSON object `error`, and unexpected exceptions too."""

import sqlite3

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.http.request_bodies import RequestError
from backend.http.thread_pool import BusyError
from store.database.faults import explain_fault
from store.files.artifacts import ArtifactError
from store.inbox.inbox import InboxFullError

log = structlog.get_logger()

RETRY_AFTER = 5  # seconds


def error_response(status: int, message: str, retry_after: int | None = None) -> JSONResponse:
    """An error as a response; `retry_after` is in seconds."""
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return JSONResponse({"error": message}, status_code=status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Answer expected errors; a transient one is a 503 with Retry-After."""

    @app.exception_handler(RequestError)
    async def _refused(_request: Request, error: RequestError) -> JSONResponse:
        return error_response(error.status, str(error), error.retry_after)

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return error_response(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["loc"] == ("body",) and first["type"] != "missing":
            return error_response(400, "the body must be a JSON object")
        return error_response(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    async def _busy(_request: Request, error: Exception) -> JSONResponse:
        return error_response(503, str(error), RETRY_AFTER)

    app.add_exception_handler(BusyError, _busy)
    app.add_exception_handler(InboxFullError, _busy)

    async def _unavailable(request: Request, error: Exception) -> JSONResponse:
        reason = explain_fault(error)
        log.error("store or broker unavailable", path=request.url.path, reason=reason)
        return error_response(503, f"not available now: {reason}", RETRY_AFTER)

    # SQLite's own errors come from where a transaction begins, before SQLAlchemy wraps them.
    for kind in (SQLAlchemyError, sqlite3.Error, ArtifactError, OSError):
        app.add_exception_handler(kind, _unavailable)


class CaughtExceptions:
    """ASGI middleware that answers unexpected exceptions with a 500.

    An exception that reaches the server would close the connection, and a client that sends its
    next request on it would lose that one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer for it when it fails."""
        started = False

        async def note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except ClientDisconnect:
            pass  # nobody waits for an answer
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            if isinstance(error, RecursionError):
                log.warning("request nested too deeply", path=scope["path"])
                response = error_response(400, "the body is nested too deeply")
            else:
                log.exception("request failed", path=scope["path"])
                response = error_response(500, "this is a fault in Apprentice; its log says more")
            await response(scope, receive, send)
