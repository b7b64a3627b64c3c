"""A backend without its web server: takes webhooks into an inbox, and applies them."""

import contextlib
import json
import random
import threading
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from backend import logs
from backend.drainer import Drainer
from backend.http.prometheus import Metrics
from store.inbox.inbox import Delivery, Inbox
from store.predictions.publications import PredictionItem, save_predictions
from store.projects.connections import DEFAULT
from store.settings import Settings
from store.store import Store
from tests.support.web import recorded

SENDERS = 3
TASKS = range(200, 260)


def run(
    home: Path, url: str, first: int, project_id: int, version_id: int, acknowledged: Pipe
) -> None:
    """Send webhooks one after the other in each thread, until the process is killed.

    Args:
        first: the first annotation's id.
        acknowledged: is sent the id of each annotation whose webhook was acknowledged.
    """
    logs.configure("error")
    store = Store.open(Settings(home=home, database_url=url))
    inbox = Inbox(home)
    while True:
        with contextlib.suppress(SQLAlchemyError):  # the database was killed, too
            Drainer(store, inbox, Metrics(), lambda: None).start()
            break
        time.sleep(0.05)
    body, ids = recorded("annotation_created"), iter(range(first, 1 << 31))
    lock = threading.Lock()

    def send() -> None:
        while True:
            with lock:
                number = next(ids)
                task = TASKS[number % len(TASKS)]
                body["annotation"] |= {"id": number, "task": task}
                body["task"] |= {"id": task}
                raw = json.dumps(body).encode()
            inbox.submit(Delivery(DEFAULT, raw, time.time())).result()
            with lock:
                acknowledged.send(number)
            time.sleep(0.02)

    def save(db: Connection) -> None:
        items = [PredictionItem(task, 0.5, []) for task in random.sample(TASKS, 5)]
        save_predictions(db, project_id, version_id, items, "answered")

    def predict() -> None:
        while True:
            with contextlib.suppress(SQLAlchemyError):  # the database is killed, too
                store.database.write(save)
            time.sleep(0.01)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(SENDERS)]
    threads.append(threading.Thread(target=predict, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
