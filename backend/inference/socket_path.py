"""The path of the inference process's socket."""

import hashlib
import os
from pathlib import Path

from store.settings import Settings

LONGEST_SOCKET_PATH = 100  # bytes; the systems' limits are 108 (Linux) and 104 (macOS)


def socket_path(settings: Settings) -> Path:
    """The path of the socket; in /tmp when the home folder's path is too long."""
    beside = settings.inference_socket
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    key = hashlib.sha256(os.fsencode(settings.home)).hexdigest()[:16]
    return Path(f"/tmp/apprentice-{os.getuid()}-{key}") / beside.name  # noqa: S108
