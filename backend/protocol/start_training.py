"""Answers the Start Training button, and the state of the jobs that it starts."""

import re

from sqlalchemy import Connection

from backend.app_state import AppState
from backend.http.request_bodies import RequestError
from services.finetuning.policy import LEAST_ASKED, is_possible
from services.guests.project_guests import guests_serve
from services.guests.state import ASKED_FOR
from services.versions.training_requests import TrainingKind, next_job, request_training
from store.projects.projects import Project, find_project
from store.tasks.annotations import annotated_tasks
from store.work.jobs import get_job
from store.work.pending_work import get_work, want
from store.work.work_kind import WorkKind
from studio.records.projects import ProjectRef
from studio.records.webhooks import START_TRAINING

JOB_ID = re.compile(r"(learn|finetune)-(\d{1,9})-g(\d{1,9})")
STATES = {"lost": "failed", "cancelled": "failed"}  # {our state: Label Studio's}, where they differ


async def start(app_state: AppState, connection_id: str, ref: ProjectRef) -> str:
    """Request a sync and training of heads, at most once every few seconds.

    With enough labels, fine-tuning of the backbone is requested too.

    Returns:
        The id of the job that will train the heads.

    Raises:
        RequestError: 404, the project is unknown.
    """
    await app_state.apply_webhooks()
    project = await app_state.read(
        lambda db: find_project(db, connection_id, ref.ls_id, ref.ls_created)
    )
    if project is None:
        raise RequestError(404, f"project {ref.ls_id} is unknown: run `apprentice connect`")
    found = project

    def request(db: Connection) -> str:
        job = request_training(db, found.id, TrainingKind.HEAD).job
        if _finetunes(db, found):
            request_training(db, found.id, TrainingKind.FINETUNE)
        if guests_serve(app_state.settings, found.label_config):
            ASKED_FOR.of(found.id).set(db, START_TRAINING)
            want(db, found.id, WorkKind.GUEST)
        return job

    if app_state.training_throttle.passes(found.id):
        job = await app_state.write(request)
        app_state.scheduler.wake()
        return job
    return await app_state.read(lambda db: next_job(db, found.id, TrainingKind.HEAD))


def _finetunes(db: Connection, project: Project) -> bool:
    enough = len(annotated_tasks(db, project.id)) >= LEAST_ASKED
    return enough and is_possible(db, project)


def job_state(db: Connection, job_id: str) -> str | None:
    """The state of a job that `start` returned: queued, started, finished, failed; None if unknown.

    Where more was requested in between, the job has a later number: then that one counts.
    """
    named = JOB_ID.fullmatch(job_id)
    job = get_job(db, job_id)
    if job is not None:
        return STATES.get(job.state, job.state)
    work = get_work(db, int(named[2]), WorkKind(named[1])) if named else None
    if named is None or work is None or int(named[3]) > work.wanted + 1:
        return None
    if int(named[3]) <= work.done:
        return "finished"
    newest = get_job(db, work.job_id)
    if newest is not None and newest.generation >= int(named[3]):
        return STATES.get(newest.state, newest.state)
    return "queued"
