"""The inference process with several backbones: each project may have its own."""

import base64

import numpy as np
import pytest

import tests.support.small_backbones as small
from model.embedding import embedder
from tests.support.image_server import jpeg


@pytest.fixture(autouse=True)
def on_torch(monkeypatch):
    """OpenVINO's exporter runs in a process that doesn't know the small family."""
    openvino = embedder._open_openvino

    def choose(spec, *rest):
        return None if spec.name.startswith("small:") else openvino(spec, *rest)

    monkeypatch.setattr(embedder, "_open_openvino", choose)


def embed(client, uri, backbone=None):
    body = {
        "connection": "default",
        "items": [{"task": 1, "uri": uri}],
        "seconds": 60.0,
        "backbone": backbone,
    }
    return client.post("/embed", json=body).json()


def length(answer) -> int:
    return len(np.frombuffer(base64.b64decode(answer["items"][0]["vector"]), "<f2"))


def test_each_backbone_answers_in_its_own_space(asking, images, store):
    images.files["/one.jpg"] = jpeg(31)
    default, own = embed(asking, "/one.jpg"), embed(asking, "/one.jpg", "small:a")
    assert default["space"].startswith("bundled:lite0@")
    assert own["space"].startswith("small:a@")
    assert (length(default), length(own)) == (1280, small.DIM)
    key = own["items"][0]["key"]
    assert store.embeddings.get(own["space"], [key]).keys() == {key}


def test_a_backbone_that_cannot_be_had_is_a_passing_fault_and_the_others_go_on(asking, images):
    images.files["/two.jpg"] = jpeg(32)
    item = embed(asking, "/two.jpg", "small:zzz")["items"][0]
    assert item["permanent"] is False
    assert "small:zzz" in item["error"]
    assert "vector" in embed(asking, "/two.jpg")["items"][0]


def test_only_a_few_stay_open_and_the_default_always_does(asking, images):
    images.files["/three.jpg"] = jpeg(33)
    for backbone in ("small:a", "small:b", "small:d"):
        assert "vector" in embed(asking, "/three.jpg", backbone)["items"][0]
    health = asking.get("/health").json()
    assert health["space"] in health["spaces"]
    families = [space.partition("@")[0] for space in health["spaces"]]
    assert families == ["bundled:lite0", "small:b", "small:d"]
    assert "vector" in embed(asking, "/three.jpg", "small:a")["items"][0], "opened again"
