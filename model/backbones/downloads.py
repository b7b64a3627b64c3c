"""Downloads files of weights, checked, from the Hugging Face hub or a URL.

Before a download the host is tried for some seconds, so that nothing waits for a missing network.
A download that broke off is resumed.
"""

import hashlib
import os
import re
import socket
import urllib.request
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit

CONNECT_SECONDS = 5
READ_SECONDS = 30  # without a byte
ATTEMPTS = 5  # in a row that bring no byte
BLOCK = 1 << 20  # bytes
SHA256 = re.compile(r"[0-9a-f]{64}")


def is_offline() -> bool:
    """Whether the user forbade downloads (`HF_HUB_OFFLINE`)."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def hub_address() -> str:
    """Return the hub's address: `HF_ENDPOINT`, or the public one."""
    from huggingface_hub import constants

    return constants.ENDPOINT.rstrip("/")


def check_reachable(url: str, *, seconds: float = CONNECT_SECONDS) -> None:
    """Raise OSError, within seconds, when there is no connection to a URL's host."""
    parts = urlsplit(url)
    # Behind a proxy this machine needn't see the host.
    if parts.hostname and parts.scheme not in urllib.request.getproxies():
        port = parts.port or {"http": 80}.get(parts.scheme, 443)
        socket.create_connection((parts.hostname, port), timeout=seconds).close()


def download_from_hub(hub_id: str, files: tuple[str, ...]) -> Path:
    """Download the first of `files` that a repository has, into the hub's own cache.

    Args:
        hub_id: "OWNER/REPOSITORY" or "OWNER/REPOSITORY@REVISION".

    Raises:
        OSError: it has none of the files, or the hub refused, with what to do.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
    )

    repository, _, revision = hub_id.partition("@")
    for file in files:
        try:
            path = Path(hf_hub_download(repository, file, revision=revision or None))
        except LocalEntryNotFoundError as error:  # the library hides why it couldn't ask
            raise OSError(_why(error.__cause__ or error)) from error
        except EntryNotFoundError:
            continue
        except HfHubHTTPError as error:
            raise OSError(_why(error)) from error
        _check_digest(path)
        return path
    raise OSError(f"has none of {', '.join(files)}")


def download_file(url: str, folder: Path) -> Path:
    """Download a file into `folder` under its own name, checked against the hash in the name.

    PyTorch's names end with the first digits of their SHA-256: "resnet50-11ad3fa6.pth". What came
    before the connection broke, or the process ended, is kept in a file ".partial".

    Raises:
        OSError: the file can't be had.
    """
    from filelock import FileLock

    path = folder / Path(urlsplit(url).path).name
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with FileLock(f"{path}.lock"), partial.open("ab") as file:
        if path.is_file():  # another process had the lock before
            partial.unlink()
            return path
        _read_to_the_end(url, file)
        digest = file_digest(partial)
        expected = re.search(r"-([0-9a-f]{8,64})\.", path.name)
        if expected and not digest.startswith(expected[1]):
            partial.unlink()
            raise OSError(_other_digest(digest, expected[1]))
        partial.replace(path)
    return path


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_to_the_end(url: str, file: IO[bytes]) -> None:
    """Append what is missing of a file at a URL, asking again while more of it comes."""
    failures = 0
    while True:
        start = file.tell()
        try:
            _append(url, file)
        except HTTPError as error:
            if error.code == 416 and start:  # no such range: there is nothing more, or less
                return
            raise OSError(f"answered {error.code} {error.reason}") from error
        except OSError:
            failures = 0 if file.tell() > start else failures + 1
            if failures == ATTEMPTS:
                raise
        else:
            return


def _append(url: str, file: IO[bytes]) -> None:
    """Append the rest of a file; all of it anew when the server resumes nothing.

    Raises:
        OSError: the connection broke.
    """
    start = file.tell()
    headers = {"User-Agent": "apprentice"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=READ_SECONDS) as answer:  # noqa: S310
        if start and answer.status != 206:
            file.seek(0)
            file.truncate()
        remaining = answer.length
        while block := answer.read(BLOCK):
            file.write(block)
            remaining = None if remaining is None else remaining - len(block)
    if remaining:
        raise ConnectionError(f"the connection broke, {remaining} bytes before the end")


def _check_digest(path: Path) -> None:
    """Check a file of the hub's cache against the SHA-256 that the hub announced.

    The cache names large files by it; the library itself compares only their size.

    Raises:
        OSError: it is another file. It was deleted, so that the next attempt downloads it again.
    """
    blob = path.resolve()
    if not SHA256.fullmatch(blob.name):
        return
    digest = file_digest(blob)
    if digest != blob.name:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise OSError(_other_digest(digest, blob.name))


def _other_digest(digest: str, expected: str) -> str:
    return (
        f"gave a file with SHA-256 {digest[:12]}… where {expected[:12]}… was announced; it was "
        "deleted. Try again; if it stays so, the mirror or a proxy on the way changes files"
    )


def _why(error: BaseException) -> str:
    """Say in one sentence why the hub gave no file, and what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return "is gated: accept its terms on its page there, and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "is not there, or private: for a private one set HF_TOKEN"
    response = getattr(error, "response", None)
    if response is None:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    if response.status_code == 429:
        return "answered 429 Too Many Requests: try again later, or set HF_TOKEN"
    return f"answered {response.status_code} {response.reason_phrase}".strip()
