"""The job shards: helps a project's embedding job, on another worker of the same queue."""

import structlog

from services.embedding.shard_embedding import help_embedding
from services.job_context import JobContext
from store.projects.projects import get_project
from store.settings import Settings
from store.store import Store
from store.work.jobs import job_id
from store.work.pending_work import Lease
from store.work.work_kind import WorkKind
from worker.jobs.runner import EXPECTED, worker_of_this_job
from worker.queues.job_types import SHARDS

TIME_BOX = 30.0  # seconds, as long as the embedding job's
NO_FENCE = -1  # a helper holds no lease: whatever needs one is refused

log = structlog.get_logger()


def run(project_id: int, generation: int) -> None:
    """Embed shards of the project for at most a time box; the scheduler starts the next helper."""
    own = job_id(SHARDS.name, project_id, generation)
    store = Store.open(Settings())
    try:
        with store.database.read() as db:
            project = get_project(db, project_id)
        if project is None:
            return
        lease = Lease(project_id, WorkKind.EMBED, own, generation, NO_FENCE)
        context = JobContext(store, project, lease, own)
        with structlog.contextvars.bound_contextvars(job=own):
            try:
                help_embedding(context, until=TIME_BOX, worker=worker_of_this_job())
            except EXPECTED as error:
                log.warning("job failed", error=str(error))
                raise
            log.info("job finished", **context.timings)
    finally:
        store.close()
