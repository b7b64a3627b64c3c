"""Training on request, changing the backbone, and cancelling both."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from store.predictions.publications import version_is_pending
from store.projects.embedding_spaces import base_backbone, cancel_move, choose_backbone, is_tuned
from store.projects.projects import get_project
from store.work import pending_work
from store.work.jobs import CANCELLED, cancel_jobs, get_job, job_id
from store.work.work_kind import WorkKind


class TrainingKind(StrEnum):
    """The kinds of training: heads on embeddings (seconds), or the backbone too (minutes)."""

    HEAD = "head"
    FINETUNE = "finetune"

    @property
    def work(self) -> WorkKind:
        """The kind of work that does it."""
        return WorkKind.LEARN if self is TrainingKind.HEAD else WorkKind.FINETUNE


@dataclass(frozen=True)
class TrainingRequest:
    """A person's request to train: fulfilled once the work's generation reaches `target`."""

    project_id: int
    kind: TrainingKind
    target: int
    job: str  # id of the job that will do it, if nothing else is requested until it starts
    backbone: str | None = None  # that the project was given with it, and has to move to


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request: `state` is waiting, finished, failed or cancelled."""

    state: str
    progress: float  # 0 to 1
    message: str  # for people


def request_training(db: Connection, project_id: int, kind: TrainingKind) -> TrainingRequest:
    """Request training as soon as a worker is free. A second request changes nothing."""
    if kind is TrainingKind.HEAD:
        # People ask when labels seem to be missing.
        pending_work.want(db, project_id, WorkKind.SYNC)
        pending_work.want(db, project_id, WorkKind.LEARN)
    else:
        work = pending_work.get_work(db, project_id, WorkKind.FINETUNE, lock=True)
        if work is None or work.wanted == work.done:
            pending_work.want(db, project_id, WorkKind.FINETUNE)
    work = pending_work.get_work(db, project_id, kind.work)
    assert work is not None, "it was wanted just now"
    return TrainingRequest(project_id, kind, work.wanted, next_job(db, project_id, kind))


def next_job(db: Connection, project_id: int, kind: TrainingKind) -> str:
    """The id of the next job, unless something else is requested before it starts."""
    work = pending_work.get_work(db, project_id, kind.work)
    if work is None:
        return job_id(kind.work, project_id, 1)
    if work.wanted == work.done or (kind is TrainingKind.FINETUNE and _is_running(db, work)):
        return work.job_id
    return job_id(kind.work, project_id, max(work.wanted, work.enqueued + 1))


def _is_running(db: Connection, work: pending_work.Work) -> bool:
    job = get_job(db, work.job_id)
    return job is not None and job.ended_at is None


def outcome(db: Connection, request: TrainingRequest) -> Outcome:
    """Follow the request through its job, the move to a tuned backbone, and the publication."""
    work = pending_work.get_work(db, request.project_id, request.kind.work)
    assert work is not None, "it was requested"
    job = get_job(db, work.job_id)
    if work.done < request.target:
        if job is None or job.ended_at is not None:
            return Outcome("waiting", 0.0, work.error or "waiting for a worker")
        return Outcome("waiting", job.progress, job.message)
    if request.kind is TrainingKind.FINETUNE and work.enqueued < request.target:
        return Outcome(CANCELLED, 0.0, "cancelled before it began")
    if job is not None and job.state in ("failed", CANCELLED):
        return Outcome(job.state, job.progress, job.error or job.message)
    moving = _move_under_way(db, request)
    if moving is not None:
        return moving
    if version_is_pending(db, request.project_id, 0.0):
        return Outcome("waiting", 1.0, "publishing to Label Studio")
    return Outcome("finished", 1.0, job.message if job else "")


def _move_under_way(db: Connection, request: TrainingRequest) -> Outcome | None:
    """Follow the move to another backbone, if the request needs one; None when it is over."""
    project = get_project(db, request.project_id)
    assert project is not None, "projects are never forgotten"
    awaited = request.backbone is not None and base_backbone(project) not in (
        None,
        request.backbone,
    )
    if not awaited and not is_tuned(project.next_backbone or ""):
        return None
    if project.next_error is not None:
        return Outcome("failed", 0.0, project.next_error)
    embed = pending_work.get_work(db, request.project_id, WorkKind.EMBED)
    job = get_job(db, embed.job_id) if embed else None
    progress = job.progress if job and job.ended_at is None else 0.0
    return Outcome("waiting", progress, "embedding all images with the next backbone")


def cancel(db: Connection, project_id: int) -> list[str]:
    """Stop fine-tuning, and the training of guest models. Returns the stopped jobs, in words."""
    stopped = _cancel_finetuning(db, project_id)
    if pending_work.cancel(db, project_id, WorkKind.GUEST):
        cancel_jobs(db, project_id, WorkKind.GUEST)
        stopped.append("the training of its guest models")
    return stopped


def _cancel_finetuning(db: Connection, project_id: int) -> list[str]:
    """Stop the fine-tuning and the move to its result. Returns the stopped jobs, in words."""
    stopped = []
    if pending_work.cancel(db, project_id, WorkKind.FINETUNE):
        cancel_jobs(db, project_id, WorkKind.FINETUNE)
        stopped.append("the fine-tuning")
    project = get_project(db, project_id, lock=True)
    if project is not None and is_tuned(project.next_backbone or ""):
        cancel_move(db, project_id)
        stopped.append("the move to the fine-tuned backbone")
    return stopped


def change_backbone(db: Connection, project_id: int, backbone: str | None) -> None:
    """Choose another pretrained backbone (None: the settings'), used once all is embedded."""
    _cancel_finetuning(db, project_id)
    choose_backbone(db, project_id, backbone)
    pending_work.want(db, project_id, WorkKind.EMBED)
