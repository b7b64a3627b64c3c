"""The state of projects and workers, for the command line, pages, API and metrics."""

from dataclasses import dataclass

from sqlalchemy import Connection

from backend.views.advice import advice_status
from backend.views.connectivity import ConnectivityStatus, connectivity_status
from backend.views.guests import ProjectGuest, guest_statuses, project_guests
from backend.views.inbox import InboxStatus, inbox_status
from backend.views.jobs import ErrorStatus, JobStatus, WaitingStatus, project_work
from backend.views.worker_monitor import KnownWorkers, read_workers
from model.statistics.intervals import Estimate
from services.guests.state import GuestStatus
from services.labels.project_config import label_config_of
from services.reports.ledger_summary import Summary, stored_summary
from services.reports.problems import Problem, Problems, find_problems
from store.predictions.pending_answers import tasks_with_pending_answer
from store.predictions.shortlists import count_open_choices
from store.projects.connections import list_connections
from store.projects.embedding_spaces import backbone_of
from store.projects.key_values import EMBEDDING_SPACE
from store.projects.projects import Project, list_projects
from store.store import Store
from store.tasks.annotations import annotated_tasks
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import count_tasks
from store.versions.versions import Version, get_version, list_versions
from store.work.jobs import count_jobs
from studio.config import parse_label_config
from worker.queues.worker_registry import WorkerInfo


@dataclass(frozen=True)
class VersionStatus:
    """A version; `status` is candidate, served, retired or refused, and `verdict` says why."""

    name: str
    kind: str  # of training: start, head, finetune
    status: str
    labels: int
    accuracy: Estimate | None
    verdict: str
    created_at: float


@dataclass(frozen=True)
class MoveStatus:
    """A project's change to another backbone; `embedded` of its images are embedded with it."""

    backbone: str
    embedded: int
    error: str | None  # why the backbone can't be used; it is tried again


@dataclass(frozen=True)
class Status:
    """A project. `reason` says why there is no suggestion, and is null when there are some."""

    id: int
    connection: str
    project: int  # its id in Label Studio
    title: str
    connected: bool  # by `apprentice connect`; else somebody pasted our URL
    tasks: int
    images: int  # more than tasks, where these have several
    embedded: int
    broken: int
    labels: int  # tasks with a usable annotation
    shortlist: int  # chosen tasks that are still to be labelled
    owed: int
    version: str | None
    version_since: float | None
    accuracy: Estimate | None
    reason: str | None
    reconciled_at: float | None
    connectivity: ConnectivityStatus | None  # who calls whom; null before the first check
    jobs: tuple[JobStatus, ...]  # under way
    waiting: tuple[WaitingStatus, ...]
    workers: tuple[WorkerInfo, ...]
    versions: tuple[VersionStatus, ...]  # the newest five
    errors: tuple[ErrorStatus, ...]  # of the last day, the newest first
    backbone: str | None  # whose embeddings are in use
    moving: MoveStatus | None
    held: bool  # by a rollback: what is learned waits for `apprentice promote`
    not_learned: tuple[str, ...]  # control tags that are left out beside those learned, and why
    problems: tuple[Problem, ...]  # why images and labels can't be used, and what to do
    advice: tuple[str, ...]  # how good suggestions are, what more labels bring: for people
    suggestions: Summary | None  # what became of them; null while nothing was suggested
    guests: tuple[ProjectGuest, ...]  # models that suggest beside ours, or in place of them


@dataclass(frozen=True)
class ConnectionStatus:
    """A Label Studio server."""

    id: str
    url: str
    projects: int


@dataclass(frozen=True)
class SystemStatus:
    """The state of everything; `broker` says whether the queue's server answers.

    When it doesn't, `workers` are those that it told at `workers_read_at`.
    """

    connections: tuple[ConnectionStatus, ...]
    projects: tuple[Status, ...]
    workers: tuple[WorkerInfo, ...]
    broker: bool
    workers_read_at: float | None  # seconds since 1970
    embedding_space: str | None
    job_counts: dict[tuple[str, str], int]  # {(kind, state): how many}
    inbox: InboxStatus
    guests: tuple[GuestStatus, ...] = ()


def system_status(store: Store, known: KnownWorkers | None = None) -> SystemStatus:
    """The state of everything, read from the store; without `known`, also from the broker."""
    known = known or read_workers(store.settings)
    with store.database.read() as db:
        space = EMBEDDING_SPACE.get(db)
        projects = list_projects(db)
        statuses = tuple(_project_status(db, project, space, known) for project in projects)
        connections = tuple(
            ConnectionStatus(
                item.id, item.url, sum(project.connection_id == item.id for project in projects)
            )
            for item in list_connections(db)
        )
        counts = count_jobs(db)
        guests = guest_statuses(db)
    return SystemStatus(
        connections,
        statuses,
        known.workers,
        known.broker,
        known.read_at,
        space,
        counts,
        inbox_status(store),
        guests,
    )


def project_status(store: Store, project: Project, known: KnownWorkers | None = None) -> Status:
    """The state of one project, read from the store; without `known`, also from the broker."""
    known = known or read_workers(store.settings)
    with store.database.read() as db:
        return _project_status(db, project, EMBEDDING_SPACE.get(db), known)


def _project_status(
    db: Connection, project: Project, space: str | None, known: KnownWorkers
) -> Status:
    counts = count_tasks(db, project.id, project.embedding_space or space)
    problems = find_problems(db, project)
    served = get_version(db, project.served_version_id) if project.served_version_id else None
    now = project_work(db, project.id)
    guests = project_guests(db, project)
    alone = bool(guests) and not parse_label_config(project.label_config).controls
    return Status(
        id=project.id,
        connection=project.connection_id,
        project=project.ls_id,
        title=project.title,
        connected=project.connected_at is not None,
        tasks=counts.tasks,
        images=counts.images,
        embedded=counts.embedded,
        broken=0 if alone else counts.broken,
        labels=len(annotated_tasks(db, project.id)) if alone else problems.labelled,
        shortlist=count_open_choices(db, project.id),
        owed=len(tasks_with_pending_answer(db, project.id)),
        version=served.name if served else None,
        version_since=served.published_at if served else None,
        accuracy=_accuracy(served),
        reason=_reason(project, served, problems, counts.embedded),
        reconciled_at=project.reconciled_at,
        connectivity=connectivity_status(db, project.id),
        jobs=now.jobs,
        waiting=now.waiting,
        workers=known.workers,
        versions=tuple(_version_status(v) for v in list_versions(db, project.id, limit=5)),
        errors=now.errors,
        backbone=backbone_of(project.embedding_space) if project.embedding_space else None,
        moving=_moving(db, project),
        held=project.held_at is not None,
        not_learned=_not_learned(project, guests),
        problems=() if alone else problems.all,
        advice=advice_status(db, project).sentences,
        suggestions=stored_summary(db, project.id),
        guests=guests,
    )


def _not_learned(project: Project, guests: tuple[ProjectGuest, ...]) -> tuple[str, ...]:
    config = parse_label_config(project.label_config)
    if not config.controls:
        return ()  # the reason says it, or guests serve all of it
    answered = {control for guest in guests for control in guest.controls}
    return tuple(str(left_out) for left_out in config.skipped if left_out.name not in answered)


def _moving(db: Connection, project: Project) -> MoveStatus | None:
    if project.next_backbone is None:
        return None
    counts = count_tasks(db, project.id, project.next_space, SpaceRole.NEXT)
    return MoveStatus(project.next_backbone, counts.embedded, project.next_error)


def _accuracy(version: Version | None) -> Estimate | None:
    accuracy = version.metrics.get("accuracy") if version else None
    return Estimate(**accuracy) if accuracy else None


def _version_status(version: Version) -> VersionStatus:
    return VersionStatus(
        name=version.name,
        kind=version.kind,
        status=version.status,
        labels=version.labels,
        accuracy=_accuracy(version),
        verdict=version.verdict,
        created_at=version.created_at,
    )


def _reason(
    project: Project, served: Version | None, problems: Problems, embedded: int
) -> str | None:
    """Why there is no suggestion: nothing to learn from, else the reason that a job stored."""
    if served is not None and served.number > 0:
        return project.reason
    reason = problems.blocking or project.reason or label_config_of(project).reason
    if reason:
        return reason
    if not problems.labelled:
        return "no label yet: label a few tasks of at least two classes"
    if not embedded:
        return "no image is read yet"
    return "the first version is being learned"
