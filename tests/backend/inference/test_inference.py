import base64
import io
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from backend.inference.client import socket_path
from model.embedding import open_embedder
from store.projects.key_values import EMBEDDING_SPACE
from store.settings import Settings
from tests.support.image_server import jpeg

DIM = 1280


def embed(client, uris, *, seconds=30.0, connection="default"):
    items = [{"task": position + 1, "uri": uri} for position, uri in enumerate(uris)]
    body = {"connection": connection, "items": items, "seconds": seconds}
    return client.post("/embed", json=body)


def vector(item) -> np.ndarray:
    return np.frombuffer(base64.b64decode(item["vector"]), "<f2").astype(np.float32)


def test_the_space_is_told_to_the_other_processes(store, asking):
    space = asking.get("/health").json()["space"]
    assert space.startswith("bundled:lite0@")
    with store.database.read() as db:
        assert EMBEDDING_SPACE.get(db) == space


def test_an_image_is_embedded_as_the_embedder_does_and_kept(store, asking, images):
    images.files["/data/upload/1/a.jpg"] = jpeg(1)
    answer = embed(asking, ["/data/upload/1/a.jpg"]).json()
    item = answer["items"][0]
    home = store.settings.home
    embedder = open_embedder("bundled:lite0", device="cpu", cache_dir=home / "backbones")
    picture = Image.open(io.BytesIO(jpeg(1))).convert("RGB")
    direct = embedder.embed([embedder.prepare(picture)])[0].astype(np.float32)
    embedder.close()
    cosine = direct @ vector(item) / np.linalg.norm(direct) / np.linalg.norm(vector(item))
    assert cosine > 0.999
    kept = store.embeddings.get(answer["space"], [item["key"]])
    assert np.array_equal(kept[item["key"]], vector(item).astype(np.float16))


def test_a_known_image_is_not_computed_again(store, asking, images):
    data = jpeg(2)
    images.files |= {"/a.jpg": data, "/b.jpg": data}
    first = embed(asking, ["/a.jpg"]).json()
    marked = np.full(DIM, 7, np.float16)
    with closing(sqlite3.connect(store.settings.home / "embeddings.db")) as db:
        db.execute("DELETE FROM embedding WHERE image_key = ?", [first["items"][0]["key"]])
        db.commit()
    store.embeddings.put(first["space"], {first["items"][0]["key"]: marked})
    again = embed(asking, ["/b.jpg"]).json()["items"][0]
    assert np.array_equal(vector(again), marked)


def test_the_same_image_wanted_at_once_is_loaded_once(asking, images):
    images.files["/same.jpg"] = jpeg(3)
    images.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(embed, asking, ["/same.jpg"]) for _ in range(5)]
        images.arrived.acquire(timeout=30)
        while asking.get("/health").json()["pending"] != 1:
            pass
        images.gate.set()
        items = [answer.result().json()["items"][0] for answer in answers]
    assert images.asked["/same.jpg"] == 1
    assert len({item["vector"] for item in items}) == 1


def test_each_fault_concerns_its_image_alone(asking, images):
    images.files |= {
        "/good.jpg": jpeg(4),
        "/text.jpg": b"I am a text file",
        "/cut.jpg": jpeg(5)[:700],
        "/down.jpg": b"",
    }
    images.status["/down.jpg"] = 503
    uris = ["/text.jpg", "/good.jpg", "/cut.jpg", "/missing.jpg", "/down.jpg"]
    items = embed(asking, uris).json()["items"]
    assert [item.get("permanent") for item in items] == [True, None, True, True, False]
    assert all(item["error"] for item in items if "error" in item)
    assert len(vector(items[1])) == DIM


def test_images_of_an_unknown_connection_are_a_passing_fault(asking):
    item = embed(asking, ["/a.jpg"], connection="nobody").json()["items"][0]
    assert item["permanent"] is False
    assert "nobody" in item["error"]


def test_who_waits_too_long_is_told_and_the_others_get_theirs(asking, images):
    images.files |= {"/slow.jpg": jpeg(6)}
    images.gate.clear()
    item = embed(asking, ["/slow.jpg"], seconds=0.05).json()["items"][0]
    assert item == {"error": "not ready in time", "permanent": False}
    images.gate.set()
    assert "vector" in embed(asking, ["/slow.jpg"]).json()["items"][0]


def test_more_than_can_wait_is_refused(asking, images):
    images.gate.clear()
    many = [f"/wait/{number}.jpg" for number in range(250)]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(embed, asking, many)
        images.arrived.acquire(timeout=30)
        refused = embed(asking, [f"/more/{number}.jpg" for number in range(20)])
        assert refused.status_code == 503
        images.gate.set()
        assert len(waiting.result().json()["items"]) == 250
    assert asking.get("/health").json()["pending"] == 0


def test_requests_that_make_no_sense_are_refused(asking):
    for body in ({}, {"connection": "default", "items": [{}], "seconds": 1}, []):
        assert asking.post("/embed", json=body).status_code == 422


def start_process(home) -> subprocess.Popen:
    environment = os.environ | {"APPRENTICE_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-m", "backend.inference.app"], env=environment, stderr=subprocess.PIPE
    )


def wait_until_ready(process: subprocess.Popen) -> None:
    for line in process.stderr:
        if b"inference ready" in line:
            return
    raise AssertionError("the inference process ended")


@pytest.mark.slow
def test_the_process_alone_runs_once_imports_no_torch_and_survives_its_own_kill(module_settings):
    home = module_settings.home.parent / "alone"
    settings = Settings(home=home)
    (home).mkdir()
    (home / "backbones").symlink_to(module_settings.home / "backbones")  # exported already
    socket = socket_path(settings)
    process = start_process(home)
    try:
        wait_until_ready(process)
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "libtorch" not in maps
        second = start_process(home)
        assert second.wait(60) == 3
        second.stderr.close()
        process.kill()
        process.wait()
        process.stderr.close()
        assert socket.exists()
        process = start_process(home)
        wait_until_ready(process)
        transport = httpx.HTTPTransport(uds=str(socket))
        with httpx.Client(transport=transport, base_url="http://x") as client:
            assert client.get("/health").json()["status"] == "UP"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stderr.close()


def test_a_long_home_still_has_a_socket(tmp_path):
    deep = tmp_path / ("x" * 100)
    assert len(os.fsencode(socket_path(Settings(home=deep)))) <= 100
    assert socket_path(Settings(home=deep)) != socket_path(Settings(home=deep / "y"))
