"""Reads and parses request bodies within a size limit."""

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from backend.http.thread_pool import BoundedThreadPool

MAX_BODY = 200_000_000  # bytes; 10,000 tasks with their annotations are about 20 MB
INLINE_BODY = 100_000  # bytes that are parsed at once; more would hold up other requests

T = TypeVar("T")


class RequestError(Exception):
    """The request can't be answered; it has HTTP's status and a message that says what is wrong."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after  # seconds


class Body(BaseModel):
    """A request body of our own API.

    An unknown field is refused: ignoring a misspelled one would do something else than was meant
    (serve the version before, choose the default backbone).
    """

    model_config = ConfigDict(extra="forbid")


async def read_object(
    request: Request, pool: BoundedThreadPool, *, limit: int = MAX_BODY
) -> dict[str, Any]:
    """Read the body as a JSON object.

    Raises:
        RequestError: the body is too large (413), no JSON, or no object (400).
    """
    raw = await _read(request, limit)
    body = parse(raw) if len(raw) <= INLINE_BODY else await pool.run(parse, raw)
    if not isinstance(body, dict):
        raise RequestError(400, f"the body must be a JSON object, not {kind(body)}")
    return body


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    too_large = RequestError(413, f"the body is larger than {limit:,} bytes")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def parse(raw: bytes) -> Any:
    """Parse JSON as the standard defines it: no NaN, no infinity.

    Raises:
        RequestError: 400.
    """
    try:
        return json.loads(raw, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    except ValueError as error:  # also of the encoding
        raise RequestError(400, f"the body is not JSON: {error}") from None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def parse_record(parse: Callable[[dict[str, Any]], T], body: dict[str, Any]) -> T:
    """Make a record of a JSON object by `parse`, which raises ValueError for a malformed one.

    Raises:
        RequestError: 400, the body is malformed.
    """
    try:
        return parse(body)
    except ValueError as error:
        raise RequestError(400, str(error)) from None


def kind(value: Any) -> str:
    """The JSON type of a value, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")
