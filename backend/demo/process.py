"""Runs `apprentice up` as a child process of the demo, with settings of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from backend.demo.label_studio import HOST
from store.settings import Settings
from worker.supervision.parent_death import ParentDeathGuard

STOP_SECONDS = 20.0
LOG_TAIL = 2000  # characters

# What the demo must not take from the environment: it has its own of all this.
OWN = frozenset(
    f"APPRENTICE_{name}"
    for name in ("HOME", "HOST", "PORT", "PUBLIC_URL", "REDIS_URL", "DATABASE_URL", "STORAGE_URL")
) | {"LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS"}


class ApprenticeProcess:
    """Apprentice with all its processes, which end when this process ends.

    Args:
        home: its home folder.
        log: the file for its output.
        more: more environment variables.
    """

    def __init__(self, home: Path, port: int, log: Path, more: Mapping[str, str]) -> None:
        self.log = log
        self.settings = Settings(
            home=home,
            host=HOST,
            port=port,
            public_url=None,
            basic_auth_user=None,
            basic_auth_pass=None,
            label_studio_url=None,
            label_studio_api_key=None,
            redis_url=more.get("APPRENTICE_REDIS_URL"),
            database_url=more.get("APPRENTICE_DATABASE_URL"),
            storage_url=None,
        )
        self._more = dict(more)
        self._process: subprocess.Popen[bytes] | None = None
        self._parent_death: ParentDeathGuard | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the process, and of commands that use it."""
        rest = {name: value for name, value in os.environ.items() if name not in OWN}
        return rest | {
            "APPRENTICE_HOME": str(self.settings.home),
            "APPRENTICE_PORT": str(self.settings.port),
            **self._more,
        }

    def start(self) -> None:
        """Start the process, without waiting until it is ready; from the main thread."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._parent_death = ParentDeathGuard()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._parent_death.command([sys.executable, "-m", "backend.cli", "up"]),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._parent_death.pass_fds,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop the process, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()  # what it started dies with it
            process.wait()
        if self._parent_death is not None:
            self._parent_death.close()
            self._parent_death = None


def free_port(preferred: int) -> int:
    """The preferred port, or any other one that is free.

    Raises:
        OSError: there is none.
    """
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            found: int = probe.getsockname()[1]
            return found
    raise OSError("no port is free")


def tail(log: Path) -> str:
    """The end of a log file."""
    with contextlib.suppress(FileNotFoundError):
        return log.read_text(errors="replace")[-LOG_TAIL:]
    return ""
