"""The Start Training button: a wake-up, since learning needs none. And the jobs that it names."""

import re

from sqlalchemy import Connection

from backend.bodies import RequestError
from backend.context import Web
from backend.payloads import ProjectRef
from store.jobs import get_job
from store.projects import find_project
from store.work import get_work, want

ACTION = "START_TRAINING"
JOB_ID = re.compile(r"learn-(\d{1,9})-g(\d{1,9})")
STATES = {"lost": "failed"}  # what Label Studio doesn't know, in its words


async def start(web: Web, connection_id: str, ref: ProjectRef) -> str:
    """Have labels looked for and learned, at most once every few seconds.

    Returns:
        The id of the job that will do it.

    Raises:
        RequestError: 404, the project is unknown.
    """
    project = await web.read(lambda db: find_project(db, connection_id, ref.ls_id, ref.ls_created))
    if project is None:
        raise RequestError(404, f"project {ref.ls_id} is unknown: run `apprentice connect`")
    project_id = project.id

    def wish(db: Connection) -> str:
        want(db, project_id, "sync")  # the button is pressed when labels seem to be missing
        want(db, project_id, "learn")
        return next_job(db, project_id)

    if web.trainings.passes(project_id):
        job = await web.write(wish)
        web.sweeper.wake()
        return job
    return await web.read(lambda db: next_job(db, project_id))


def next_job(db: Connection, project_id: int) -> str:
    """The id that the next learn job has, if nothing else is wished for until it starts."""
    work = get_work(db, project_id, "learn")
    if work is None:
        return f"learn-{project_id}-g1"
    if work.wanted == work.done:
        return work.job_id
    return f"learn-{project_id}-g{max(work.wanted, work.enqueued + 1)}"


def job_state(db: Connection, job_id: str) -> str | None:
    """What became of a job that `start` named: queued, started, finished, failed; None if unknown.

    Where wishes came in between, the job has a later number: then that one counts.
    """
    named = JOB_ID.fullmatch(job_id)
    job = get_job(db, job_id)
    if job is not None:
        return STATES.get(job.state, job.state)
    work = get_work(db, int(named[1]), "learn") if named else None
    if named is None or work is None or int(named[2]) > work.wanted + 1:
        return None
    if int(named[2]) <= work.done:
        return "finished"
    newest = get_job(db, work.job_id)
    if newest is not None and newest.generation >= int(named[2]):
        return STATES.get(newest.state, newest.state)
    return "queued"
