"""Reads and parses request bodies within a size limit."""

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from backend.http.thread_pool import BoundedThreadPool

INLINE_BODY = 100_000  # bytes that are parsed at once; more would hold up other requests

DEPTH = 100  # levels of arrays and objects within one another
BLOCK = 1_000_000  # bytes whose depth is computed at a time

# Half of a surrogate pair stands for no character: no database stores it.
MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)

STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

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
    request: Request, pool: BoundedThreadPool, *, limit: int | None = None
) -> dict[str, Any]:
    """Read the body as a JSON object. `LimitedBodies` has read it within its own limits already.

    Raises:
        RequestError: the body is larger than `limit` bytes (413), no JSON, or no object (400).
    """
    return (await read_raw_object(request, pool, limit=limit))[1]


async def read_raw_object(
    request: Request, pool: BoundedThreadPool, *, limit: int | None = None
) -> tuple[bytes, dict[str, Any]]:
    """The body as it came, and as a JSON object.

    Raises:
        RequestError: as `read_object`.
    """
    parts = [part async for part in request.stream() if part]
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    if limit is not None and len(raw) > limit:
        raise RequestError(413, f"the body is larger than {limit:,} bytes")
    body = parse(raw) if len(raw) <= INLINE_BODY else await pool.run(parse, raw)
    if not isinstance(body, dict):
        raise RequestError(400, f"the body must be a JSON object, not {kind(body)}")
    return raw, body


def parse(raw: bytes | bytearray) -> Any:
    """Parse JSON as the standard defines it: UTF-8, no NaN, no infinity.

    Half a surrogate pair, which Python's own JSON lets pass, becomes U+FFFD.

    Raises:
        RequestError: 400.
    """
    try:
        text = raw.decode()
        if MAYBE_SURROGATE.search(text):
            text = ESCAPE.sub(lambda match: r"\ufffd" if match["half"] else match[0], text)
        if not _is_deep(raw) or not _is_deep(STRING.sub(b"", raw)):
            return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except ValueError as error:  # also of the encoding
        raise RequestError(400, f"the body is not JSON: {error}") from None
    raise RequestError(400, f"the body is nested too deeply: more than {DEPTH} levels")


def _is_deep(raw: bytes | bytearray) -> bool:
    """Whether arrays and objects are nested deeper than DEPTH; brackets in strings count too."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH:
        return False
    depth = 0
    for start in range(0, len(raw), BLOCK):
        signs = np.frombuffer(raw, np.uint8, min(BLOCK, len(raw) - start), start) | 0x20
        # With that bit set, "[" and "{" are the same, and so are "]" and "}".
        steps = (signs == ord("{")).astype(np.int8) - (signs == ord("}")).astype(np.int8)
        levels = np.cumsum(steps, dtype=np.int32)
        if depth + int(levels.max()) > DEPTH:
            return True
        depth += int(levels[-1])
    return False


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
