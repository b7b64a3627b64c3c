"""Answers /setup from memory, since Label Studio calls it at every turn."""

import asyncio
import time

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from backend.app_state import AppState, CachedProject, ProjectKey
from backend.http.request_bodies import RequestError
from backend.http.thread_pool import BusyError
from store.projects.key_values import CALLED_AS, REPAIR
from store.projects.projects import Project, find_project, get_project
from store.projects.unconfirmed import add_unconfirmed, ask_label_studio
from store.versions.versions import get_version, version_name
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.records.projects import ProjectRef
from studio.records.requests import SetupRequest

log = structlog.get_logger()

READ_SECONDS = 0.02  # for a read of the store; then the cached project is good enough
RETRY_AFTER = 60  # seconds
REVIVE_SECONDS = 10  # a call that comes sooner after a disconnect was on its way already


async def set_up(
    app_state: AppState, connection_id: str, request: SetupRequest, called_as: str
) -> str:
    """Note a new project, and request a repair of its registration now and then.

    The request may come from anybody: it is only a reason to ask Label Studio.

    Args:
        called_as: the host and port that the request names.

    Returns:
        The served version's name.

    Raises:
        RequestError: 503, there are too many projects that Label Studio has not confirmed yet.
    """
    ref = request.project
    key = (connection_id, ref.ls_id, ref.ls_created)
    known = app_state.project_cache.get(key)
    if known is None or (known.gone and app_state.config_throttle.passes(known.id)):
        known = await app_state.write(lambda db: _meet(db, connection_id, ref, called_as))
        app_state.project_cache.put(key, known)
        app_state.repair_throttle.passes(known.id)
        app_state.scheduler.wake()
        return known.version
    if known.gone:
        return known.version
    project_id = known.id
    if app_state.repair_throttle.passes(project_id):
        app_state.submit(lambda db: request_repair(db, project_id, called_as))
    # Where none is known yet, it is being read.
    changed = known.label_config and request.label_config not in ("", known.label_config)
    if changed and app_state.config_throttle.passes(project_id):
        app_state.submit(lambda db: want(db, project_id, WorkKind.SYNC))
        app_state.scheduler.wake()
    if not app_state.setup_throttle.passes(project_id):
        return known.version
    return await _read_version_name(app_state, key, known)


def _meet(db: Connection, connection_id: str, ref: ProjectRef, called_as: str) -> CachedProject:
    project = meet_project(db, connection_id, ref)
    if project is None:
        raise RequestError(400, '"project" must say when it was created: "ID.CREATED"')
    CALLED_AS.of(project.id).set(db, called_as)
    return _cached(db, project)


def meet_project(db: Connection, connection_id: str, ref: ProjectRef) -> Project | None:
    """The project that a request names, and a request for its repair; a new one is noted.

    Returns:
        None for a new one of which the request doesn't say when it was created.

    Raises:
        RequestError: 503, too many new ones wait for Label Studio's confirmation.
    """
    project = find_project(db, connection_id, ref.ls_id, ref.ls_created)
    if project is not None:
        request_repair(db, project.id)
        return get_project(db, project.id)
    if ref.ls_created is None:
        return None
    project = add_unconfirmed(db, connection_id, ref.ls_id, ref.ls_created)
    if project is None:
        raise RequestError(
            503,
            "too many new projects at once: `apprentice connect` connects one in any case",
            retry_after=RETRY_AFTER,
        )
    return project


def _cached(db: Connection, project: Project) -> CachedProject:
    served = get_version(db, project.served_version_id) if project.served_version_id else None
    name = served.name if served else version_name(0)
    return CachedProject(project.id, project.label_config, name, project.gone_at is not None)


def request_repair(db: Connection, project_id: int, called_as: str = "") -> None:
    """Request that the next sync repairs the webhook and the model version in Label Studio."""
    project = get_project(db, project_id)
    if project is None:
        return
    if project.gone_at is not None:
        if time.time() - project.gone_at < REVIVE_SECONDS:
            return
        ask_label_studio(db, project_id)  # somebody may have pasted our URL again
        return
    REPAIR.of(project_id).set(db, time.time())
    if called_as:
        CALLED_AS.of(project_id).set(db, called_as)
    want(db, project_id, WorkKind.SYNC)


async def _read_version_name(app_state: AppState, key: ProjectKey, known: CachedProject) -> str:
    """The served version's name in the store, or in memory when the store takes too long."""

    def query(db: Connection) -> CachedProject:
        project = get_project(db, known.id)
        return known if project is None else _cached(db, project)

    async def read() -> CachedProject:
        try:
            found = await app_state.read(query)
        except (SQLAlchemyError, OSError, BusyError) as error:
            log.warning("answered from memory", project=known.id, reason=str(error))
            return known
        app_state.project_cache.put(key, found)
        return found

    reading = asyncio.ensure_future(read())
    app_state.background_tasks.add(reading)
    reading.add_done_callback(app_state.background_tasks.discard)
    await asyncio.wait({reading}, timeout=READ_SECONDS)
    return reading.result().version if reading.done() else known.version
