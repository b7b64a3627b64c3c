"""The job predict: asks guest models for suggestions before anybody needs them."""

import asyncio
import time
from collections.abc import Mapping

from sqlalchemy import Connection

from services.errors import JobError
from services.guests.project_guests import project_guests
from services.job_context import TIME_BOX, JobContext
from store.predictions.guest_predictions import TaskData
from store.predictions.pending_answers import tasks_with_pending_answer
from store.predictions.publications import pending_publications, published_tasks
from store.predictions.shortlists import get_shortlist
from store.tasks.annotations import annotated_tasks
from store.tasks.tasks import task_data, task_ids
from store.tasks.units import TaskId
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.config import parse_label_config
from worker.guests.access import BATCH, Asked, GuestAccess, studio_tasks
from worker.guests.client import GuestsAwayError
from worker.guests.priority import AHEAD
from worker.guests.warm_guest import LOAD_SECONDS
from worker.jobs.runner import running

MOST_AHEAD = 1_000  # tasks beyond the shortlist that are predicted before anybody asks


def run(project_id: int, generation: int) -> None:
    """Ask for suggestions for at most a time box; then request the next job."""
    with running(WorkKind.PREDICT, project_id, generation) as context:
        access = GuestAccess.open(context.store.settings)
        if access is None:
            _finish(context, more=False)
            return
        try:
            _predict(context, access)
        finally:
            access.predictions.close()


def _predict(context: JobContext, access: GuestAccess) -> None:
    with context.store.database.read() as db:
        guests = project_guests(db, access.specs, context.project)
        data = _wanted(db, context.project.id) if guests else {}
    left, answered = 0, 0
    reasons: list[str] = []
    deadline = time.monotonic() + TIME_BOX
    for spec in guests.specs if guests else ():
        assert guests is not None, "it has specs"
        if spec.name not in guests.models:  # its answers will show in the name of a version
            try:
                asyncio.run(access.client.reload(spec.name, context.project.id, LOAD_SECONDS))
            except GuestsAwayError as error:
                reasons.append(str(error))
                continue
        unseen = guests.unseen(access.predictions, spec.name, data)
        left += len(unseen)
        while unseen and time.monotonic() < deadline:
            context.check()
            batch = {task: data[task] for task in unseen[:BATCH]}
            asked = _ask(context, access, spec.name, batch)
            answered += len(asked.answers)
            reasons += [asked.reason] if asked.reason else []
            if asked.away:
                break
            del unseen[:BATCH]
    context.timings["tasks"] = answered
    if reasons and not answered:
        raise JobError(reasons[0])
    _finish(context, more=left > answered, answered=answered > 0)


def _wanted(db: Connection, project_id: int) -> Mapping[TaskId, TaskData]:
    """The data of tasks without a label: those to be pushed, the shortlist, and some more."""
    annotated = annotated_tasks(db, project_id)
    pushed = [published_tasks(db, each.id) for each in pending_publications(db, project_id)]
    first = dict.fromkeys(task for tasks in pushed for task in sorted(tasks))
    first |= dict.fromkeys(sorted(tasks_with_pending_answer(db, project_id)))
    first |= dict.fromkeys(get_shortlist(db, project_id))
    rest = sorted(task_ids(db, project_id) - annotated - first.keys())[:MOST_AHEAD]
    tasks = [*(task for task in first if task not in annotated), *rest]
    data = task_data(db, project_id, tasks)
    return {task: data[task] for task in tasks if task in data}


def _ask(
    context: JobContext, access: GuestAccess, guest: str, batch: Mapping[TaskId, TaskData]
) -> Asked:
    """Have the guest answer a batch, which its process stores."""
    seconds = 2 * context.store.settings.guest_seconds  # its process keeps to one of them
    return asyncio.run(
        access.ask(
            context.project.id,
            guest,
            studio_tasks(batch),
            time.monotonic() + seconds,
            priority=AHEAD,
        )
    )


def _finish(context: JobContext, *, more: bool, answered: bool = False) -> None:
    alone = not parse_label_config(context.project.label_config).controls

    def write(db: Connection) -> None:
        pending_work.finish(db, context.lease)
        if more:
            pending_work.want(db, context.project.id, WorkKind.PREDICT)
        if answered and alone:  # the shortlist is theirs
            pending_work.want(db, context.project.id, WorkKind.LEARN)
        if tasks_with_pending_answer(db, context.project.id):
            pending_work.want(db, context.project.id, WorkKind.PUBLISH)

    context.store.database.write(write)
