"""Read single fields of Label Studio's JSON, whatever is in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from studio.errors import StudioNonsense

Json = Mapping[str, Any]


def integer(body: Any, key: str) -> int:
    """A whole number that must be there."""
    value = body.get(key) if isinstance(body, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise StudioNonsense(f"Label Studio's answer has no whole number {key!r}: {body!r:.300}")
    return value


def number(body: Json, key: str, default: int = 0) -> int:
    """A whole number, or `default` when it is missing."""
    value = body.get(key)
    return value if isinstance(value, int) else default


def fraction(body: Json, key: str) -> float | None:
    """A number or None."""
    value = body.get(key)
    return float(value) if isinstance(value, int | float) else None


def text(body: Any, key: str) -> str:
    """A text, "" when it is missing or null."""
    value = body.get(key) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def moment(body: Any, key: str) -> datetime:
    """A time with its zone that must be there."""
    value = text(body, key)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as exc:
        raise StudioNonsense(f"Label Studio's answer has no time {key!r}: {body!r:.300}") from exc
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def optional_moment(body: Any, key: str) -> datetime | None:
    """A time with its zone, None when it is missing or null."""
    return moment(body, key) if text(body, key) else None


def reference(body: Json, key: str) -> int | None:
    """The id of another object: given as a number, or as the object itself, or null."""
    value = body.get(key)
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, int) else None


def regions(body: Json) -> tuple[dict[str, Any], ...]:
    """The items of a `result`. Anything that is no region is left out."""
    return tuple(item for item in items(body, "result") if isinstance(item, dict))


def items(body: Json, key: str) -> list[Any]:
    """A list, empty when it is missing or something else."""
    value = body.get(key)
    return value if isinstance(value, list) else []
