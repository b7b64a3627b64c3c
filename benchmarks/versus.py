"""Compares this checkout with another one, in turns: /predict, learn and publish.

`python -m benchmarks.versus --against ../other` (both run in this environment). It relies on
nothing but what versions share: the HTTP protocol, the database's tables and the jobs' `run`
functions. The project is one of the data folder in tests/data, grown to 1,400 tasks with embeddings
of 1,280 numbers, 400 of them labelled; Label Studio is a stub that agrees to everything at once.
"""

import argparse
import http.client
import json
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "tests" / "data" / "home-format-1" / "home"
PROJECT = 1
SPACE, DIM = "test:wide@float32", 1280
TASKS, LABELLED = 1400, 400
CLASSES = ("cat", "dog", "fox")

# Run in a checkout: reads lines "KIND GENERATION", answers with the seconds that the job took.
JOBS = """
import importlib, logging, os, sys, time
import structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
jobs = {kind: importlib.import_module(f"worker.jobs.{kind}") for kind in ("learn", "publish")}
jobs["learn"].preload()
out = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    kind, generation = line.split()
    start = time.perf_counter()
    jobs[kind].run(int(sys.argv[1]), int(generation))
    print(time.perf_counter() - start, file=out, flush=True)
"""


class Stub(BaseHTTPRequestHandler):
    """A Label Studio that agrees to everything."""

    protocol_version = "HTTP/1.1"
    model_version = ""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.split("?")[0]
        reply: Any = [] if self.command == "GET" else {"id": 1}
        if path.endswith("/import/predictions"):
            reply = {"created": len(json.loads(body))}
        elif path.startswith("/api/projects/") and path.endswith("/model-versions/"):
            reply = {"deleted_predictions": 0} if self.command == "DELETE" else {}
        elif path.startswith("/api/projects/"):
            if self.command == "PATCH":
                Stub.model_version = json.loads(body).get("model_version", "")
            reply = {
                "id": PROJECT,
                "title": "Pets",
                "created_at": "2026-01-01T00:00:00Z",
                "label_config": "<View/>",
                "model_version": Stub.model_version,
                "sampling": "Uncertainty sampling",
                "task_number": TASKS,
            }
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Side:
    """One checkout with a data folder, a web process and a process that runs jobs."""

    def __init__(self, checkout: Path, folder: Path, studio_url: str) -> None:
        self.home = folder / "home"
        shutil.copytree(HOME, self.home)
        self.port = _free_port()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("APPRENTICE_")}
        environment |= {
            "PYTHONPATH": str(checkout),
            "APPRENTICE_HOME": str(self.home),
            "APPRENTICE_PORT": str(self.port),
            "APPRENTICE_BLIND_SHARE": "0",
        }
        _grow(self.home, studio_url)
        options: dict[str, Any] = {"cwd": checkout, "env": environment, "text": True}
        log = (folder / "web.log").open("w")
        serve = [sys.executable, "-m", "backend.cli", "serve"]
        self.web = subprocess.Popen(serve, stdout=log, stderr=log, **options)
        self._wait_until_it_answers()
        self.jobs = subprocess.Popen(
            [sys.executable, "-c", JOBS, str(PROJECT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "jobs.log").open("w"),
            **options,
        )
        self.client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.flips = 0

    def run(self, kind: str) -> float:
        """Have a job of that kind wanted, and run it; the seconds that it took."""
        with closing(self._database()) as db, db:
            (wanted, enqueued) = db.execute(
                "SELECT wanted, enqueued FROM work WHERE project_id = ? AND kind = ?",
                (PROJECT, kind),
            ).fetchone()
            generation = max(wanted, enqueued) + 1
            db.execute(
                "UPDATE work SET wanted = ?, enqueued = ? WHERE project_id = ? AND kind = ?",
                (generation, generation, PROJECT, kind),
            )
            columns = (
                "id, project_id, kind, generation, state, progress, message, timings, created_at"
            )
            db.execute(
                f"INSERT INTO job ({columns}) VALUES (?, ?, ?, ?, 'queued', 0, '', '{{}}', ?)",
                (f"{kind}-{PROJECT}-g{generation}", PROJECT, kind, generation, time.time()),
            )
        assert self.jobs.stdin is not None
        assert self.jobs.stdout is not None
        self.jobs.stdin.write(f"{kind} {generation}\n")
        self.jobs.stdin.flush()
        return float(self.jobs.stdout.readline())

    def learn(self) -> float:
        """Change a label, and learn from all."""
        with closing(self._database()) as db, db:
            self.flips += 1
            name = CLASSES[self.flips % 3]
            db.execute(
                "UPDATE annotation SET result = ?, updated_at = ?"
                " WHERE project_id = ? AND ls_id = ?",
                (json.dumps(_result(name)), time.time(), PROJECT, 500_000 + self.flips),
            )
        return self.run("learn")

    def publish(self) -> float:
        """Publish what was learned."""
        return self.run("publish")

    def predict(self, count: int) -> float:
        """Ask for predictions of `count` tasks."""
        tasks = [
            {"id": task, "data": {"image": f"/data/{task}.jpg"}}
            for task in range(10_000 + LABELLED, 10_000 + LABELLED + count)
        ]
        body = json.dumps({"tasks": tasks, "project": self.uid, "params": {}})
        start = time.perf_counter()
        self.client.request("POST", "/predict", body, {"Content-Type": "application/json"})
        reply = self.client.getresponse()
        content = reply.read()
        seconds = time.perf_counter() - start
        results = json.loads(content)["results"] if reply.status == 200 else []
        if len(results) != count or not any(result["result"] for result in results):
            raise RuntimeError(f"/predict answered {reply.status}: {content[:300]!r}")
        return seconds

    @property
    def uid(self) -> str:
        with closing(self._database()) as db:
            ls_id, created = db.execute(
                "SELECT ls_id, ls_created FROM project WHERE id = ?", (PROJECT,)
            ).fetchone()
        return f"{ls_id}.{int(created)}"

    def close(self) -> None:
        self.client.close()
        for process in (self.web, self.jobs):
            process.terminate()
            process.wait()

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home / "apprentice.db", timeout=30)

    def _wait_until_it_answers(self) -> None:
        for _ in range(600):
            if self.web.poll() is not None:
                raise RuntimeError("the web process ended: see web.log")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the web process does not answer")


def _grow(home: Path, studio_url: str) -> None:
    """Give the project many tasks with wide embeddings, a part of them labelled."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(CLASSES), DIM)) * 0.2
    tasks = range(10_000, 10_000 + TASKS)
    with closing(sqlite3.connect(home / "embeddings.db")) as db, db:
        rows = [
            (
                SPACE,
                f"wide{task}",
                (centres[task % 3] + rng.normal(size=DIM)).astype("<f2").tobytes(),
            )
            for task in tasks
        ]
        db.executemany("INSERT INTO embedding (space, image_key, vector) VALUES (?, ?, ?)", rows)
    with closing(sqlite3.connect(home / "apprentice.db")) as db, db:
        db.execute("UPDATE connection SET url = ?", (studio_url,))
        db.execute("DELETE FROM task WHERE project_id = ?", (PROJECT,))
        db.execute("DELETE FROM annotation WHERE project_id = ?", (PROJECT,))
        db.execute(
            "UPDATE runtime SET value = ? WHERE name = 'embedding_space'", (json.dumps(SPACE),)
        )
        db.execute("UPDATE project SET embedding_space = ?, reconciled_at = 4e9", (SPACE,))
        db.executemany(
            "INSERT INTO task (project_id, ls_id, data, uri, image_key, embedded_space, retries,"
            " updated_at, item) VALUES (?, ?, ?, ?, ?, ?, 0, 1.0, 0)",
            [
                (
                    PROJECT,
                    t,
                    json.dumps({"image": f"/data/{t}.jpg"}),
                    f"/data/{t}.jpg",
                    f"wide{t}",
                    SPACE,
                )
                for t in tasks
            ],
        )
        db.executemany(
            "INSERT INTO annotation (project_id, task_ls_id, ls_id, created_at, updated_at,"
            " received_at, completed_by, was_cancelled, ground_truth, lead_time, result, deleted,"
            " current)"
            " VALUES (?, ?, ?, 1.0, 1.0, 1.0, 7, 0, 0, 3.0, ?, 0, 1)",
            [
                (PROJECT, t, 490_000 + t, json.dumps(_result(CLASSES[t % 3])))
                for t in list(tasks)[:LABELLED]
            ],
        )


def _result(name: str) -> list[dict[str, Any]]:
    region = {"from_name": "kind", "to_name": "image", "type": "choices"}
    return [region | {"value": {"choices": [name]}}]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Measure both in turns, and print medians and the ratio of the other's time to ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, required=True, help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    stub = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=stub.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{stub.server_address[1]}"
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name, checkout in (("this", ROOT), ("other", options.against.resolve())):
            (Path(folder) / name).mkdir()
            sides.append(Side(checkout, Path(folder) / name, url))
        measures: dict[str, tuple[int, Callable[[Side], float]]] = {  # calls a round
            "learn": (1, lambda side: side.learn()),
            "publish": (1, lambda side: side.publish()),
            "/predict, 1 task": (50, lambda side: side.predict(1)),
            "/predict, 1,000 tasks": (3, lambda side: side.predict(1000)),
        }
        times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in measures}
        try:
            for turn in range(options.rounds + 2):
                for name, (calls, measure) in measures.items():
                    for call in range(calls):
                        for index in (0, 1) if (turn + call) % 2 else (1, 0):
                            seconds = measure(sides[index])
                            if turn >= 2:  # the first two warm caches up
                                times[name][index].append(seconds)
        except BaseException:
            for log in sorted(Path(folder).glob("*/*.log")):
                print(log, log.read_text()[-2000:], sep="\n")
            raise
        finally:
            for side in sides:
                side.close()
    print(f"{'':22}{'this, ms':>10}{'other, ms':>11}{'other / this, median of pairs':>32}")
    for name, (ours, theirs) in times.items():
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        print(
            f"{name:22}{statistics.median(ours) * 1000:10.2f}"
            f"{statistics.median(theirs) * 1000:11.2f}{ratio:32.3f}"
        )


if __name__ == "__main__":
    main()
