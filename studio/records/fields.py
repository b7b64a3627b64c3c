"""The types of fields in Label Studio's JSON, and the values that each accepts.

A field that a record can't do without is strict: anything unexpected makes the record malformed.
Every other field is lenient: an unexpected value counts as absent. What a field accepts, each
database stores: no NUL character and no lone surrogate, no infinity, no id beyond 32 bits.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator

from studio.errors import StudioNonsense
from studio.regions import StudioRegion, regions_from_json

LARGEST_ID = 2**31 - 1  # what the database's integer columns hold
LARGEST_NUMBER = 1e12  # of seconds and scores: beyond it, a number is a mistake


def text(value: Any) -> str:
    """A string that any database stores, "" for anything else."""
    if not isinstance(value, str):
        return ""
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def count(value: Any) -> int:
    """A whole number, 0 for anything else."""
    return value if type(value) is int else 0


def reference(value: Any) -> int | None:
    """The id of another object, given as a number or as the object itself; else None."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if type(value) is int and 0 < value <= LARGEST_ID else None


def integer(body: Any, key: str) -> int:
    """A whole number of an answer that has no record. Raises StudioNonsense when it is missing."""
    value = body.get(key) if isinstance(body, dict) else None
    if type(value) is not int:
        raise StudioNonsense(f"Label Studio's answer has no whole number {key!r}: {body!r:.300}")
    return value


def items(body: Any, key: str) -> list[Any]:
    """A list, empty for anything else."""
    value = body.get(key) if isinstance(body, dict) else None
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    if type(value) is not float and type(value) is not int:
        return None
    return float(value) if abs(value) < LARGEST_NUMBER else None  # false for NaN


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("it must be a time")  # noqa: TRY004 - pydantic collects ValueErrors
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("it must be a time") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _optional_moment(value: Any) -> datetime | None:
    try:
        return _moment(value) if value else None
    except ValueError:
        return None


def _regions(value: Any) -> tuple[StudioRegion, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("it must be a list of objects")
    return tuple(regions_from_json(value))


def _readable_regions(value: Any) -> tuple[StudioRegion, ...]:
    listed = value if isinstance(value, list) else ()
    return tuple(StudioRegion(item) for item in listed if isinstance(item, dict))


def _data(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_creation(value: datetime) -> datetime:
    if not 0 < int(value.timestamp()) <= LARGEST_ID:
        raise ValueError("it must be a time after 1970")
    return value


# Strict: nothing else will do.
Id = Annotated[int, Field(strict=True, gt=0, le=LARGEST_ID)]
Moment = Annotated[datetime, PlainValidator(_moment)]  # with its zone, UTC where none is given
CreationTime = Annotated[Moment, AfterValidator(_is_creation)]  # tells a reused id apart
Regions = Annotated[tuple[StudioRegion, ...], PlainValidator(_regions)]  # null: none

# Lenient: anything else counts as absent.
Text = Annotated[str, PlainValidator(text)]
Count = Annotated[int, PlainValidator(count)]
Flag = Annotated[bool, PlainValidator(bool)]
Number = Annotated[float | None, PlainValidator(_number)]
Reference = Annotated[int | None, PlainValidator(reference)]
OptionalMoment = Annotated[datetime | None, PlainValidator(_optional_moment)]
Data = Annotated[dict[str, Any], PlainValidator(_data)]
ReadableRegions = Annotated[tuple[StudioRegion, ...], PlainValidator(_readable_regions)]
