"""The inbox's state, as people see it."""

import time
from pathlib import Path

from backend.doctor.checks import Level
from backend.doctor.machine import inbox as check
from backend.views.inbox import inbox_in_words, inbox_status
from services.sync.inbox import Mark, mark_key
from store.inbox.inbox import Delivery, Inbox
from store.settings import Settings
from store.store import Store


def test_what_waits_and_what_was_put_aside_is_told(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    store = Store.open(settings, migrate=True)
    assert check(settings).level is Level.OK
    inbox = Inbox(tmp_path)
    for age in (100.0, 50.0, 1.0):
        inbox.submit(Delivery("default", b"{}", time.time() - age)).result(30)
    found = inbox_status(store)
    assert (found.waiting, found.rejected) == (3, 0)
    assert 100 <= found.oldest_seconds < 200
    assert "3 webhooks wait" in check(settings).message
    store.database.write(lambda db: mark_key(inbox.id).set(db, Mark(2, "")))
    found = inbox_status(store)
    assert found.waiting == 1
    assert 1 <= found.oldest_seconds < 50
    store.database.write(lambda db: mark_key(inbox.id).set(db, Mark(3, "")))
    assert inbox_in_words(inbox_status(store)) == "Inbox: nothing waits"
    inbox.put_aside(Delivery("default", b"{}", 1.0, 2), "KeyError: 7")
    assert check(settings).level is Level.WARNING
    assert "put aside" in check(settings).message
    inbox.close()
    store.close()
