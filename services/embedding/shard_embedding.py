"""Embeds a project's shards: several workers share the images of a large project.

Each claims a shard, embeds it, and claims the next; who is faster does more. The project's own
embedding job plans the shards and works on them like the others, its helpers do nothing else.
"""

import time
from collections.abc import Iterator

import structlog
from sqlalchemy import Connection

from model.arrays import Float16s
from model.embedding import Embedder
from services.connections.clients import image_loader
from services.embedding.backbones import open_backbone
from services.embedding.bulk_embedding import FLUSH, LOADERS, BulkEmbedding, Results
from services.errors import JobError
from services.job_context import JobContext
from store.projects.embedding_spaces import backbone_of
from store.projects.key_values import EMBED_WORKERS
from store.projects.projects import Project, get_project
from store.tasks.embedding_queue import count_to_embed, tasks_to_embed_between
from store.tasks.shards import (
    Shard,
    ShardLostError,
    ShardProgress,
    claim_shard,
    claiming_jobs,
    drop_shards,
    finish_shard,
    plan_shards,
    release_shards,
    shard_progress,
)
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import Task
from store.tasks.units import UnitId
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.images.loader import HostPlaces, ImageLoader

LEAST_SHARDS = 16  # fewer aren't worth a second worker: it has to open the backbone first
POLL_SECONDS = 0.2  # while others work on the last shards

EMBED_JOBS = f"{WorkKind.EMBED}-"  # prefix of the ids of projects' own embedding jobs

log = structlog.get_logger()


class ShardEmbedding(BulkEmbedding):
    """Embeds shards of one project, one claimed after another."""

    def __init__(
        self,
        context: JobContext,
        embedder: Embedder,
        loader: ImageLoader,
        role: SpaceRole,
        *,
        until: float,
        worker: str,
    ) -> None:
        super().__init__(context, embedder, loader, role, until=until)
        self._worker = worker
        self._shard_of: dict[UnitId, Shard] = {}
        self._results_of: dict[int, Results] = {}  # by the shard's number
        self._missing: dict[int, int] = {}  # images of a shard without a result yet
        self._unreported: dict[UnitId, str] = {}

    def _take(self, task: Task, outcome: Float16s | Exception) -> None:
        """Note a result; the last one of a shard ends it."""
        shard = self._shard_of.pop(task.unit)
        results = self._results_of[shard.number]
        self._note(results, task, outcome)
        self._missing[shard.number] -= 1
        if not self._missing[shard.number]:
            del self._results_of[shard.number], self._missing[shard.number]
            self._finish(shard, results)

    def _finish(self, shard: Shard, results: Results) -> None:
        def check(db: Connection) -> None:
            project = get_project(db, self.project_id)
            if project is None or not _is_wanted(project, shard.space, shard.role):
                raise ShardLostError(f"project {self.project_id} uses {shard.space} no more")
            finish_shard(db, shard, self._worker)

        try:
            self._write(results, check)
        except ShardLostError as error:
            log.info("shard lost", reason=str(error))
            return
        self._unreported |= results.keys
        if len(self._unreported) >= FLUSH:
            self._end()

    def _end(self) -> None:
        if self._unreported:
            self._report(self._unreported)
            self._unreported = {}

    def _tasks(self) -> Iterator[Task]:
        while self.context.seconds < self.until:
            shard = self.store.database.write(
                lambda db: claim_shard(db, self.project_id, self.embedder.key, self.context.job_id)
            )
            if shard is None:
                return
            with self.store.database.read() as db:
                tasks = tasks_to_embed_between(
                    db, self.project_id, shard.space, shard.role, shard.first_id, shard.last_id
                )
            if not tasks:
                self._finish(shard, Results())
                continue
            self._results_of[shard.number] = Results()
            self._missing[shard.number] = len(tasks)
            self._shard_of |= dict.fromkeys((task.unit for task in tasks), shard)
            yield from tasks


def _is_wanted(project: Project, space: str, role: SpaceRole) -> bool:
    """Whether the project still uses the space, or moves to it."""
    return space == (project.next_space if role is SpaceRole.NEXT else project.embedding_space)


def plan(context: JobContext, space: str, role: SpaceRole) -> ShardProgress | None:
    """Plan the project's shards if they are worth it; None when one worker does all.

    Shards of jobs that this one has superseded are free again.
    """
    store, project_id = context.store, context.project.id
    with store.database.read() as db:
        planned = shard_progress(db, project_id).get(project_id)
        several = (EMBED_WORKERS.get(db) or 1) > 1
    size = store.settings.shard_images
    if planned is not None and not _is_wanted(context.project, planned.space, planned.role):
        store.database.write(lambda db: drop_shards(db, project_id))
        planned = None
    if planned is None or (planned.space, planned.role) != (space, role):
        if not several:
            return None
        with store.database.read() as db:
            if count_to_embed(db, project_id, space, role) < LEAST_SHARDS * size:
                return None

        def write(db: Connection) -> None:
            pending_work.check(db, context.lease)
            plan_shards(db, project_id, space, role, size)

        store.database.write(write)

    def resume(db: Connection) -> ShardProgress | None:
        others = [job for job in claiming_jobs(db, project_id) if job != context.job_id]
        release_shards(db, project_id, [job for job in others if job.startswith(EMBED_JOBS)])
        return shard_progress(db, project_id).get(project_id)

    return store.database.write(resume)


def wait_for_helpers(context: JobContext, until: float) -> None:
    """Wait while others work on the last shards, as long as none of them is free again."""
    store, project_id = context.store, context.project.id
    while context.seconds < until:
        context.check()
        with store.database.read() as db:
            progress = shard_progress(db, project_id).get(project_id)
        if progress is None or progress.unclaimed:
            return
        time.sleep(POLL_SECONDS)


def help_embedding(context: JobContext, *, until: float, worker: str) -> None:
    """Embed shards of the project until the time is up or none is left; does nothing else for it.

    Raises:
        JobError: the shards' space can't be computed on this machine.
    """
    project = context.project
    with context.store.database.read() as db:
        progress = shard_progress(db, project.id).get(project.id)
    if progress is None or not progress.unclaimed:
        return
    if not _is_wanted(project, progress.space, progress.role):
        return
    with context.step("open"):
        embedder = open_backbone(context.store, backbone_of(progress.space))
    loader = image_loader(context.store, project.connection_id, HostPlaces(LOADERS))
    try:
        if embedder.key != progress.space:
            raise JobError(
                f"this machine computes {embedder.key}, and the project needs {progress.space}: "
                "set APPRENTICE_PRECISION alike on all machines"
            )
        embedding = ShardEmbedding(
            context, embedder, loader, progress.role, until=until, worker=worker
        )
        with context.step("embed"):
            embedding.run()
        context.timings["images"] = embedding.done
    finally:
        loader.close()
        embedder.close()
