"""The base class of all records, and the parsing of lists with malformed entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.errors import StudioNonsense
from studio.records.fields import reference

R = TypeVar("R")


class Record(BaseModel):
    """A frozen record of Label Studio's JSON; keys that it doesn't name are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    noun: ClassVar[str] = "record"

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read the record. Raises StudioNonsense, a ValueError, when it is malformed."""
        try:
            # As `model_validate` does, for less: requests bring a thousand tasks.
            record: Self = cls.__pydantic_validator__.validate_python(body)
        except ValidationError as error:
            raise StudioNonsense(f"malformed {cls.noun}: {_explain(error)}") from None
        return record


@dataclass(frozen=True)
class MalformedEntry:
    """An entry of a list that can't be read: its place, its id if it has one, and why."""

    position: int
    id: int | None
    reason: str


def read_entries(
    read: Callable[[Any], R], entries: Iterable[Any]
) -> tuple[tuple[R, ...], tuple[MalformedEntry, ...]]:
    """Read each entry by itself; return the records, and the entries that are malformed."""
    records: list[R] = []
    malformed: list[MalformedEntry] = []
    for position, entry in enumerate(entries):
        try:
            records.append(read(entry))
        except StudioNonsense as error:
            malformed.append(MalformedEntry(position, reference(entry), str(error)))
    return tuple(records), tuple(malformed)


def _explain(error: ValidationError) -> str:
    """The first fault, without the value: a body may hold what no log should."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
