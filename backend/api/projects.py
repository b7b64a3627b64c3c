"""The JSON API of projects: status, jobs, versions and labels to check."""

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter

from backend.app_state import AppState
from backend.dependencies import AppStateDep, ProjectInPath
from backend.http.request_bodies import Body, RequestError
from backend.views.inbox import InboxStatus
from backend.views.jobs import JobStatus
from backend.views.status import (
    ConnectionStatus,
    Status,
    project_status,
)
from backend.views.versions import Decision, VersionRecord, decide, version_records
from services.versions.rollback import VersionError
from store.projects.projects import Project, list_projects
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


class VersionChoice(Body):
    """A version's name; without one, rollback takes the version before, promote the newest."""

    version: str | None = None


@dataclass(frozen=True)
class SystemResponse:
    """Everything, as the status page shows it."""

    broker: bool
    inference: bool
    inbox: InboxStatus
    embedding_space: str | None
    connections: tuple[ConnectionStatus, ...]
    workers: tuple[WorkerInfo, ...]
    workers_read_at: float | None  # seconds since 1970; long ago when the broker doesn't answer
    projects: tuple[Status, ...]


@router.get("/api/v1/status")
async def status(app_state: AppStateDep) -> SystemResponse:
    """The state of everything."""
    system, inference = await asyncio.gather(
        app_state.system_status(), app_state.inference.health()
    )
    return SystemResponse(
        broker=system.broker,
        inference=inference is not None,
        inbox=system.inbox,
        embedding_space=system.embedding_space,
        connections=system.connections,
        workers=system.workers,
        workers_read_at=system.workers_read_at,
        projects=system.projects,
    )


@router.get("/api/v1/projects")
async def projects(app_state: AppStateDep) -> list[ProjectSummary]:
    """The connected projects."""
    listed = await app_state.read_for_page(list_projects)
    return [ProjectSummary(p.id, p.connection_id, p.ls_id, p.title) for p in listed]


@router.get("/api/v1/projects/{project_id}")
@router.get("/api/v1/projects/{project_id}/status")
async def project(app_state: AppStateDep, project: ProjectInPath) -> Status:
    """The state of one project, by our own id."""
    return await _status(app_state, project)


@router.get("/api/v1/projects/{project_id}/jobs")
async def jobs(app_state: AppStateDep, project: ProjectInPath) -> list[JobStatus]:
    """The project's running and queued jobs, with their progress."""
    return list((await _status(app_state, project)).jobs)


@router.get("/api/v1/projects/{project_id}/versions")
async def versions(app_state: AppStateDep, project: ProjectInPath) -> list[VersionRecord]:
    """The project's versions, the newest first."""
    return await app_state.read_for_page(lambda db: version_records(db, project.id))


@router.post("/api/v1/projects/{project_id}/rollback")
async def rollback(app_state: AppStateDep, project: ProjectInPath, body: VersionChoice) -> Decision:
    """Serve an earlier version again, and pin it."""
    return await _decide(app_state, project, "rollback", body.version)


@router.post("/api/v1/projects/{project_id}/promote")
async def promote(app_state: AppStateDep, project: ProjectInPath, body: VersionChoice) -> Decision:
    """Serve a version whatever the gate said, and let later ones take over again."""
    return await _decide(app_state, project, "promote", body.version)


async def _decide(app_state: AppState, project: Project, action: str, name: str | None) -> Decision:
    try:
        decision = await app_state.page_pool.run(decide, app_state.store, project, action, name)
    except VersionError as error:
        raise RequestError(409, str(error)) from None
    app_state.scheduler.wake()
    return decision


@router.get("/api/v1/projects/{project_id}/annotators")
async def annotators(app_state: AppStateDep, project: ProjectInPath) -> list[Rating]:
    """How good each annotator's labels are, the worst first: by the last learning."""
    review = await _review(app_state, project)
    return list(review.annotators)


@router.get("/api/v1/projects/{project_id}/labels/suspicious")
async def suspicious(app_state: AppStateDep, project: ProjectInPath) -> list[SuspiciousLabel]:
    """Labels that are probably wrong, the worst first, without those corrected since."""
    review = await _review(app_state, project)
    return list(review.suspicious)


@router.get("/api/v1/projects/{project_id}/labels/contested")
async def contested(app_state: AppStateDep, project: ProjectInPath) -> list[ContestedLabel]:
    """Tasks that annotators disagree on, the least sure first."""
    review = await _review(app_state, project)
    return list(review.contested)


async def _review(app_state: AppState, project: Project) -> Review:
    return await app_state.read_for_page(lambda db: get_review(db, project.id))


async def _status(app_state: AppState, project: Project) -> Status:
    return await app_state.page_pool.run(
        lambda: project_status(app_state.store, project, app_state.worker_monitor.read())
    )
