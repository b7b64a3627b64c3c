"""A web process in a thread, with a real store and broker behind it, and what tests put in."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI

from backend.app import create_app
from backend.http.server import PatientProtocol
from model.heads import FitData, fit
from services.suggestions.predictor import CalibratedHead, Predictor
from store.predictions.shortlists import Choice, set_shortlist
from store.projects.connections import DEFAULT, StudioConnection, save_connection
from store.projects.key_values import EMBEDDING_SPACE
from store.projects.projects import Project, change_project, save_project
from store.settings import Settings
from store.store import Store
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from store.versions.versions import HEAD, SERVED, Version, add_version, mark_served

RECORDED = Path(__file__).parents[1] / "data" / "recorded"  # what Label Studio 1.23.2 really sent
LS_ID, LS_CREATED = 5, 1795490554  # of the recorded project
UID = f"{LS_ID}.{LS_CREATED}"
CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="kind" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)
SPACE = "test:random@float32"
DIM = 32


def recorded(name: str) -> dict[str, Any]:
    """The body of a request that Label Studio sent."""
    return json.loads((RECORDED / f"{name}.json").read_text())


@dataclass
class Running:
    """A web process that answers, its store, and its default connection."""

    http: httpx.Client
    store: Store
    connection: StudioConnection
    app: FastAPI

    @property
    def secret(self) -> dict[str, str]:
        """The header that the webhook carries."""
        return {"X-Apprentice-Secret": self.connection.secret}

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers=headers)

    def webhook(self, body: Any) -> httpx.Response:
        """Send it as our registered webhook does, and wait until it is applied."""
        response = self.http.post("/webhook", json=body, headers=self.secret)
        self.settle()
        return response

    def settle(self) -> None:
        """Wait until all acknowledged webhooks are applied."""
        assert self.app.state.app_state.inbox.wait_until_applied(30)


@contextmanager
def serving(app: FastAPI, **options: Any) -> Iterator[uvicorn.Server]:
    """The application behind a real server in a thread."""
    config = uvicorn.Config(app, log_config=None, access_log=False, **options)
    server = uvicorn.Server(config)
    started = threading.Event()

    async def startup(sockets: Any = None) -> None:
        try:
            await uvicorn.Server.startup(server, sockets)
        finally:
            started.set()

    server.startup = startup
    thread = threading.Thread(target=server.run)
    thread.start()
    started.wait()
    assert server.started, "the application did not start"
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def running(settings: Settings) -> Iterator[Running]:
    """A web process for these settings; its default connection is there already."""
    store = Store.open(settings, migrate=True)
    connection = store.database.write(
        lambda db: save_connection(db, DEFAULT, "http://localhost:1", "token")
    )
    app = create_app(settings)
    try:
        with serving(app, host="127.0.0.1", port=0, http=PatientProtocol) as server:
            port = server.servers[0].sockets[0].getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                yield Running(http, store, connection, app)
    finally:
        store.close()


def add_project(store: Store, label_config: str = CONFIG) -> Project:
    """The recorded project, as `connect` leaves it."""

    def write(db: Any) -> Project:
        project = save_project(
            db, DEFAULT, LS_ID, LS_CREATED, title="capture", label_config=label_config
        )
        now = time.time()  # the scheduler has no reason to reconcile
        later = now + 3_600  # also when the scheduler takes over only now
        change_project(db, project.id, connected_at=now, reconciled_at=later, embedding_space=SPACE)
        EMBEDDING_SPACE.set(db, SPACE)
        return project

    return store.database.write(write)


def uri_of(task: int) -> str:
    return f"http://images/{task}.jpg"


def key_of(task: int) -> str:
    return f"{task:064x}"


def vectors_of(tasks: Sequence[int]) -> npt.NDArray[np.float16]:
    """Embeddings in which even tasks are cats and odd ones dogs, clearly."""
    rng = np.random.default_rng(7)
    means = rng.normal(size=(2, DIM)) * 2
    return np.stack(
        [means[task % 2] + np.random.default_rng(task).normal(size=DIM) * 0.3 for task in tasks]
    ).astype(np.float16)


def add_tasks(store: Store, project: Project, tasks: Sequence[int], *, embedded: bool) -> None:
    """Tasks with an image each; with `embedded`, their embeddings too."""
    records = [TaskRecord(task, {"image": uri_of(task)}, uri_of(task), 1.0) for task in tasks]
    store.database.write(lambda db: save_tasks(db, project.id, records))
    if embedded:
        vectors = vectors_of(tasks)
        store.embeddings.put(SPACE, {key_of(t): v for t, v in zip(tasks, vectors, strict=True)})
        keys = {task: key_of(task) for task in tasks}
        store.database.write(lambda db: mark_embedded(db, project.id, SPACE, keys))


def serve_version(
    store: Store,
    project: Project,
    *,
    kind: str = HEAD,
    shortlist: Sequence[int] = (),
    space: str = SPACE,
    dim: int = DIM,
) -> Version:
    """A version that is served: its heads tell cats from dogs."""
    artifact = None
    if kind == HEAD:
        tasks = list(range(1000, 1040))
        x = vectors_of(tasks) if dim == DIM else np.random.default_rng(1).normal(size=(40, dim))
        head = fit(FitData.of(x, np.array([task % 2 for task in tasks]), ("cat", "dog"), seed=0))
        predictor = Predictor({"kind": CalibratedHead(head, 1.0)}, space)
        artifact = store.artifacts.save(predictor.artifact({}, {}))

    def write(db: Any) -> Version:
        version = add_version(
            db,
            project.id,
            kind=kind,
            status=SERVED,
            embedding_space=space,
            labels=40 if kind == HEAD else 0,
            labels_digest="",
            metrics={"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40}}
            if kind == HEAD
            else {},
            verdict="better",
            artifact=artifact,
        )
        mark_served(db, version)
        change_project(db, project.id, served_version_id=version.id)
        set_shortlist(db, project.id, version.id, [Choice(t, "margin", None) for t in shortlist])
        return version

    return store.database.write(write)


def task_payload(task: int, uri: str | None = None) -> dict[str, Any]:
    """A task as /predict carries it."""
    return {"id": task, "data": {"image": uri or uri_of(task)}, "project": LS_ID}


def predict_body(tasks: list[Any], context: Any = None) -> dict[str, Any]:
    """A /predict request."""
    return {
        "tasks": tasks,
        "project": UID,
        "label_config": CONFIG,
        "params": {"login": None, "password": None, "context": context},
    }
