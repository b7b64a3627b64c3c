"""Answering /setup: Label Studio calls it at every turn, so it is answered from memory."""

import asyncio
import time

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from backend.app_state import KnownProject, Web
from backend.http.request_bodies import RequestError
from backend.http.thread_pool import BusyError
from store.projects.key_values import REPAIR
from store.projects.projects import Project, change_project, find_project, get_project, save_project
from store.versions.versions import get_version, version_name
from store.work.pending_work import want
from store.work.work_kind import WorkKind
from studio.records.projects import ProjectRef
from studio.records.requests import SetupRequest

log = structlog.get_logger()

PATIENCE = 0.02  # seconds for a look at the store; then what memory holds is good enough
REVIVE_SECONDS = 10  # a call that comes sooner after a disconnect was on its way already


async def set_up(web: Web, connection_id: str, request: SetupRequest) -> str:
    """Remember the project, have its registration repaired now and then.

    Returns:
        The name of the version that is served.
    """
    ref, label_config = request.project, request.label_config
    key = (connection_id, ref.ls_id, ref.ls_created)
    known = web.projects.get(key)
    if known is None or known.gone or (label_config and known.label_config != label_config):
        known = await web.write(lambda db: _register(db, connection_id, ref, label_config))
        web.projects.put(key, known)
        web.repairs.passes(known.id)
        web.sweeper.wake()
        return known.version
    if web.repairs.passes(known.id):
        project_id = known.id
        web.submit(lambda db: ask_repair(db, project_id))
    if not web.looks.passes(known.id):
        return known.version
    return await _fresh_name(web, key, known)


def _register(
    db: Connection, connection_id: str, ref: ProjectRef, label_config: str
) -> KnownProject:
    known = find_project(db, connection_id, ref.ls_id, ref.ls_created)
    created = ref.ls_created if known is None else known.ls_created
    if created is None:
        raise RequestError(400, '"project" must say when it was created: "ID.CREATED"')
    project = save_project(db, connection_id, ref.ls_id, created, label_config=label_config)
    if known is not None and known.label_config != project.label_config:
        want(db, project.id, WorkKind.LEARN)
    ask_repair(db, project.id)
    project = get_project(db, project.id) or project
    return _known(db, project)


def _known(db: Connection, project: Project) -> KnownProject:
    served = get_version(db, project.served_version_id) if project.served_version_id else None
    name = served.name if served else version_name(0)
    return KnownProject(project.id, project.label_config, name, project.gone_at is not None)


def ask_repair(db: Connection, project_id: int) -> None:
    """Have the next sync look after the webhook and the model version in Label Studio."""
    project = get_project(db, project_id)
    if project is None:
        return
    if project.gone_at is not None:
        if time.time() - project.gone_at < REVIVE_SECONDS:
            return
        change_project(db, project_id, gone_at=None)  # somebody has pasted our URL again
    REPAIR.of(project_id).set(db, time.time())
    want(db, project_id, WorkKind.SYNC)


async def _fresh_name(web: Web, key: tuple[str, int, int | None], known: KnownProject) -> str:
    """The served version's name as the store has it, or as memory has it when that takes long."""

    def query(db: Connection) -> KnownProject:
        project = get_project(db, known.id)
        return known if project is None else _known(db, project)

    async def look() -> KnownProject:
        try:
            found = await web.read(query)
        except (SQLAlchemyError, OSError, BusyError) as error:
            log.warning("answered from memory", project=known.id, reason=str(error))
            return known
        web.projects.put(key, found)
        return found

    looking = asyncio.ensure_future(look())
    web.background.add(looking)
    looking.add_done_callback(web.background.discard)
    await asyncio.wait({looking}, timeout=PATIENCE)
    return looking.result().version if looking.done() else known.version
