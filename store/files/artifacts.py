"""Model artifacts: safetensors and a JSON manifest, named by the digest of their content."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from store.files.storage import TRIES, Storage

Arrays = dict[str, npt.NDArray[Any]]

MARK = "store-"  # prefix of an empty file
TENSORS = "model.safetensors"
MANIFEST = "manifest.json"
DIGEST_CHARACTERS = 64
CACHED = 200  # artifacts of a remote folder that are kept here; most have below 1 MB


class ArtifactError(Exception):
    """The artifact is missing or damaged."""


@dataclass(frozen=True)
class Artifact:
    """Named arrays with a JSON manifest."""

    arrays: Arrays
    manifest: dict[str, Any]


class Artifacts:
    """A folder of artifacts: local, or any that fsspec knows (`s3://bucket/folder`).

    Args:
        url: of the folder.
        cache: a local folder for artifacts of a remote one; each process of a job reads some.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self._storage = Storage(url)
        self._cache = None if cache is None or self._storage.is_local else cache

    def save(self, artifact: Artifact) -> str:
        """Write the artifact and read it back.

        Returns:
            Its digest (SHA-256, hex), the name to load it by.
        """
        tensors = save({k: np.ascontiguousarray(v) for k, v in artifact.arrays.items()})
        manifest = json.dumps(artifact.manifest, sort_keys=True).encode()
        digest = _digest(tensors, manifest)
        for name, content in ((TENSORS, tensors), (MANIFEST, manifest)):
            self._storage.write(f"{digest}/{name}", content)
        self.load(digest)
        return digest

    def load(self, digest: str) -> Artifact:
        """Read an artifact and verify its digest.

        Raises:
            ArtifactError: it is missing or damaged.
            OSError: the folder can't be used now.
        """
        tensors, manifest = self._read_cached(digest) or self._read(digest)
        return Artifact(load(tensors), json.loads(manifest))

    def digests(self) -> list[str]:
        """The digests of all artifacts, sorted."""
        try:
            names = self._storage.list("")
        except FileNotFoundError:
            return []
        return [name for name in names if len(name) == DIGEST_CHARACTERS]

    def save_files(self, name: str, folder: Path) -> None:
        """Store the files of a local folder under `name`, which must be unique to their content."""
        for path in sorted(folder.glob("[!.]*")):
            self._storage.write(f"{name}/{path.name}", path.read_bytes())

    def fetch_files(self, name: str, folder: Path) -> None:
        """Copy the files stored under `name` into a local folder.

        Raises:
            ArtifactError: they are missing.
            OSError: the folder can't be used now.
        """
        try:
            files = self._storage.list(name)
        except FileNotFoundError as error:
            raise ArtifactError(f"{name} is missing in {self._storage.root}") from error
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            _write_whole(folder / file, self._storage.read(f"{name}/{file}"))

    def read_files(self, name: str) -> dict[str, bytes]:
        """The files stored under `name`, an artifact's digest or a name of `save_files`.

        Raises:
            ArtifactError: they are missing or damaged.
            OSError: the folder can't be used now.
        """
        try:
            files = {
                file: self._storage.read(f"{name}/{file}") for file in self._storage.list(name)
            }
        except FileNotFoundError as error:
            raise ArtifactError(f"{name} is missing in {self._storage.root}") from error
        if len(name) == DIGEST_CHARACTERS:
            actual = _digest(files.get(TENSORS, b""), files.get(MANIFEST, b""))
            if actual != name:
                raise ArtifactError(f"model {name[:12]} in {self._storage.root} is damaged")
        return files

    def write_files(self, name: str, files: Mapping[str, bytes]) -> None:
        """Store files under `name`, as `read_files` gave them."""
        for file, content in files.items():
            self._storage.write(f"{name}/{file}", content)

    def remove_files(self, name: str) -> None:
        """Delete the files stored under `name`, if there are any."""
        self._storage.remove(name)

    def mark(self, identity: str) -> None:
        """Write down that this folder holds the models of a database, by its id."""
        if not self.is_marked(identity):
            self._storage.write(f"{MARK}{identity}", b"")

    def is_marked(self, identity: str) -> bool:
        """Whether this folder holds the models of the database of that id."""
        return self._storage.exists(f"{MARK}{identity}")

    def _read(self, digest: str) -> tuple[bytes, bytes]:
        for _ in range(1 if self._storage.is_local else TRIES):
            try:
                tensors = self._storage.read(f"{digest}/{TENSORS}")
                manifest = self._storage.read(f"{digest}/{MANIFEST}")
            except FileNotFoundError as error:
                raise ArtifactError(
                    f"model {digest[:12]} is missing in {self._storage.root}"
                ) from error
            if _digest(tensors, manifest) == digest:
                self._keep(digest, tensors, manifest)
                return tensors, manifest
        raise ArtifactError(f"model {digest[:12]} in {self._storage.root} is damaged")

    def _read_cached(self, digest: str) -> tuple[bytes, bytes] | None:
        if self._cache is None:
            return None
        folder = self._cache / digest
        try:
            tensors = (folder / TENSORS).read_bytes()
            manifest = (folder / MANIFEST).read_bytes()
            os.utime(folder)
        except OSError:
            return None
        return (tensors, manifest) if _digest(tensors, manifest) == digest else None

    def _keep(self, digest: str, tensors: bytes, manifest: bytes) -> None:
        """Keep a copy here, and delete those that nobody has read for the longest time."""
        if self._cache is None:
            return
        with suppress(OSError):  # it is only a copy
            folder = self._cache / digest
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_whole(folder / TENSORS, tensors)
            _write_whole(folder / MANIFEST, manifest)
            kept = sorted(self._cache.iterdir(), key=lambda each: each.stat().st_mtime)
            for oldest in kept[:-CACHED]:
                shutil.rmtree(oldest, ignore_errors=True)


def _digest(tensors: bytes, manifest: bytes) -> str:
    parts = hashlib.sha256(tensors).digest() + hashlib.sha256(manifest).digest()
    return hashlib.sha256(parts).hexdigest()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that another process may want at the same time: nobody sees half of it."""
    handle, scratch = tempfile.mkstemp(prefix=".fetch-", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(scratch).replace(path)
