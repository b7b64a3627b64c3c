"""Model artifacts: safetensors and a JSON manifest, named by the digest of their content."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

MARK = "store-"  # prefix of an empty file

Arrays = dict[str, npt.NDArray[Any]]


class ArtifactError(Exception):
    """The artifact is missing or damaged."""


@dataclass(frozen=True)
class Artifact:
    """Named arrays with a JSON manifest."""

    arrays: Arrays
    manifest: dict[str, Any]


class Artifacts:
    """A folder of artifacts: local, or any that fsspec knows (`s3://bucket/folder`)."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url, auto_mkdir=True)

    def save(self, artifact: Artifact) -> str:
        """Write the artifact and read it back.

        Returns:
            Its digest (SHA-256, hex), the name to load it by.
        """
        tensors = save({k: np.ascontiguousarray(v) for k, v in artifact.arrays.items()})
        manifest = json.dumps(artifact.manifest, sort_keys=True).encode()
        digest = hashlib.sha256(
            hashlib.sha256(tensors).digest() + hashlib.sha256(manifest).digest()
        ).hexdigest()
        folder = f"{self._root}/{digest}"
        self._files.makedirs(folder, exist_ok=True)
        for name, content in (("model.safetensors", tensors), ("manifest.json", manifest)):
            self._write(f"{folder}/{name}", content)
        self.load(digest)
        return digest

    def save_files(self, name: str, folder: Path) -> None:
        """Store the files of a local folder under `name`, which must be unique to their content."""
        target = f"{self._root}/{name}"
        self._files.makedirs(target, exist_ok=True)
        for path in sorted(folder.glob("[!.]*")):
            self._write(f"{target}/{path.name}", path.read_bytes())

    def fetch_files(self, name: str, folder: Path) -> None:
        """Copy the files stored under `name` into a local folder.

        Raises:
            ArtifactError: they are missing.
        """
        try:
            files = self._files.ls(f"{self._root}/{name}", detail=False)
        except FileNotFoundError as error:
            raise ArtifactError(f"{name} is missing in {self._root}") from error
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            # Another process may want the same: a reader never sees half a file.
            handle, scratch = tempfile.mkstemp(prefix=".fetch-", dir=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(self._files.cat_file(path))
            Path(scratch).replace(folder / Path(path).name)

    def remove_files(self, name: str) -> None:
        """Delete the files stored under `name`, if there are any."""
        target = f"{self._root}/{name}"
        if self._files.exists(target):
            self._files.rm(target, recursive=True)

    def mark(self, identity: str) -> None:
        """Write down that this folder holds the models of a database, by its id."""
        if not self.is_marked(identity):
            self._files.makedirs(self._root, exist_ok=True)
            self._write(f"{self._root}/{MARK}{identity}", b"")

    def is_marked(self, identity: str) -> bool:
        """Whether this folder holds the models of the database of that id."""
        return bool(self._files.exists(f"{self._root}/{MARK}{identity}"))

    def _write(self, path: str, content: bytes) -> None:
        # fsspec's transaction writes to a temporary name first: a reader never sees half a file.
        with self._files.transaction, self._files.open(path, "wb") as file:
            file.write(content)

    def load(self, digest: str) -> Artifact:
        """Read an artifact and verify its digest.

        Raises:
            ArtifactError: it is missing or damaged.
        """
        folder = f"{self._root}/{digest}"
        try:
            tensors = self._files.cat_file(f"{folder}/model.safetensors")
            manifest = self._files.cat_file(f"{folder}/manifest.json")
        except FileNotFoundError as error:
            raise ArtifactError(f"model {digest[:12]} is missing in {self._root}") from error
        actual = hashlib.sha256(
            hashlib.sha256(tensors).digest() + hashlib.sha256(manifest).digest()
        ).hexdigest()
        if actual != digest:
            raise ArtifactError(f"model {digest[:12]} in {self._root} is damaged")
        return Artifact(load(tensors), json.loads(manifest))
