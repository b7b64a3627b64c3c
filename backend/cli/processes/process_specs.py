"""The processes of `apprentice up`, and when each is ready."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from redis import RedisError
from rich.console import Console

from backend.cli.errors import CommandError, first_line
from backend.doctor.readiness import (
    FAULTS,
    ask_web,
    inference_is_ready,
    living_workers,
    web_is_ready,
)
from model.backbones import BackboneUnavailableError, UnknownBackboneError, get_backbone
from model.embedding.devices import UnavailableError, resolve_device
from model.embedding.openvino_export import ExportError, exported_model
from services.embedding.backbones import backbone_folder
from services.guests.specification import guest_specs
from store.settings import Settings
from store.work.work_kind import WorkKind
from worker.guests.client import GuestsClient
from worker.guests.socket_path import socket_path
from worker.queues.broker import broker_address, broker_command, redis_from_url
from worker.queues.dead_workers import remove_dead_workers
from worker.queues.enqueue import needed_queues
from worker.supervision.supervisor import ProcessSpec

READY_SECONDS = 120.0  # for each process; a busy machine imports slowly
READ_SECONDS = 0.1
GRACE_SECONDS = 15.0  # from SIGTERM to SIGKILL: a job at hand is finished
FINETUNE_GRACE = 1.0  # minutes of work aren't waited for: it goes on from its checkpoint


def process_specs(settings: Settings) -> list[ProcessSpec]:
    """Every process, in the order in which they start."""
    depends_on = () if settings.redis_url else ("broker",)
    served = _ServedQueues(settings)
    guests = guest_specs(settings)

    def ours(
        name: str, ready: Callable[[], bool], *arguments: str, grace: float = GRACE_SECONDS
    ) -> ProcessSpec:
        return ProcessSpec(
            name,
            (sys.executable, "-m", "backend.cli", *arguments),
            ready=ready,
            after=depends_on,
            ready_seconds=READY_SECONDS,
            grace_seconds=grace,
        )

    broker = ProcessSpec(
        "broker",
        tuple(broker_command(settings.home)),
        ready=partial(broker_is_ready, settings),
    )
    return [
        *([] if settings.redis_url else [broker]),
        ours("inference", partial(inference_is_ready, settings), "inference"),
        *([ours("guests", partial(guests_are_ready, settings), "guests")] if guests else []),
        ours("web", partial(web_is_ready, settings), "serve"),
        *(
            ours(
                f"worker-{queue}",
                partial(served.includes, queue),
                "worker",
                queue,
                grace=FINETUNE_GRACE
                if queue in (WorkKind.FINETUNE, WorkKind.GUEST)
                else GRACE_SECONDS,
            )
            for queue in needed_queues(settings)
        ),
    ]


def guests_are_ready(settings: Settings) -> bool:
    """Whether the guests' process answers; its guests may still be loading."""
    return asyncio.run(GuestsClient(socket_path(settings)).health())


def broker_is_ready(settings: Settings) -> bool:
    """Whether the broker answers; if so, remove dead workers."""
    client = redis_from_url(broker_address(settings), retries=0)
    try:
        remove_dead_workers(client)
    except RedisError:
        return False
    finally:
        client.close()
    return True


class _ServedQueues:
    """The queues that have a worker, read from the broker for all queues at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queues: set[str] = set()
        self._read_at = 0.0

    def includes(self, queue: str) -> bool:
        """Whether a worker serves the queue."""
        if queue not in self._queues and time.monotonic() - self._read_at > READ_SECONDS:
            self._queues = {worker.queue for worker in living_workers(self._settings) or ()}
            self._read_at = time.monotonic()
        return queue in self._queues


def export_backbone(settings: Settings) -> None:
    """Export the backbone to OpenVINO before two processes need it at once.

    Raises:
        CommandError: the backbone or its device can't be used here.
    """
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


def next_step(settings: Settings) -> str:
    """The user's next step, in words."""
    try:
        status = json.loads(ask_web(settings, "/api/v1/status")[1])
        connections, projects = status["connections"], status["projects"]
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
        "next, connect a project: `apprentice connect --project ID --url LABEL_STUDIO_URL`, which "
        "asks for your token. Ctrl-C stops everything."
    )
