"""Applies the inbox's webhooks to the database, each exactly once."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from services.sync.webhook_events import Event, Outcome, apply_event
from store.inbox.inbox import Delivery
from store.projects.key_values import Key

log = structlog.get_logger()

LATE_SECONDS = 10.0  # after which Label Studio may have used a deleted id again


class InboxTakenError(Exception):
    """Another process applies records under this inbox's id: its home is a copy."""


@dataclass(frozen=True)
class Letter:
    """A delivery that was read; without an event there is no use for it, or a reason."""

    delivery: Delivery
    event: Event | None
    reason: str = ""  # why it can't be read
    is_apart: bool = False  # its entries are applied apart: together they were refused

    @classmethod
    def read(cls, delivery: Delivery, read: Callable[[bytes], Event | None]) -> "Letter":
        """Make the event of the body by `read`, which may raise any error."""
        try:
            return cls(delivery, read(delivery.body))
        except Exception as error:  # whatever it is, the following ones mustn't wait for it
            return cls(delivery, None, _reason(error))


@dataclass(frozen=True)
class Result:
    """What became of a letter: its outcome, and why it, or a part of it, can't be applied."""

    letter: Letter
    outcome: Outcome | None
    reason: str = ""  # empty when all of it was applied


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
    if not letter.is_apart:
        try:
            with db.begin_nested():
                outcome = apply_event(db, delivery.connection_id, letter.event, late=late)
        except SQLAlchemyError:
            raise
        except Exception as error:  # a fault of ours with one of its entries
            log.warning("webhook's entries are applied apart", reason=_reason(error))
        else:
            return Result(letter, outcome)
    return _apply_apart(db, letter, letter.event, late=late)


def _apply_apart(db: Connection, letter: Letter, event: Event, *, late: bool) -> Result:
    """Apply the entries that can be."""
    outcomes: list[Outcome] = []
    reasons: list[str] = []
    for part in event.apart():
        try:
            with db.begin_nested():
                part_outcome = apply_event(db, letter.delivery.connection_id, part, late=late)
        except OperationalError:
            raise
        except Exception as error:  # whatever it is, the others mustn't be lost with it
            reasons.append(_reason(error))
        else:
            outcomes.append(part_outcome)
    reason = f"{len(reasons)} entries, the first: {reasons[0]}" if reasons else ""
    if not outcomes:
        return Result(letter, None, reason)
    changed = sum(outcome.changed for outcome in outcomes)
    return Result(letter, replace(outcomes[0], changed=changed), reason)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
