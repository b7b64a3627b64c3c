"""Compares /predict with label-studio-ml's own server, on the same backbone, tasks and machine."""

import asyncio
import random
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from sklearn.linear_model import LogisticRegression

from backend.demo.run import DemoSession
from benchmarks.support.harness import Options, at_rest, demo, truths, wait
from benchmarks.support.label_studio_ml import label_studio_ml
from benchmarks.support.report import Bar, Outcome, spread
from benchmarks.support.traffic import Address, Bodies, Call, Reply, send_to
from benchmarks.system.predict import NEW_TASK, upload_images
from services.embedding.vectors import load_vectors
from store.tasks.tasks import list_tasks

LABELS = 30
PAUSE = 0.2  # seconds before each request: torch's threads spin for a while after their work


@dataclass(frozen=True)
class Pair:
    """The same requests, answered by both: seconds."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """Their median by ours."""
        return statistics.median(self.theirs) / statistics.median(self.ours)


def run(options: Options) -> Outcome:
    """Ask both servers in turns: for known images, and for new ones."""
    with demo(options.count(400, 60)) as session, tempfile.TemporaryDirectory() as folder:
        session.label(LABELS)
        session.wait_until_learned(LABELS)
        wait(lambda: at_rest(session), "all images are embedded", 300)
        head = Path(folder) / "head.npz"
        _fit_head(session, head)
        server = session.label_studio
        with label_studio_ml(head, server.url, _access_token(session), Path(folder)) as url:
            known, fresh = asyncio.run(_measure(session, options, url))
    return Outcome(
        [
            Bar("/predict, a known image, label-studio-ml / ours", "least", 45, known.ratio, "×"),
            Bar("/predict, a new image, label-studio-ml / ours", "least", 3, fresh.ratio, "×"),
        ],
        {
            "known image, ours, ms": spread(known.ours, 1000),
            "known image, label-studio-ml, ms": spread(known.theirs, 1000),
            "new image, ours, ms": spread(fresh.ours, 1000),
            "new image, label-studio-ml, ms": spread(fresh.theirs, 1000),
        },
    )


async def _measure(session: DemoSession, options: Options, url: str) -> tuple[Pair, Pair]:
    bodies = Bodies(session, session.project.ls_id)
    ours = Address(session.settings.host, session.settings.port)
    theirs = Address(str(urlsplit(url).hostname), urlsplit(url).port or 0)
    setup = await send_to(theirs, bodies.setup())
    if setup.status != 200:
        raise RuntimeError(f"label-studio-ml's /setup answered {setup.status}: {setup.body!r}")
    tasks = list(bodies.tasks.values())
    known = random.Random(0).sample(tasks, options.count(60, 5))
    # Two uploads of each new image, since neither server may know what the other was asked.
    uris = upload_images(session, options.count(60, 5) + 4)
    new = [{"id": NEW_TASK + i, "data": {"image": uri}} for i, uri in enumerate(uris)]
    for call in map(bodies.predict, [[task] for task in known + new[:4]]):  # both know these now
        for address in (ours, theirs):
            _check(await send_to(address, call))
    return (
        await _in_turns(ours, theirs, [bodies.predict([task]) for task in known]),
        await _in_turns(ours, theirs, [bodies.predict([task]) for task in new[4:]]),
    )


async def _in_turns(ours: Address, theirs: Address, calls: list[Call]) -> Pair:
    seconds: dict[Address, list[float]] = {ours: [], theirs: []}
    for turn, call in enumerate(calls):
        for address in (ours, theirs) if turn % 2 else (theirs, ours):
            await asyncio.sleep(PAUSE)
            seconds[address].append(_check(await send_to(address, call)).seconds)
    return Pair(seconds[ours], seconds[theirs])


def _check(reply: Reply) -> Reply:
    if reply.status != 200 or b'"result"' not in reply.body.replace(b" ", b""):
        raise RuntimeError(f"/predict answered {reply.status}: {reply.body[:300]!r}")
    return reply


def _fit_head(session: DemoSession, path: Path) -> None:
    """Fit a linear head on the stored embeddings of all images, and save it for the baseline."""
    project = session.project
    truth = truths(session, project.ls_id)
    with session.store.database.read() as db:
        tasks = list_tasks(db, project.id)
    embedded, x = load_vectors(session.store, project.embedding_space or "", tasks)
    rows = np.asarray(x, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    fitted = LogisticRegression(C=100, max_iter=1000).fit(rows, [truth[t.ls_id] for t in embedded])
    weight, bias = np.float32(fitted.coef_), np.float32(fitted.intercept_)
    np.savez(path, weight=weight, bias=bias, classes=fitted.classes_)


def _access_token(session: DemoSession) -> str:
    server = session.label_studio
    answer = httpx.post(f"{server.url}/api/token/refresh/", json={"refresh": server.token})
    return str(answer.raise_for_status().json()["access"])
