"""Attacks on fetching and decoding images: addresses, names, slow servers and image bombs.

Addresses and names are tried in this process, whose connections are watched and go nowhere; the
rest goes through the real embed worker and the real inference process.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import psutil

from backend.inference.client import socket_path
from benchmarks.gpu.images import drawn
from benchmarks.gpu.project import Bench, running_bench
from benchmarks.hostile.addresses import try_addresses, try_names
from benchmarks.hostile.bombs import Bomb, bombs
from benchmarks.hostile.servers import BODY, TOKEN, HostileStudio, dripping
from benchmarks.hostile.uris import api_uris, forbidden_uris
from benchmarks.support.harness import Options
from benchmarks.support.report import OUT, Bar, Outcome
from model.embedding import open_embedder
from store.projects.connections import DEFAULT, save_connection
from store.settings import Settings
from store.tasks.tasks import Task, TaskRecord, list_tasks, save_tasks
from store.work import pending_work
from store.work.work_kind import WorkKind

SLOW_HOST = "127.0.0.2"  # the one private address that the settings below allow
SETTINGS = {
    "APPRENTICE_IMAGE_TIMEOUT_SECONDS": "5",
    "APPRENTICE_IMAGE_PRIVATE_ADDRESSES": f"{SLOW_HOST}/32",
}
PATIENCE = 900.0  # seconds for all images of the worker


def run(options: Options) -> Outcome:
    """All of it, in about five minutes."""
    chosen = [bomb for bomb in bombs() if bomb.small or not options.quick]
    studio, inner = HostileStudio(), HostileStudio()
    with studio.running(), inner.running():
        uris = [*forbidden_uris(inner.port)]
        tried, forbidden = try_addresses(studio, uris)
        names, rebound = try_names(options.count(100, 10))
        with environment(SETTINGS), tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            home = Path(folder)
            facts = through_processes(home, studio, chosen, uris, options)
            quoted, tracebacks = read_logs(home)
        asked = sum(inner.asked.values())
        leaks = sum(studio.leaks.values())
    return Outcome(
        [
            Bar(
                f"addresses tried ({len(uris)} URIs, each also as a redirect)",
                "least",
                300,
                tried,
                "",
            ),
            Bar("connections to forbidden addresses", "exactly", 0, forbidden + rebound, ""),
            Bar("names that change their answer", "least", options.count(100, 10), names, ""),
            Bar("requests to a server that must not be asked", "exactly", 0, asked, ""),
            Bar("tokens sent to what is no image", "exactly", 0, leaks, ""),
            Bar("tokens and bodies in logs and database", "exactly", 0, quoted, ""),
            Bar("tracebacks in logs", "exactly", 0, tracebacks, ""),
            Bar("image bombs", "least", options.count(60, 40), len(chosen), ""),
            Bar(
                "embed worker, most memory of a process",
                "most",
                1500,
                facts.pop("worker, MB"),
                "MB",
            ),
            Bar("inference process, most memory", "most", 1500, facts.pop("inference, MB"), "MB"),
            Bar(
                "a good image while 40 servers drip, slowest of 20",
                "most",
                5,
                facts.pop("slowest good image, s"),
                "s",
            ),
        ],
        facts,
    )


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """These variables for this process and its children, for a `with` block."""
    with mock.patch.dict(os.environ, values):
        yield


def through_processes(
    home: Path, studio: HostileStudio, chosen: list[Bomb], uris: list[str], options: Options
) -> dict[str, Any]:
    """Let the embed worker and the inference process load everything; what they took."""
    paths = serve(studio, chosen)
    good = [serve_one(studio, f"good-{n}.jpg", data) for n, (data, _) in enumerate(drawn(40))]
    fresh = [
        serve_one(studio, f"new-{n}.jpg", data) for n, (data, _) in enumerate(drawn(20, seed=1))
    ]
    # Exported before, which takes most of a minute: the jobs have less.
    open_embedder("bundled:lite0", device="cpu", cache_dir=OUT / "backbones").close()
    (home / "backbones").symlink_to(OUT / "backbones")
    with (
        dripping(SLOW_HOST, 40) as slow,
        running_bench(home, "cpu", patience=PATIENCE) as bench,
        measured("worker") as worker,
    ):
        use_studio(bench, studio.url)
        tasks = [*slow, *good, *paths, *uris, *api_uris(studio.url)]
        began = time.monotonic()
        add(bench, tasks)
        bench.wait(lambda: known(bench, good), "the good images are embedded")
        until_good = time.monotonic() - began
        bench.wait(lambda: known(bench, None), "all images were tried")
        until_all = time.monotonic() - began
        with inference(home, bench) as (client, memory):
            slowest = slowest_good(client, slow, fresh, paths if not options.quick else [])
    return {
        "worker, MB": worker(),
        "inference, MB": memory(),
        "slowest good image, s": round(slowest, 2),
        "images of the worker": len(tasks),
        "good ones embedded after, s": round(until_good, 1),
        "all tried after, s": round(until_all, 1),
    }


def serve(studio: HostileStudio, chosen: list[Bomb]) -> list[str]:
    """Have Label Studio serve all bombs, made once and kept; their paths."""
    folder = OUT / "hostile"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for bomb in chosen:
        file = folder / re.sub(r"\W+", "-", bomb.name)
        if not file.exists():
            file.write_bytes(bomb.make())
        path = f"/data/upload/1/{file.name}"
        studio.files[path] = file.read_bytes
        paths.append(path)
    path = "/data/upload/1/zipped.png"
    zipped = gzip.compress(gzip.compress(bytes(500_000_000), 6))
    studio.files[path], studio.encodings[path] = (lambda: zipped), "gzip, gzip"
    return [*paths, path]


def serve_one(studio: HostileStudio, name: str, data: bytes) -> str:
    path = f"/data/upload/1/{name}"
    studio.files[path] = lambda: data
    return path


def use_studio(bench: Bench, url: str) -> None:
    bench.store.database.write(lambda db: save_connection(db, DEFAULT, url, TOKEN))


def add(bench: Bench, uris: list[str]) -> None:
    records = [TaskRecord(n + 1, {"image": uri}, uri, 1.0) for n, uri in enumerate(uris)]

    def write(db: Any) -> None:
        save_tasks(db, bench.project_id, records)
        pending_work.want(db, bench.project_id, WorkKind.EMBED)

    bench.store.database.write(write)


def known(bench: Bench, uris: list[str] | None) -> bool:
    """Whether all of these images are embedded; of all images, whether each was tried."""
    with bench.store.database.read() as db:
        tasks = list_tasks(db, bench.project_id)
    if uris is not None:
        wanted = set(uris)
        return all(task.image_key for task in tasks if task.uri in wanted)
    return all(map(tried, tasks))


def tried(task: Task) -> bool:
    return bool(task.image_key or task.image_error or task.retries)


@contextlib.contextmanager
def measured(word: str) -> Iterator[Callable[[], float]]:
    """Watch the memory of child processes with `word` in their command; MB at the highest."""
    highest, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError, StopIteration):
                    if any(word in part for part in process.cmdline()):
                        highest[0] = max(highest[0], high_water(process.pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield lambda: round(highest[0], 1)
    ended.set()
    thread.join()


def high_water(pid: int) -> float:
    """The most resident memory that a process has had, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextlib.contextmanager
def inference(home: Path, bench: Bench) -> Iterator[tuple[httpx.Client, Callable[[], float]]]:
    """The real inference process, a client for it, and its memory."""
    with (home / "inference.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.inference.app"],
            env=os.environ | {"APPRENTICE_HOME": str(home), "APPRENTICE_DEVICE": "cpu"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            transport = httpx.HTTPTransport(uds=str(socket_path(Settings(home=home))))
            with (
                httpx.Client(
                    transport=transport, base_url="http://inference", timeout=130
                ) as client,
                measured("backend.inference.app") as memory,
            ):
                bench.wait(lambda: answers(client), "the inference process answers")
                yield client, memory
        finally:
            process.terminate()
            process.wait()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.HTTPError:
        return False


def embed(client: httpx.Client, uris: list[str], seconds: float) -> list[dict[str, Any]]:
    items = [{"task": number + 1, "uri": uri} for number, uri in enumerate(uris)]
    body = {"connection": DEFAULT, "items": items, "seconds": seconds}
    answer = client.post("/embed", json=body).raise_for_status()
    return list(answer.json()["items"])


def slowest_good(
    client: httpx.Client, slow: list[str], fresh: list[str], paths: list[str]
) -> float:
    """The longest time for one good image while slow ones wait; then all bombs at once."""
    longest = 0.0
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(embed, client, slow, 60.0)
        time.sleep(1)  # until the slow ones have taken what places they get
        for uri in fresh:
            began = time.monotonic()
            [item] = embed(client, [uri], 30.0)
            longest = max(longest, time.monotonic() - began)
            assert "vector" in item, item
        waiting.result()
    for start in range(0, len(paths), 32):
        embed(client, paths[start : start + 32], 100.0)
    return longest


def read_logs(home: Path) -> tuple[int, int]:
    """How often logs hold the token, and logs or database a body; how many tracebacks."""
    quoted = tracebacks = 0
    for file in home.rglob("*"):
        if file.is_file() and (file.suffix == ".log" or file.name.startswith("apprentice.db")):
            data = file.read_bytes()
            quoted += data.count(BODY)
            if file.suffix == ".log":
                quoted += data.count(TOKEN.encode())
                tracebacks += data.count(b"Traceback (most recent call last)")
    return quoted, tracebacks
