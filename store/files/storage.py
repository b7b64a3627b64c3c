"""A folder of files, local or remote (any that fsspec knows), with errors that say what to do."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import fsspec

LOCAL = ("file", "local")
TRIES = 3  # of reading what looks damaged: a connection may have been cut off


class StorageError(OSError):
    """The folder can't be used now; the message says why."""


class Storage:
    """Files below one URL. Whole files are read and written; a reader never sees half a one."""

    def __init__(self, url: str) -> None:
        protocol, _ = fsspec.core.split_protocol(url)
        if protocol == "s3" and importlib.util.find_spec("s3fs") is None:
            raise StorageError("APPRENTICE_STORAGE_URL names S3: install the extra `s3` (s3fs)")
        self.is_local = (protocol or "file") in LOCAL
        # A listing that is remembered would lack what other machines have written since.
        options: dict[str, Any] = (
            {"auto_mkdir": True} if self.is_local else {"use_listings_cache": False}
        )
        self._files, self.root = fsspec.core.url_to_fs(url, **options)

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            FileNotFoundError: there is none.
            StorageError: the folder can't be used.
        """
        with self._explained():
            content: bytes = self._files.cat_file(self._path(name))
            return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file in place of an earlier one.

        Raises:
            StorageError: the folder can't be used.
        """
        path = self._path(name)
        if not self.is_local:  # one request, which takes effect as a whole
            try:
                with self._explained():
                    self._files.pipe_file(path, content)
            except FileNotFoundError as error:
                raise StorageError(f"{self.root} doesn't exist: make it first") from error
            return
        # fsspec's transaction writes to a temporary name first.
        self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        with self._files.transaction, self._files.open(path, "wb") as file:
            file.write(content)

    def exists(self, name: str) -> bool:
        """Whether there is a file or a folder of that name."""
        with self._explained():
            return bool(self._files.exists(self._path(name)))

    def list(self, name: str) -> list[str]:
        """The names of the files in a folder, sorted.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        with self._explained():
            paths = self._files.ls(self._path(name), detail=False)
        return sorted(PurePosixPath(path).name for path in paths)

    def remove(self, name: str) -> None:
        """Delete a folder and all in it, if it is there."""
        with self._explained():
            if self._files.exists(self._path(name)):
                self._files.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a remote folder's errors into one that says what to do."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # each store has its own
            if self.is_local:
                raise
            raise StorageError(f"{self.root} {_explain(error)}") from error


def _explain(error: Exception) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PermissionError):
        return f"may not be used with these credentials ({message})"
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return "needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
    if type(error).__name__ in ("EndpointConnectionError", "ConnectTimeoutError"):
        return f"can't be reached: is AWS_ENDPOINT_URL (or the network) right? ({message})"
    return f"can't be used now: {type(error).__name__}: {message}"
