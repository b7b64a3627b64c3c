"""Artifacts in S3, spoken by moto's server: what goes wrong is said, what is read was written."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from store.files.artifacts import Artifact, ArtifactError, Artifacts
from store.files.storage import StorageError

BUCKET = "models"
EXAMPLE = Artifact({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"classes": ["a"]})


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket of its own, with the environment that reaches it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield f"s3://{BUCKET}/folder"
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def put(key: str, content: bytes) -> None:
    client = boto3.client("s3")
    client.put_object(Bucket=BUCKET, Key=key, Body=content)
    client.close()


def test_artifacts_and_files_come_back(s3: str, tmp_path: Path) -> None:
    artifacts = Artifacts(s3, tmp_path / "cache")
    digest = artifacts.save(EXAMPLE)
    for reader in (artifacts, Artifacts(s3, tmp_path / "other"), Artifacts(s3)):
        np.testing.assert_array_equal(
            reader.load(digest).arrays["weight"], EXAMPLE.arrays["weight"]
        )
    assert artifacts.digests() == [digest]

    assert not artifacts.is_marked("a")
    artifacts.mark("a")
    assert Artifacts(s3).is_marked("a")

    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights" * 1000)
    artifacts.save_files("tuned/abc", folder)
    Artifacts(s3).fetch_files("tuned/abc", tmp_path / "fetched")
    assert (tmp_path / "fetched" / "model.safetensors").read_bytes() == b"weights" * 1000
    artifacts.remove_files("tuned/abc")
    artifacts.remove_files("tuned/abc")
    with pytest.raises(ArtifactError, match="missing"):
        artifacts.fetch_files("tuned/abc", tmp_path / "gone")


def test_what_was_cached_is_read_without_s3_and_verified(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(s3, tmp_path)
    digest = artifacts.save(EXAMPLE)
    put(f"folder/{digest}/model.safetensors", b"damaged")
    assert artifacts.load(digest).manifest == EXAMPLE.manifest
    (tmp_path / digest / "manifest.json").write_bytes(b"damaged here, too")
    with pytest.raises(ArtifactError, match="damaged"):
        artifacts.load(digest)
    monkeypatch.setattr("store.files.artifacts.CACHED", 3)
    for number in range(6):
        artifacts.save(Artifact({}, {"number": number}))
    assert len(list(tmp_path.iterdir())) == 3


def test_half_an_artifact_is_missing_and_none_is_half_written(s3: str) -> None:
    artifacts = Artifacts(s3)
    digest = artifacts.save(EXAMPLE)
    client = boto3.client("s3")
    client.delete_object(Bucket=BUCKET, Key=f"folder/{digest}/manifest.json")
    client.close()
    with pytest.raises(ArtifactError, match="missing"):
        artifacts.load(digest)
    artifacts.save(EXAMPLE)
    assert artifacts.load(digest).manifest == EXAMPLE.manifest


@pytest.mark.parametrize(
    ("environment", "url", "words"),
    [
        ({}, "s3://nobodys-bucket/folder", "doesn't exist"),
        ({"AWS_ACCESS_KEY_ID": ""}, "s3://models/folder", "AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://models/folder", "AWS_ENDPOINT_URL"),
    ],
)
def test_what_is_wrong_is_said(
    s3: str,
    environment: dict[str, str],
    url: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match=words):
        Artifacts(url).save(EXAMPLE)


def test_wrong_credentials_are_said(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto takes any key, so the server's answer is put in its place."""
    artifacts = Artifacts(s3)

    def refuse(*_arguments: object, **_more: object) -> None:
        raise PermissionError("The AWS Access Key Id you provided does not exist in our records.")

    monkeypatch.setattr(artifacts._storage._files, "pipe_file", refuse)
    with pytest.raises(StorageError, match=r"models/folder may not be used with these credentials"):
        artifacts.save(EXAMPLE)
