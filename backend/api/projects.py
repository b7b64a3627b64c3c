"""Our own JSON API, and the metrics."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from backend.app_state import Web, project_or_404, web_of
from backend.http.prometheus import CONTENT_TYPE_LATEST
from backend.http.request_bodies import Body, RequestError
from backend.views.jobs import JobStatus
from backend.views.status import (
    ConnectionStatus,
    Status,
    SystemStatus,
    project_status,
    system_status,
)
from backend.views.versions import Decision, VersionRecord, decide, version_records
from services.versions.rollback import VersionError
from store.projects.projects import list_projects
from store.versions.label_reviews import ContestedLabel, Rating, Review, SuspiciousLabel, get_review
from worker.queues.worker_registry import WorkerInfo

router = APIRouter()


@dataclass(frozen=True)
class ProjectSummary:
    """A project in the list. `id` is ours, `project` is Label Studio's."""

    id: int
    connection: str
    project: int
    title: str


class VersionWish(Body):
    """Which version; without a name the one that is near: before, or newest."""

    version: str | None = None


@dataclass(frozen=True)
class SystemAnswer:
    """Everything, as the status page shows it."""

    broker: bool
    inference: bool
    embedding_space: str | None
    connections: tuple[ConnectionStatus, ...]
    workers: tuple[WorkerInfo, ...]
    projects: tuple[Status, ...]


async def look(web: Web) -> SystemStatus:
    """The state of everything."""
    return await web.bulk.run(system_status, web.store, web.redis_at_once)


@router.get("/api/v1/status")
async def status(request: Request) -> SystemAnswer:
    """The state of everything."""
    web = web_of(request)
    found = await look(web)
    return SystemAnswer(
        broker=found.broker,
        inference=await web.inference.health() is not None,
        embedding_space=found.embedding_space,
        connections=found.connections,
        workers=found.workers,
        projects=found.projects,
    )


@router.get("/api/v1/projects")
async def projects(request: Request) -> list[ProjectSummary]:
    """The projects that we learn for."""
    listed = await web_of(request).read(list_projects)
    return [ProjectSummary(p.id, p.connection_id, p.ls_id, p.title) for p in listed]


@router.get("/api/v1/projects/{project_id}")
@router.get("/api/v1/projects/{project_id}/status")
async def project(request: Request, project_id: int) -> Status:
    """The state of one project, by our own id."""
    return await _status(request, project_id)


@router.get("/api/v1/projects/{project_id}/jobs")
async def jobs(request: Request, project_id: int) -> list[JobStatus]:
    """The project's jobs that are under way, with their progress."""
    return list((await _status(request, project_id)).jobs)


@router.get("/api/v1/projects/{project_id}/versions")
async def versions(request: Request, project_id: int) -> list[VersionRecord]:
    """The project's versions, the newest first, and what became of them."""
    web, project = await project_or_404(request, project_id)
    return await web.read(lambda db: version_records(db, project.id))


@router.post("/api/v1/projects/{project_id}/rollback")
async def rollback(request: Request, project_id: int, wish: VersionWish) -> Decision:
    """Serve an earlier version again, and hold it."""
    return await _decide(request, project_id, "rollback", wish)


@router.post("/api/v1/projects/{project_id}/promote")
async def promote(request: Request, project_id: int, wish: VersionWish) -> Decision:
    """Serve a version whatever the gate said, and let later ones take over again."""
    return await _decide(request, project_id, "promote", wish)


async def _decide(request: Request, project_id: int, action: str, wish: VersionWish) -> Decision:
    web, project = await project_or_404(request, project_id)
    try:
        decision = await web.bulk.run(decide, web.store, project, action, wish.version)
    except VersionError as error:
        raise RequestError(409, str(error)) from None
    web.sweeper.wake()
    return decision


@router.get("/api/v1/projects/{project_id}/annotators")
async def annotators(request: Request, project_id: int) -> list[Rating]:
    """How good each annotator's labels are, the worst first: by the last learning."""
    found = await _review(request, project_id)
    return list(found.annotators)


@router.get("/api/v1/projects/{project_id}/labels/suspicious")
async def suspicious(request: Request, project_id: int) -> list[SuspiciousLabel]:
    """Labels that are probably wrong, the worst first, less what was labelled again since."""
    found = await _review(request, project_id)
    return list(found.suspicious)


@router.get("/api/v1/projects/{project_id}/labels/contested")
async def contested(request: Request, project_id: int) -> list[ContestedLabel]:
    """Tasks that annotators disagree on, the least sure first."""
    found = await _review(request, project_id)
    return list(found.contested)


async def _review(request: Request, project_id: int) -> Review:
    web, project = await project_or_404(request, project_id)
    return await web.read(lambda db: get_review(db, project.id))


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    web = web_of(request)
    return Response(
        web.metrics.expose(await look(web)), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


async def _status(request: Request, project_id: int) -> Status:
    web, project = await project_or_404(request, project_id)
    return await web.bulk.run(project_status, web.store, project, web.redis_at_once)
