"""A broker that doesn't answer delays no page, and no page delays Label Studio."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from redis import Redis
from rq.worker_registration import REDIS_WORKER_KEYS

from backend.views import worker_monitor
from backend.views.worker_monitor import WorkerMonitor
from store.settings import Settings
from tests.support.web import (
    add_project,
    add_tasks,
    predict_body,
    running,
    serve_version,
    task_payload,
)
from worker.queues.broker import running_broker
from worker.queues.worker_registry import WORKER_PREFIX, worker_name
from worker.supervision.process_identity import ProcessIdentity


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own, which knows one worker: this process."""
    with running_broker(tmp_path_factory.mktemp("broker")) as url:
        with Redis.from_url(url) as redis:
            name = worker_name("sync", ProcessIdentity.own())
            redis.sadd(REDIS_WORKER_KEYS, WORKER_PREFIX + name)
        yield url


@contextmanager
def hung(url: str) -> Iterator[None]:
    """The broker neither answers nor ends."""
    with Redis.from_url(url) as redis:
        pid = int(redis.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_workers_are_remembered_while_the_broker_hangs(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_monitor, "PAUSE_SECONDS", 0)
    with closing(WorkerMonitor(Settings(home=tmp_path, redis_url=broker))) as monitor:
        before = monitor.read()
        assert before.broker
        assert [worker.queue for worker in before.workers] == ["sync"]
        with hung(broker):
            during = monitor.read()
            assert not during.broker
            assert (during.workers, during.read_at) == (before.workers, before.read_at)
        assert monitor.read().broker


def test_a_broker_never_read_has_no_workers(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, redis_url="unix:///nowhere/broker.sock")
    with closing(WorkerMonitor(settings)) as monitor:
        assert monitor.read().workers == ()
        assert monitor.read().read_at is None


def test_pages_of_a_hung_broker_delay_no_prediction(broker: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", redis_url=broker, blind_share=0)
    with running(settings) as web:
        project = add_project(web.store)
        tasks = list(range(1, 61))
        add_tasks(web.store, project, tasks, embedded=True)
        serve_version(web.store, project)
        html = {"Accept": "text/html"}
        assert "does not answer" not in web.http.get("/", headers=html).text.split("inference")[0]
        with hung(broker):
            url = str(web.http.base_url)

            def look() -> None:
                httpx.get(url, headers=html, timeout=60)

            pages = [threading.Thread(target=look) for _ in range(6)]
            for page in pages:
                page.start()
            body = predict_body([task_payload(task) for task in tasks])
            answered = web.post("/predict", body).json()["results"]
            assert all(entry["result"] for entry in answered)
            for page in pages:
                page.join()
            shown = web.http.get("/", headers=html).text
            assert "queue: does not answer" in shown
            assert "this is what it said" in shown
            status = web.http.get("/api/v1/status").json()
            assert status["broker"] is False
            assert [worker["queue"] for worker in status["workers"]] == ["sync"]
            assert "apprentice_broker_up 0.0" in web.http.get("/metrics").text


def test_pages_and_the_protocol_have_pools_of_their_own(broker: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", redis_url=broker, blind_share=0)
    with running(settings) as web:
        add_project(web.store)
        state = web.app.state.app_state
        release = threading.Event()
        state.page_pool._executor.submit(release.wait)
        state.page_pool._executor.submit(release.wait)
        answers: list[int] = []

        def look() -> None:
            url = f"{web.http.base_url}/api/v1/projects"
            answers.append(httpx.get(url, timeout=60).status_code)

        waiting = threading.Thread(target=look)
        waiting.start()
        for path, body in (
            ("/setup", {"project": "5.1795490554", "schema": ""}),
            ("/predict", predict_body([task_payload(1)])),
            ("/job_status", {"job": "learn-1-g1"}),
            ("/train", {"project": "5.1795490554"}),
        ):
            assert web.post(path, body).status_code in (200, 201, 410, 503), path
        assert answers == []
        release.set()
        waiting.join()
        assert answers == [200]
