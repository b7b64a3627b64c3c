"""Downloads what a task shows, once, to a file that a model can read.

The token goes to the Label Studio that it belongs to, and nowhere else. Files of this machine and
private addresses other than Label Studio's are refused: annotators write the URLs.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
import re
import shutil
import socket
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SECONDS = 30
CLOUD = ("s3://", "gs://", "azure-blob://")


def get_local_path(
    url: str,
    hostname: str | None = None,
    access_token: str | None = None,
    task_id: int | None = None,
    **_more: Any,
) -> str:
    """The path of a local file with the URL's contents.

    Raises ValueError for a URL that isn't fetched, and OSError when fetching fails.
    """
    studio = hostname or os.environ.get("LABEL_STUDIO_URL") or os.environ.get("LABEL_STUDIO_HOST")
    token = access_token or os.environ.get("LABEL_STUDIO_API_KEY") or ""
    studio = (studio or "").rstrip("/")
    address = _address(url, studio, task_id)
    name = hashlib.sha256(address.encode()).hexdigest()[:32] + Path(urlsplit(url).path).suffix[:10]
    folder = Path(os.environ.get("MODEL_DIR") or tempfile.gettempdir()) / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    if not file.exists():
        _download(address, studio, token, file)
    return str(file)


def _address(url: str, studio: str, task_id: int | None) -> str:
    """The absolute address of what a task's data names."""
    if url.startswith("data:"):
        return url
    if url.startswith(CLOUD):
        if task_id is None:
            raise ValueError("a file of cloud storage is only found with its task's id")
        named = base64.urlsafe_b64encode(url.encode()).decode()
        return f"{studio}/tasks/{task_id}/resolve/?fileuri={named}"
    if url.startswith(("/data/", "data/", "upload/", "/upload/")):
        path = url if url.startswith("/") else f"/{url}"
        path = path if path.startswith("/data/") else f"/data{path}"
        return studio + path
    if url.startswith(("http://", "https://")):
        return url
    raise ValueError(
        f"only http(s), cloud storage and Label Studio's files are read, not {url[:80]!r}"
    )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects without the token, to addresses that may be fetched."""

    def __init__(self, studio: str) -> None:
        self.studio = studio

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _require_allowed(newurl, self.studio)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and not _gets_token(newurl, self.studio):
            following.remove_header("Authorization")
        return following


def _download(address: str, studio: str, token: str, file: Path) -> None:
    opener = urllib.request.build_opener(_Redirects(studio))
    request = urllib.request.Request(address)  # noqa: S310 - the scheme is checked
    if not address.startswith("data:"):
        _require_allowed(address, studio)
        if token and _gets_token(address, studio):
            request.add_header("Authorization", _authorization(studio, token))
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with opener.open(request, timeout=SECONDS) as response, unfinished.open("wb") as target:
            shutil.copyfileobj(response, target)
            length = response.headers.get("Content-Length")
        if length and int(length) != unfinished.stat().st_size:
            raise OSError(f"{address}: the connection ended before all of the file was there")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _is_at(address: str, studio: str) -> bool:
    """Whether an address is at Label Studio: the same origin, below the same path."""
    ours, theirs = urlsplit(studio), urlsplit(address)
    same = (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
    return bool(studio) and same and theirs.path.startswith(ours.path.rstrip("/") + "/")


def _gets_token(address: str, studio: str) -> bool:
    """Whether an address is one of Label Studio's files: no other page of it is read for a task."""
    if not _is_at(address, studio):
        return False
    path = unquote(urlsplit(address).path)[len(urlsplit(studio).path.rstrip("/")) :]
    return ".." not in path and re.match(r"/data/|/tasks/\d+/resolve/", path) is not None


def _require_allowed(address: str, studio: str) -> None:
    """Raise ValueError for an address of this machine or its network, unless Label Studio's."""
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{parts.scheme}: is not fetched")
    if _is_at(address, studio):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for found in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
        if not _is_allowed(parts.hostname, ipaddress.ip_address(found[4][0])):
            raise ValueError(
                f"{parts.hostname} is a private address: "
                f"APPRENTICE_IMAGE_PRIVATE_ADDRESSES={parts.hostname} allows it"
            )


def _is_allowed(host: str, address: Any) -> bool:
    """Whether an address is public, or one that the settings allow; no cloud's own is."""
    allowed = (os.environ.get("GUEST_PRIVATE_ADDRESSES") or "false").strip()
    if address.is_global or address.is_link_local or address.is_multicast:
        return bool(address.is_global)
    entries = [entry.strip() for entry in allowed.split(",")]
    networks = [ipaddress.ip_network(each, strict=False) for each in entries if "/" in each]
    return allowed == "true" or host in entries or any(address in each for each in networks)


def _authorization(studio: str, token: str) -> str:
    """The header's value: a Personal Access Token is first exchanged for an access token."""
    if token.count(".") != 2:
        return f"Token {token}"
    request = urllib.request.Request(  # noqa: S310 - Label Studio's own address
        f"{studio}/api/token/refresh/",
        data=json.dumps({"refresh": token}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310
        return f"Bearer {json.load(response)['access']}"
