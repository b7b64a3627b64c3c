"""Applies the inbox's webhooks to the database, each exactly once."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services.sync.webhook_events import Event, Outcome, apply_event
from store.inbox.inbox import Delivery
from store.projects.key_values import Key

LATE_SECONDS = 10.0  # after which Label Studio may have used a deleted id again


class InboxTakenError(Exception):
    """Another process applies records under this inbox's id: its home is a copy."""


@dataclass(frozen=True)
class Letter:
    """A delivery that was read; without an event there is no use for it, or a reason."""

    delivery: Delivery
    event: Event | None
    reason: str = ""  # why it can't be read

    @classmethod
    def read(cls, delivery: Delivery, read: Callable[[bytes], Event | None]) -> "Letter":
        """Make the event of the body by `read`, which may raise any error."""
        try:
            return cls(delivery, read(delivery.body))
        except Exception as error:  # whatever it is, the following ones mustn't wait for it
            return cls(delivery, None, _reason(error))


@dataclass(frozen=True)
class Result:
    """What became of a letter: an outcome, or the reason why it can't be applied."""

    letter: Letter
    outcome: Outcome | None
    reason: str = ""


@dataclass(frozen=True)
class Mark:
    """How far an inbox is applied: the last record's number, and which process has applied it."""

    number: int
    process: str


def mark_key(inbox_id: str) -> Key[Mark]:
    """The key of an inbox's mark."""
    return Key(f"inbox:{inbox_id}", lambda stored: Mark(*stored), lambda mark: list(astuple(mark)))


def apply_letters(
    db: Connection, inbox_id: str, before: Mark, letters: Sequence[Letter], after: Mark, now: float
) -> list[Result]:
    """Apply letters, and move the inbox's mark in the same transaction.

    One that can't be applied leaves no trace, and harms no other. Where they were applied already,
    and only the answer to that was lost, nothing is done.

    Args:
        before: the mark as this process knows it.
        after: the mark with these letters applied.
        now: seconds since 1970.

    Raises:
        InboxTakenError: another process has moved the mark.
        SQLAlchemyError: the database can't be written now, or doesn't take one of them.
    """
    key = mark_key(inbox_id)
    mark = key.lock(db) or before
    if mark == after:
        return [Result(letter, Outcome("stored")) for letter in letters]
    if mark != before:
        raise InboxTakenError(f"{mark.process} has applied records of the inbox {inbox_id} as well")
    results = [_apply(db, letter, now) for letter in letters]
    key.set(db, after)
    return results


def _apply(db: Connection, letter: Letter, now: float) -> Result:
    if letter.reason:
        return Result(letter, None, letter.reason)
    if letter.event is None:
        return Result(letter, Outcome("ignored: no use for this action"))
    delivery = letter.delivery
    late = now - delivery.received_at > LATE_SECONDS
    try:
        with db.begin_nested():
            outcome = apply_event(db, delivery.connection_id, letter.event, late=late)
    except SQLAlchemyError:
        raise
    except Exception as error:  # a fault of ours with this one
        return Result(letter, None, _reason(error))
    return Result(letter, outcome)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
