"""Artifacts and embeddings: what is read is what was written, or an error in words."""

from pathlib import Path

import numpy as np
import pytest

from store.files.artifacts import Artifact, ArtifactError, Artifacts
from store.store import Store


@pytest.fixture(params=["folder", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    url = str(tmp_path / "models") if request.param == "folder" else f"memory://{tmp_path.name}"
    return Artifacts(url)


def example() -> Artifact:
    return Artifact({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"classes": ["a"]})


def test_an_artifact_comes_back(artifacts: Artifacts) -> None:
    loaded = artifacts.load(artifacts.save(example()))
    np.testing.assert_array_equal(loaded.arrays["weight"], example().arrays["weight"])
    assert loaded.manifest == {"classes": ["a"]}


def test_the_same_content_has_the_same_name(artifacts: Artifacts) -> None:
    assert artifacts.save(example()) == artifacts.save(example())


def test_a_missing_artifact_says_so(artifacts: Artifacts) -> None:
    with pytest.raises(ArtifactError, match="missing"):
        artifacts.load("0" * 64)


def test_a_damaged_artifact_says_so(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    digest = artifacts.save(example())
    path = tmp_path / digest / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        artifacts.load(digest)


def test_embeddings_come_back_in_half_precision(store: Store) -> None:
    rng = np.random.default_rng(0)
    vectors = {f"k{i}": rng.normal(size=8).astype(np.float16) for i in range(1200)}
    store.embeddings.put("space", vectors)
    store.embeddings.put("space", {"k0": np.zeros(8, np.float16)})
    found = store.embeddings.get("space", [*vectors, "unknown"])
    assert found.keys() == vectors.keys()
    np.testing.assert_array_equal(found["k0"], vectors["k0"])
    assert store.embeddings.get("other", ["k1"]) == {}
