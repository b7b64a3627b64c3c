"""The path of the inference process's socket."""

from pathlib import Path

from store.settings import Settings
from worker.supervision.unix_socket import short_path


def socket_path(settings: Settings) -> Path:
    """The path of the socket; in /tmp when the home folder's path is too long."""
    return short_path(settings.inference_socket, settings.home)
