"""`apprentice up`: everything on one machine, under one process."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout
from redis import RedisError
from rich.console import Console
from rich.status import Status

from backend import logs
from backend.cli.common import CommandError, first_line, load_settings
from backend.doctor.readiness import (
    FAULTS,
    ask_web,
    broker_address,
    inference_is_ready,
    living_workers,
    web_is_ready,
)
from backend.http.auth import OpenBindingError, check_binding
from model.backbones import BackboneUnavailableError, UnknownBackboneError, get_backbone
from model.embedding.devices import UnavailableError, resolve_device
from model.embedding.export import ExportError, exported_model
from services.embedding.backbones import backbone_folder
from store.settings import Settings
from store.work.work_kind import WorkKind
from worker.queues.broker import broker_command, redis_from_url
from worker.queues.enqueue import QUEUES, clear_stale_leases
from worker.supervision.supervisor import ProcessSpec, StartFailedError, Supervisor

READY_SECONDS = 120.0  # for each process; a busy machine imports slowly
LOOK_SECONDS = 0.1
GRACE_SECONDS = 15.0  # from SIGTERM to SIGKILL: a job at hand is finished
FINETUNE_GRACE = 1.0  # minutes of work aren't waited for: it goes on from its checkpoint


def run() -> None:
    """Start everything, say when it is ready, and keep it up until Ctrl-C."""
    settings = load_settings()
    console = Console(soft_wrap=True, highlight=False)
    # Starts and stops go to the processes' logs; here only what shouldn't have happened.
    logs.configure("debug" if settings.log_level == "debug" else "warning")
    try:
        check_binding(settings)
    except OpenBindingError as error:
        raise CommandError(str(error), code=2) from error
    with _only_one(settings):
        _require_port(settings)
        with console.status("Starting Apprentice") as status:
            _prepare(settings, status)
            supervisor = Supervisor(_processes(settings), settings.home / "logs")

            def ready() -> None:
                status.stop()
                line = f"Apprentice is ready at {settings.url} - {_next_step(settings)}"
                console.print(line, markup=False)

            try:
                supervisor.run(ready)
            except StartFailedError as error:
                raise CommandError(str(error)) from error
    console.print("Everything is stopped.")


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold the home folder.

    Raises:
        CommandError: another `up` holds it, or it can't be written.
    """
    home = settings.home
    holder = home / "up.json"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(home / "up.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise CommandError(f"{home} is in use by {_holder(holder)}") from None
    except OSError as error:
        raise CommandError(f"{home} can't be used: {error}") from error
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "url": settings.url}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(file: Path) -> str:
    try:
        known = json.loads(file.read_text())
        return f"another `apprentice up`: process {known['pid']}, at {known['url']}"
    except (OSError, ValueError, KeyError):
        return "another `apprentice up`"


def _require_port(settings: Settings) -> None:
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


def _prepare(settings: Settings, status: Status) -> None:
    """What must be there before the processes: an external broker, the exported backbone."""
    if settings.redis_url and not _broker_is_ready(settings):
        raise CommandError("the broker that APPRENTICE_REDIS_URL names doesn't answer")
    status.update("Preparing the backbone (only the first start takes a while)")
    _export(settings)
    status.update("Starting the processes")


def _next_step(settings: Settings) -> str:
    """What the person does next."""
    try:
        known = json.loads(ask_web(settings, "/api/v1/status")[1])
        connections, projects = known["connections"], known["projects"]
    except (*FAULTS, ValueError, KeyError):
        return "`apprentice doctor` says what is missing. Ctrl-C stops everything."
    if projects:
        return (
            f"{len(projects)} connected; `apprentice status` shows how they do. Ctrl-C stops "
            "everything."
        )
    if connections:
        return (
            "paste this URL into Label Studio (a project's Settings > Model > Connect Model), or "
            "run `apprentice connect --project ID`. Ctrl-C stops everything."
        )
    return (
        "next, connect a project: `apprentice connect --project ID --url LABEL_STUDIO_URL "
        "--api-key TOKEN`. Ctrl-C stops everything."
    )


def _export(settings: Settings) -> None:
    """Have the backbone exported before two processes ask for it at once."""
    try:
        backbone = get_backbone(settings.backbone, backbone_folder(settings))
        if resolve_device(settings.device) != "cpu" or find_spec("openvino") is None:
            return
        exported_model(backbone, backbone_folder(settings))
    except (UnknownBackboneError, BackboneUnavailableError, UnavailableError) as error:
        raise CommandError(str(error), code=2) from error
    except ExportError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"OpenVINO can't take this backbone, PyTorch runs it: {first_line(error)}",
            markup=False,
        )


def _broker_is_ready(settings: Settings) -> bool:
    """Whether the broker answers; what workers that have died left there is then forgotten."""
    client = redis_from_url(broker_address(settings), retries=0)
    try:
        clear_stale_leases(client)
    except RedisError:
        return False
    finally:
        client.close()
    return True


class _Seats:
    """Which queues have a worker: one look at the broker answers for all of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._taken: set[str] = set()
        self._looked = 0.0

    def are_taken(self, queue: str) -> bool:
        """Whether a worker serves the queue."""
        if queue not in self._taken and time.monotonic() - self._looked > LOOK_SECONDS:
            self._taken = {worker.queue for worker in living_workers(self._settings) or ()}
            self._looked = time.monotonic()
        return queue in self._taken


def _processes(settings: Settings) -> list[ProcessSpec]:
    after = () if settings.redis_url else ("broker",)
    seats = _Seats(settings)

    def ours(
        name: str, ready: Callable[[], bool], *arguments: str, grace: float = GRACE_SECONDS
    ) -> ProcessSpec:
        return ProcessSpec(
            name,
            (sys.executable, "-m", "backend.cli", *arguments),
            ready=ready,
            after=after,
            ready_seconds=READY_SECONDS,
            grace_seconds=grace,
        )

    broker = ProcessSpec(
        "broker",
        tuple(broker_command(settings.home)),
        ready=partial(_broker_is_ready, settings),
    )
    return [
        *([] if settings.redis_url else [broker]),
        ours("inference", partial(inference_is_ready, settings), "inference"),
        ours("web", partial(web_is_ready, settings), "serve"),
        *(
            ours(
                f"worker-{queue}",
                partial(seats.are_taken, queue),
                "worker",
                queue,
                grace=FINETUNE_GRACE if queue == WorkKind.FINETUNE else GRACE_SECONDS,
            )
            for queue in QUEUES
        ),
    ]
