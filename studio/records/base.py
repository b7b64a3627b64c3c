"""The base class of all records, and the parsing of lists with malformed entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.errors import StudioNonsense
from studio.records.fields import reference

R = TypeVar("R")

REASONS = 10  # that are told apart
PLACES = 3  # that are named for each


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


class MalformedCount:
    """Counts malformed entries by reason, for one line of a log: a request may hold a million."""

    def __init__(self) -> None:
        self.total = 0
        self._by_reason: dict[str, tuple[int, list[int]]] = {}

    @classmethod
    def of(cls, entries: Iterable[MalformedEntry]) -> MalformedCount:
        """Count the entries, by their ids where they have any."""
        counted = cls()
        for entry in entries:
            counted.add(entry.reason, entry.position if entry.id is None else entry.id)
        return counted

    def add(self, reason: str, place: int | None) -> None:
        """Count an entry; `place` is its position or id, if it has one."""
        self.total += 1
        if reason not in self._by_reason and len(self._by_reason) >= REASONS:
            reason = "other reasons"
        count, places = self._by_reason.setdefault(reason, (0, []))
        if place is not None and len(places) < PLACES:
            places.append(place)
        self._by_reason[reason] = (count + 1, places)

    def __str__(self) -> str:
        """Reasons with their counts and first places: "2 x it must be an object (0, 5)"."""
        return "; ".join(
            f"{count} x {reason} ({', '.join(map(str, places))})"
            for reason, (count, places) in self._by_reason.items()
        )
