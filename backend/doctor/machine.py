"""Checks of this machine: disk, backbone, device, database, broker and processes."""

import asyncio
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

import store.database as database_package
from backend.doctor.checks import Check, Level, broken, ok, warning
from backend.doctor.label_studio import examine_studio
from backend.doctor.problems import examine_problems
from backend.doctor.readiness import (
    FAULTS,
    ask_web,
    inference_is_ready,
    living_workers,
    local_host,
)
from backend.inference.socket_path import socket_path
from backend.views.guests import guest_in_words, guest_statuses
from backend.views.inbox import OLD_SECONDS, inbox_in_words, inbox_status
from model.backbones import (
    BackboneUnavailableError,
    UnknownBackboneError,
    check_weights,
    get_backbone,
)
from model.embedding.devices import UnavailableError, preferred_precision, resolve_device
from services.embedding.backbones import backbone_folder
from services.embedding.stronger_backbone import find_offer
from services.guests.specification import GuestSettingError, guest_specs
from services.guests.state import FAILED
from store.files.artifacts import Artifacts
from store.inbox.inbox import FOLDER, REJECTED
from store.projects.connections import DEFAULT, StudioConnection, list_connections
from store.projects.key_values import EMBEDDING_SPACE
from store.projects.projects import list_projects
from store.settings import Settings
from store.store import Store
from worker.guests.client import GuestsClient
from worker.guests.socket_path import socket_path as guests_socket_path
from worker.queues.broker import broker_address, broker_problem
from worker.queues.enqueue import needed_queues
from worker.queues.store_claim import queues_problem

LOW_DISK = 5_000_000_000  # bytes
NO_DISK = 500_000_000


def examine(settings: Settings) -> Iterator[Check]:
    """Run every check in order, and yield each result at once. Changes nothing."""
    yield disk(settings)
    yield backbone(settings)
    yield from stronger_backbone(settings)
    yield device(settings)
    state = database(settings)
    yield state
    if settings.storage_url:
        yield models(settings)
    yield broker(settings)
    yield from workers(settings)
    yield web(settings)
    yield inference(settings)
    if state.level is not Level.BROKEN:
        yield inbox(settings)
        yield from guests(settings)
        yield from connections(settings)


def disk(settings: Settings) -> Check:
    """Check the free space for the database, embeddings and models."""
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    message = f"{free / 1e9:.1f} GB free at {settings.home}"
    if free < NO_DISK:
        return broken("disk", message, "free some space, or move APPRENTICE_HOME")
    if free < LOW_DISK:
        return warning("disk", message, "100,000 images need about 0.5 GB")
    return ok("disk", message)


def backbone(settings: Settings) -> Check:
    """Check that the backbone's weights are there, with the expected digest."""
    try:
        spec = get_backbone(settings.backbone, backbone_folder(settings))
        if find_spec("torch") is not None:
            check_weights(spec)
    except UnknownBackboneError as error:
        return broken("backbone", str(error), "see `apprentice backbones` for what there is")
    except BackboneUnavailableError as error:
        if find_spec("torch") is None and find_spec("openvino") is None:
            return warning(
                "backbone",
                f"{settings.backbone}: no runtime is installed here (as in the web image)",
                "run the doctor where the workers are to check the weights",
            )
        return broken("backbone", str(error), "see `apprentice backbones` for what is usable here")
    return ok("backbone", f"{spec.name}, weights {spec.digest[:8]}, {spec.dim} features")


def stronger_backbone(settings: Settings) -> Iterator[Check]:
    """Offer a stronger backbone where one can be downloaded."""
    if find_spec("torch") is None:
        return
    if (offer := find_offer(settings, measure=True)) is not None:
        yield ok("stronger backbone", offer.sentence())


def device(settings: Settings) -> Check:
    """Check the device that the backbone runs on."""
    try:
        chosen = resolve_device(settings.device)
        precision = preferred_precision(chosen)
    except UnavailableError as error:
        return broken("device", str(error), "or install the GPU's driver and a CUDA build of torch")
    if settings.precision != "auto":
        precision = settings.precision
    runtime = "PyTorch" if chosen == "cuda" or find_spec("openvino") is None else "OpenVINO"
    return ok("device", f"{chosen}, {precision}, {runtime}")


def database(settings: Settings) -> Check:
    """Check that the database opens, with this version's schema."""
    url = make_url(settings.database)
    shown = url.render_as_string(hide_password=True)
    started = "start `apprentice up` once: it creates and upgrades the database"
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        return broken("database", f"{shown} is not there yet", started)
    store = Store.open(settings)
    try:
        with store.database.read() as db:
            now = MigrationContext.configure(db).get_current_revision()
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        return broken("database", f"{shown}: {reason}", "check APPRENTICE_DATABASE_URL")
    finally:
        store.close()
    folder = Path(database_package.__file__ or "").parent / "migrations"
    head = ScriptDirectory(str(folder)).get_current_head()
    if now != head:
        message = f"{shown} has schema {now}, this version needs {head}"
        return broken("database", message, started)
    return ok("database", f"{shown}, schema {now}")


def models(settings: Settings) -> Check:
    """Check that the folder of models can be used."""
    try:
        count = len(Artifacts(settings.storage).digests())
    except OSError as error:
        return broken("models", str(error), "mend APPRENTICE_STORAGE_URL, or what it needs")
    return ok("models", f"{count} in {settings.storage}")


def broker(settings: Settings) -> Check:
    """Check that Redis or Valkey answers."""
    problem = broker_problem(broker_address(settings))
    if problem is None:
        if (foreign := queues_problem(settings)) is not None:
            return broken("broker", "it serves another Apprentice", foreign)
        return ok("broker", "external" if settings.redis_url else "embedded Valkey")
    if settings.redis_url:
        return broken("broker", problem, "start it, or mend APPRENTICE_REDIS_URL")
    return broken("broker", "the embedded one isn't running", "start `apprentice up`")


def workers(settings: Settings) -> Iterator[Check]:
    """Check that each queue has a live worker."""
    alive = living_workers(settings)
    if alive is None:
        yield broken("workers", "unknown while the broker is away", "see the broker's line")
        return
    for queue in needed_queues(settings):
        here = [worker for worker in alive if worker.queue == queue]
        if here:
            busy = f", {sum(worker.busy for worker in here)} busy" if here[0].busy else ""
            yield ok(f"worker {queue}", f"{len(here)} alive{busy}")
        else:
            advice = f"start `apprentice up`, or `apprentice worker {queue}` by itself"
            yield broken(f"worker {queue}", "none is alive", advice)


def web(settings: Settings) -> Check:
    """Check that the web process answers on this machine."""
    url = f"http://{local_host(settings)}:{settings.port}"
    try:
        answer, _ = ask_web(settings)
    except FAULTS as error:
        return broken("web", f"{url}: {error}", "start `apprentice up` (or `serve`)")
    if answer == HTTPStatus.UNAUTHORIZED:
        advice = "run the doctor with the BASIC_AUTH_USER and BASIC_AUTH_PASS of the server"
        return broken("web", f"{url} refuses our user and password", advice)
    if answer != HTTPStatus.OK:
        return broken("web", f"{url} answers {answer}", "is it Apprentice's port?")
    return ok("web", f"{url} answers")


def inference(settings: Settings) -> Check:
    """Check that the inference process answers on its socket."""
    if inference_is_ready(settings):
        return ok("inference", "answers")
    advice = "start `apprentice up` (or `inference`): until then only known images get suggestions"
    return broken("inference", f"no answer on {socket_path(settings)}", advice)


def inbox(settings: Settings) -> Check:
    """Check that acknowledged webhooks are applied."""
    store = Store.open(settings)
    try:
        status = inbox_status(store)
    finally:
        store.close()
    words = inbox_in_words(status).removeprefix("Inbox: ")
    if status.oldest_seconds > OLD_SECONDS:
        advice = "see logs/web.log for why; they are kept, and applied when the database allows it"
        return warning("inbox", words, advice)
    if status.rejected:
        folder = settings.home / FOLDER / REJECTED
        advice = f"read {folder} for the reasons, report them, and delete the files"
        return warning("inbox", words, advice)
    return ok("inbox", words)


def guests(settings: Settings) -> Iterator[Check]:
    """Check each guest model: whether its process runs, and its last fault."""
    try:
        specs = guest_specs(settings)
    except GuestSettingError as error:
        yield broken("guests", str(error), "mend APPRENTICE_GUESTS or APPRENTICE_GUEST_PYTHON")
        return
    if specs and not asyncio.run(GuestsClient(guests_socket_path(settings)).health()):
        advice = "start `apprentice up` (or `guests`): until then guests suggest nothing new"
        yield broken("guests", "their process doesn't answer", advice)
    store = Store.open(settings)
    try:
        with store.database.read() as db:
            statuses = guest_statuses(db)
    except SQLAlchemyError:
        return  # the database's own line says it
    finally:
        store.close()
    for status in statuses:
        words, log = guest_in_words(status), f"see logs/guest-{status.name}.log in APPRENTICE_HOME"
        if status.state == FAILED:
            yield broken(f"guest {status.name}", words, log)
        elif status.reason is not None:
            yield warning(f"guest {status.name}", words, log)
        else:
            yield ok(f"guest {status.name}", words)


def connections(settings: Settings) -> Iterator[Check]:
    """Check every connection to Label Studio, and its projects."""
    store = Store.open(settings)
    try:
        with store.database.read() as db:
            saved = list_connections(db)
            projects = list_projects(db)
            space = EMBEDDING_SPACE.get(db)
        known = _with_default(saved, settings)
        if space:
            yield ok("embeddings", f"made by {space}")
        if not known:
            yield warning(
                "label studio",
                "no connection yet",
                "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, then `apprentice connect`",
            )
        if _differs(saved, known):
            yield warning(
                "label studio default",
                "LABEL_STUDIO_URL or LABEL_STUDIO_API_KEY is not what Apprentice works with",
                "restart `apprentice up` with them, or run `apprentice connect` again",
            )
        for connection in known:
            own = [project for project in projects if project.connection_id == connection.id]
            yield from examine_studio(store, connection, own)
            for project in own:
                yield from examine_problems(store, project)
    finally:
        store.close()


def _with_default(known: list[StudioConnection], settings: Settings) -> list[StudioConnection]:
    """The connections, with the default one as the settings have it."""
    if not settings.label_studio_url or settings.label_studio_api_key is None:
        return known
    url, token = settings.label_studio_url, settings.label_studio_api_key.get_secret_value()
    saved = next((c for c in known if c.id == DEFAULT), None)
    aliases = saved.aliases if saved is not None and saved.url == url else ()
    default = StudioConnection(DEFAULT, url, token, saved.secret if saved else "", aliases)
    return [default, *(c for c in known if c.id != DEFAULT)]


def _differs(saved: list[StudioConnection], known: list[StudioConnection]) -> bool:
    """Whether the settings' default connection differs from the saved one."""
    before = next((c for c in saved if c.id == DEFAULT), None)
    return before is not None and before not in known
