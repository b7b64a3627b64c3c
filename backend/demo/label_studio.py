"""Runs a real Label Studio server without a browser or prompts, for the demo and the tests.

It listens on the loopback address only, with its telemetry off and, unless it is to be a stock one,
with both switches off that forbid it to call a backend there. It dies with the process that
started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import httpx

from backend.demo.sign_in import make_token, sign_up
from studio.client import StudioClient
from studio.records.projects import ProjectInfo
from worker.supervision.parent_death import ParentDeathGuard, require_main_thread

HOST = "127.0.0.1"
EMAIL = "demo@example.com"
START_SECONDS = 300.0  # the first start makes the database: 25 s on 2 idle cores
STOP_SECONDS = 10.0
POLL_SECONDS = 0.1
# What Label Studio takes from our environment; everything else could change what it does.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
UNGUARDED = {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}
SETTINGS = {
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "PYTHONUNBUFFERED": "1",
}


class LabelStudioError(Exception):
    """The real Label Studio is not installed, or does not start."""


class LabelStudioServer:
    """A Label Studio server of our own; a context manager that starts and stops it.

    Args:
        data_dir: its database, uploads, log and login; made when it is not there.
        environment: the virtual environment that it is installed in.
        port: 0 takes a free one, which then stays the same over restarts.
        email, password: of the admin who is made at the first start. A data folder remembers its
            own; without a password, one is made up.
        stock: leave its two address guards on, as they are by default.
        settings: more of Label Studio's environment variables.
    """

    def __init__(
        self,
        data_dir: Path,
        environment: Path,
        *,
        port: int = 0,
        email: str = EMAIL,
        password: str | None = None,
        stock: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = data_dir.absolute()
        self._program = environment.absolute() / "bin" / "label-studio"
        self.stock = stock
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._parent_death: ParentDeathGuard | None = None
        self.port = port or _free_port()
        self._login = self._saved_login() or {
            "email": email,
            "password": password or secrets.token_urlsafe(9),
        }

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://localhost:{self.port}"

    @property
    def email(self) -> str:
        """The admin's name to sign in with."""
        return self._login["email"]

    @property
    def password(self) -> str:
        """The admin's password."""
        return self._login["password"]

    @property
    def token(self) -> str:
        """The admin's Personal Access Token. It can be made only once, so the folder keeps it."""
        return self._login["token"]

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._folder / "server.log"

    @property
    def running(self) -> bool:
        """Whether the server's process is running."""
        return self._process is not None and self._process.poll() is None

    def client(self, timeout: float = 60.0) -> StudioClient:
        """A client with the admin's token, for the caller to close."""
        return StudioClient(self.url, self.token, timeout)

    def start(self) -> None:
        """Start it and wait until it answers; from the main thread. Raises LabelStudioError."""
        if self.running:
            return
        if not self._program.exists():
            raise LabelStudioError(
                f"{self._program} is missing: `make demo` and `make test` install it"
            )
        require_main_thread()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._save_login()
        self._parent_death = ParentDeathGuard()
        command = self._parent_death.command(
            [
                *(str(self._program), "start", "--no-browser"),
                *("--internal-host", HOST, "--port", str(self.port)),
            ]
        )
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._parent_death.pass_fds,
                start_new_session=True,
            )
        try:
            self._wait_until_healthy()
            if "token" not in self._login:
                self._login["token"] = make_token(self.url, self.email, self.password)
                self._save_login()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it with all its children. Nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            _signal_group(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            _signal_group(process, signal.SIGKILL)
            process.wait()
        if self._parent_death is not None:
            self._parent_death.close()
            self._parent_death = None

    def add_user(self, email: str, password: str) -> str:
        """Create another annotator, and return their Personal Access Token."""
        sign_up(self.url, email, password)
        return make_token(self.url, email, password)

    def __enter__(self) -> LabelStudioServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        own = {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._folder),
            "LABEL_STUDIO_USERNAME": self.email,
            "LABEL_STUDIO_PASSWORD": self.password,
        }
        switches = {} if self.stock else UNGUARDED
        return inherited | SETTINGS | switches | own | self._settings

    def _wait_until_healthy(self) -> None:
        process = self._process
        deadline = time.monotonic() + START_SECONDS
        while process is not None and process.poll() is None:
            if time.monotonic() > deadline:
                raise LabelStudioError(
                    f"Label Studio is not up after {START_SECONDS:g} s; see {self.log}"
                )
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", timeout=5.0).is_success:
                    return
            time.sleep(POLL_SECONDS)
        raise LabelStudioError(f"Label Studio ended at its start; see {self.log}")

    def _saved_login(self) -> dict[str, str] | None:
        try:
            login: dict[str, str] = json.loads((self._folder / "login.json").read_text())
        except FileNotFoundError:
            return None
        return login

    def _save_login(self) -> None:
        """Save the login for the next start, atomically and readable by this user only."""
        file = self._folder / "login.json"
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(self._login, stream)
        new.replace(file)


def create_image_project(
    client: StudioClient, title: str, label_config: str, images: Iterable[tuple[str, bytes]]
) -> tuple[ProjectInfo, dict[str, int]]:
    """Make a project and upload (file name, bytes); return it and each name's task id.

    Names should be plain (letters, digits, `.`, `-`, `_`): Label Studio replaces other characters.
    """
    project = client.create_project(title, label_config)
    client.upload_images(project.id, images)
    return client.get_project(project.id), uploaded_tasks(client, project.id)


def uploaded_tasks(client: StudioClient, project: int) -> dict[str, int]:
    """The task of each uploaded file, by the file's original name."""
    tasks: dict[str, int] = {}
    for task in client.tasks(project):
        for value in task.data.values():
            if match := re.fullmatch(r"/data/upload/\d+/[0-9a-f]{8}-(.+)", str(value)):
                tasks[match[1]] = task.id
    return tasks


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _signal_group(process: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signum)
