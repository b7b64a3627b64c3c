"""Apprentice's own processes for tests, started as people start them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from store.settings import Settings
from worker.supervision.parent_death import ParentDeathGuard

STOP_SECONDS = 30.0
OWN = ("APPRENTICE_", "LABEL_STUDIO_", "BASIC_AUTH_")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def own_settings(home: Path, *, backbones: Path | None = None, **more: object) -> Settings:
    """Settings with a home and a port of their own, and nothing of the tester's environment.

    With `backbones`, what is exported there is used, so that the first start is quick.
    """
    if backbones is not None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "backbones").symlink_to(backbones)
    with clean_environment():
        return Settings(**{"home": home, "port": free_port(), **more})  # type: ignore[arg-type]


@contextlib.contextmanager
def clean_environment() -> Iterator[None]:
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(OWN):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a process these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    kept |= {"APPRENTICE_HOME": str(settings.home), "APPRENTICE_PORT": str(settings.port)}
    if settings.basic_auth_user and settings.basic_auth_pass:
        kept["BASIC_AUTH_USER"] = settings.basic_auth_user
        kept["BASIC_AUTH_PASS"] = settings.basic_auth_pass.get_secret_value()
    return kept


@contextlib.contextmanager
def running(
    command: str,
    settings: Settings,
    ready: Callable[[], bool],
    *,
    seconds: float = 180.0,
    more: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """`apprentice COMMAND` within a `with` block, from when it is ready; its output is a file."""
    parent_death = ParentDeathGuard()
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / f"{command.split()[0]}.out"
    with log.open("wb") as output:
        process = subprocess.Popen(
            parent_death.command([sys.executable, "-m", "backend.cli", *command.split()]),
            env=environment(settings) | dict(more or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=parent_death.pass_fds,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + seconds
        while not ready():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"not ready: {log.read_text()[-3000:]}"
            time.sleep(0.05)
        yield process
    finally:
        stop(process)
        parent_death.close()


def stop(process: "subprocess.Popen[bytes]") -> int:
    """End it as Ctrl-C does; its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    process.kill()
    return process.wait()


def processes_of(home: Path) -> list[psutil.Process]:
    """All processes that were started with this home."""
    found = []
    for process in psutil.process_iter():
        try:
            of_home = process.environ().get("APPRENTICE_HOME") == str(home)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if of_home and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
