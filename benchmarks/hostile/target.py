"""A web process under attack: its memory, its latency and its log are watched."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from store.database.schema import metadata
from store.projects.connections import DEFAULT, save_connection
from store.settings import Settings
from store.store import Store
from tests.support.processes import own_settings, running
from tests.support.web import add_project, add_tasks, serve_version
from worker.queues.broker import running_broker

TOKEN = "the-token-that-nobody-may-see"
SAMPLE_SECONDS = 0.05
TASKS = 200


@dataclass
class Target:
    """A running web process with one project, a served version and a connection."""

    url: str
    store: Store
    secret: str
    pid: int
    log: Path
    health_ms: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Ask for /health and measure the memory all the while."""
        done = threading.Event()
        threads = [
            threading.Thread(target=look, args=(done,))
            for look in (self._ask_health, self._measure_memory)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _ask_health(self, done: threading.Event) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not done.wait(SAMPLE_SECONDS):
                began = time.perf_counter()
                client.get("/health").raise_for_status()
                self.health_ms.append((time.perf_counter() - began) * 1000)

    def _measure_memory(self, done: threading.Event) -> None:
        process = psutil.Process(self.pid)
        while not done.wait(SAMPLE_SECONDS):
            self.memory_mb.append(process.memory_info().rss / 1e6)

    def told_secrets(self) -> int:
        """How often a token or a secret is in the log."""
        text = self.log.read_text(errors="replace")
        return text.count(TOKEN) + text.count(self.secret)

    def rows(self) -> dict[str, list[Any]]:
        """All rows that requests might change, by table."""
        with self.store.database.read() as db:
            return {
                table.name: sorted(map(repr, db.execute(table.select())))
                for table in metadata.sorted_tables
                if table.name not in ("runtime", "job")
            }


@contextlib.contextmanager
def target(**more: str) -> Iterator[Target]:
    """Run `apprentice serve` on a store of its own within a `with` block."""
    with (
        tempfile.TemporaryDirectory(prefix="apprentice-hostile-") as folder,
        running_broker(Path(folder) / "broker") as broker,
    ):
        settings = own_settings(Path(folder) / "home")
        store = Store.open(settings, migrate=True)
        secret = store.database.write(
            lambda db: save_connection(db, DEFAULT, "http://127.0.0.1:9", TOKEN)
        ).secret
        project = add_project(store)
        add_tasks(store, project, range(1, TASKS + 1), embedded=True)
        serve_version(store, project)
        url = f"http://127.0.0.1:{settings.port}"
        with running(
            "serve", settings, lambda: _is_up(url), more={"APPRENTICE_REDIS_URL": broker, **more}
        ) as process:
            pid = _web_process(process.pid, settings)
            yield Target(url, store, secret, pid, settings.home / "serve.out")
        store.close()


def _is_up(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health").status_code == 200
    return False


def _web_process(pid: int, settings: Settings) -> int:
    """The process that listens: the started one, or a child of it."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.laddr and connection.laddr.port == settings.port:
                    return process.pid
    return pid
