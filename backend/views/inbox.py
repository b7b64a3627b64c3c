"""The state of a home's inbox: webhooks that wait to be applied, and those put aside."""

import time
from dataclasses import dataclass

from services.sync.inbox import mark_key
from store.inbox.inbox import count_rejected, list_waiting, stored_id
from store.store import Store

OLD_SECONDS = 10.0  # after which waiting webhooks are a fault


@dataclass(frozen=True)
class InboxStatus:
    """Acknowledged webhooks of this home that the database lacks."""

    waiting: int = 0
    oldest_seconds: float = 0.0  # that the oldest of them has waited
    rejected: int = 0  # that can't be applied; each is kept in a file


def inbox_status(store: Store) -> InboxStatus:
    """Read the inbox's files and its mark in the database; a web process may be running or not."""
    home = store.settings.home
    inbox_id = stored_id(home)
    if not inbox_id:
        return InboxStatus()
    received = list_waiting(home)  # before the mark is read: it can only be ahead
    with store.database.read() as db:
        mark = mark_key(inbox_id).get(db)
    number = 0 if mark is None else mark.number
    waiting = [at for record, at in received.items() if record > number]
    oldest = max(time.time() - min(waiting), 0.0) if waiting else 0.0
    return InboxStatus(len(waiting), oldest, count_rejected(home))


def inbox_in_words(status: InboxStatus) -> str:
    """The state as a sentence."""
    parts = []
    if status.waiting:
        parts.append(
            f"{status.waiting} webhooks wait to be applied, the oldest for "
            f"{status.oldest_seconds:.0f} s"
        )
    if status.rejected:
        parts.append(f"{status.rejected} webhooks can't be applied and were put aside")
    return "Inbox: " + ("; ".join(parts) or "nothing waits")
