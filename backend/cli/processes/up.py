"""`apprentice up`: every process on one machine, under one supervisor."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from backend.cli.errors import CommandError
from backend.cli.store_access import load_settings

if TYPE_CHECKING:
    from store.settings import Settings


Guests = Annotated[
    list[str] | None,
    typer.Option(
        "--guest",
        help="A guest model, path/to/model.py:ClassName or path/to/model.py:ClassName@control; "
        "several times for several.",
    ),
]
GuestPythons = Annotated[
    list[str] | None,
    typer.Option(
        "--guest-python", help="The guests' Python: once for all, or once for each --guest."
    ),
]


def up(guest: Guests = None, guest_python: GuestPythons = None) -> None:
    """Start everything on this machine; Ctrl-C stops it."""
    _name_guests(guest, guest_python)
    from backend import logs
    from backend.cli.processes.process_specs import (
        export_backbone,
        next_step,
        process_specs,
    )
    from backend.http.auth import OpenBindingError, check_binding
    from services.guests.specification import GuestSettingError, guest_specs
    from store.files.permissions import make_files_private
    from worker.supervision.supervisor import StartFailedError, Supervisor

    make_files_private()
    settings = load_settings()
    console = Console(soft_wrap=True, highlight=False)
    # Starts and stops go to the processes' logs; here only what shouldn't have happened.
    logs.configure("debug" if settings.log_level == "debug" else "warning")
    try:
        check_binding(settings)
        guest_specs(settings)
    except (OpenBindingError, GuestSettingError) as error:
        raise CommandError(str(error), code=2) from error
    with _lock_home(settings):
        _require_port(settings)
        with console.status("Starting Apprentice") as status:
            if settings.redis_url:
                _require_redis(settings)
            status.update("Preparing the backbone (only the first start takes a while)")
            export_backbone(settings)
            status.update("Starting the processes")
            supervisor = Supervisor(process_specs(settings), settings.home / "logs")

            def ready() -> None:
                status.stop()
                line = f"Apprentice is ready at {settings.url} - {next_step(settings)}"
                console.print(line, markup=False)

            try:
                supervisor.run(ready)
            except StartFailedError as error:
                raise CommandError(str(error)) from error
    console.print("Everything is stopped.")


def _require_redis(settings: "Settings") -> None:
    """Raise CommandError unless the Redis of the settings can be used."""
    from backend.cli.processes.process_specs import broker_is_ready
    from worker.queues.broker import broker_address, broker_problem
    from worker.queues.store_claim import queues_problem

    if (problem := broker_problem(broker_address(settings))) is not None:
        raise CommandError(f"the broker that APPRENTICE_REDIS_URL names can't be used: {problem}")
    if (problem := queues_problem(settings)) is not None:
        raise CommandError(problem, code=2)
    broker_is_ready(settings)


def _name_guests(guests: list[str] | None, pythons: list[str] | None) -> None:
    """Pass the guests on to every process, by the environment."""
    for name, values in (("APPRENTICE_GUESTS", guests), ("APPRENTICE_GUEST_PYTHON", pythons)):
        if values:
            os.environ[name] = "; ".join(values)


@contextmanager
def _lock_home(settings: "Settings") -> Iterator[None]:
    """Lock the home folder for a `with` block.

    Raises:
        CommandError: another `up` holds it, or it can't be written.
    """
    from filelock import FileLock, Timeout

    from store.database.faults import explain_fault
    from store.files.permissions import HomeError, secure_folder

    home = settings.home
    holder = home / "up.json"
    try:
        secure_folder(home)
        lock = FileLock(home / "up.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise CommandError(f"{home} is in use by {_holder(holder)}") from None
    except HomeError as error:
        raise CommandError(str(error), code=2) from None
    except OSError as error:
        raise CommandError(f"{home} can't be used: {explain_fault(error)}") from error
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "url": settings.url}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(file: Path) -> str:
    """The process that holds the home folder, in words."""
    try:
        process = json.loads(file.read_text())
        return f"another `apprentice up`: process {process['pid']}, at {process['url']}"
    except (OSError, ValueError, KeyError):
        return "another `apprentice up`"


def _require_port(settings: "Settings") -> None:
    """Raise CommandError when the web process's port is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CommandError(
            f"can't listen on {settings.host}:{settings.port} ({error.strerror or error}): "
            "set APPRENTICE_PORT (or APPRENTICE_HOST)"
        ) from None
