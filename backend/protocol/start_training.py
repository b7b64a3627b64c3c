"""The Start Training button: a wake-up, since learning needs none. And the jobs that it names."""

import re

from sqlalchemy import Connection

from backend.app_state import Web
from backend.http.request_bodies import RequestError
from services.finetuning.policy import LEAST_ASKED, is_possible
from services.versions.training_requests import TrainingKind, next_job, request_training
from store.projects.projects import Project, find_project
from store.tasks.annotations import annotated_tasks
from store.work.jobs import get_job
from store.work.pending_work import get_work
from store.work.work_kind import WorkKind
from studio.records.projects import ProjectRef

JOB_ID = re.compile(r"(learn|finetune)-(\d{1,9})-g(\d{1,9})")
STATES = {"lost": "failed", "cancelled": "failed"}  # what Label Studio doesn't know, in its words


async def start(web: Web, connection_id: str, ref: ProjectRef) -> str:
    """Have labels looked for and learned, at most once every few seconds.

    With labels enough for it, the backbone is fine-tuned too.

    Returns:
        The id of the job that will learn.

    Raises:
        RequestError: 404, the project is unknown.
    """
    project = await web.read(lambda db: find_project(db, connection_id, ref.ls_id, ref.ls_created))
    if project is None:
        raise RequestError(404, f"project {ref.ls_id} is unknown: run `apprentice connect`")
    found = project

    def wish(db: Connection) -> str:
        job = request_training(db, found.id, TrainingKind.HEAD).job
        if _finetunes(db, found):
            request_training(db, found.id, TrainingKind.FINETUNE)
        return job

    if web.trainings.passes(found.id):
        job = await web.write(wish)
        web.sweeper.wake()
        return job
    return await web.read(lambda db: next_job(db, found.id, TrainingKind.HEAD))


def _finetunes(db: Connection, project: Project) -> bool:
    enough = len(annotated_tasks(db, project.id)) >= LEAST_ASKED
    return enough and is_possible(db, project)


def job_state(db: Connection, job_id: str) -> str | None:
    """What became of a job that `start` named: queued, started, finished, failed; None if unknown.

    Where wishes came in between, the job has a later number: then that one counts.
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
