"""Reads a project's changed tasks, with their annotations, from Label Studio into the store."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection

from services.connections.aliases import AliasFinder
from services.job_context import TIME_BOX, JobContext
from services.sync.records import annotation_record, task_record
from services.sync.unreadable import note_unreadable
from store.projects.key_values import Key, dataclass_key
from store.projects.projects import change_project
from store.tasks.annotations import delete_annotations, save_annotations, task_annotations
from store.tasks.embedding_queue import any_to_embed
from store.tasks.tasks import save_tasks
from store.tasks.units import TaskId
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient
from studio.config import LabelConfig
from studio.records.base import MalformedCount
from studio.records.tasks import AnnotatedTaskInfo, LatestChange

log = structlog.get_logger()

OVERLAP = 10.0  # seconds read again: transactions may commit out of order, webhooks come before
TOLD_SECONDS = 5.0  # after which a webhook would have told of an annotation
BATCH = 50  # tasks written at a time: webhooks wait no longer than that
# Tasks in the first request, which asks for those that changed last and for the counts: a few more
# than one annotator changes within OVERLAP. Each costs Label Studio a millisecond.
NEWEST = 8


@dataclass
class Changes:
    """The changes that a pass has read."""

    tasks: int = 0
    annotations: int = 0
    untold: int = 0  # annotations so old that a webhook would have told them
    fresh: bool = False  # something looked deleted, but is too new to be sure


@dataclass
class Position:
    """Where a pass over the changed tasks stands; kept between the jobs that share it."""

    since: float | None
    mark: float | None  # the newest change when the pass began: the next pass starts there
    after: int = 0
    changes: dict[str, int] = field(default_factory=dict)


POSITION = dataclass_key("sync", Position)


class ChangedTasks:
    """One pass over the tasks that changed since the last one.

    Args:
        cursor: time of the newest change that was read before, None to read all tasks.
    """

    def __init__(self, context: JobContext, studio: StudioClient, cursor: float | None) -> None:
        self.changes = Changes()
        self.latest: LatestChange | None = None  # as the pass began, if it began with this job
        self._context = context
        self._database = context.store.database
        self._project = context.project
        self._studio = studio
        self._cursor = cursor
        self._aliases = AliasFinder(context.store, studio, context.project.connection_id)

    def read(self, config: LabelConfig) -> bool:
        """Read changed tasks until none is left, or the time box is used up.

        Returns:
            Whether the pass is complete.
        """
        with self._database.read() as db:
            position = self._position_key.get(db)
        asked_at = time.time()
        if position is None:
            position, newest = self._begin()
            if newest is not None:
                if newest:
                    self._save(config, newest, position, asked_at)
                return self._end(position)
            asked_at = time.time()
        since = None if position.since is None else datetime.fromtimestamp(position.since, UTC)
        changed = self._studio.changed_tasks(self._project.ls_id, since, after=position.after)
        for batch in _batches(changed):
            position.after = batch[-1].id
            self._save(config, batch, position, asked_at)
            if self._context.seconds > TIME_BOX:
                return False
            asked_at = time.time()
        return self._end(position)

    def _begin(self) -> tuple[Position, list[AnnotatedTaskInfo] | None]:
        """Where a new pass begins, and all that it has to read, if one request has brought that."""
        recent = self._studio.recent_changes(self._project.ls_id, NEWEST)
        self.latest, since = recent.latest, None
        if self._cursor is not None:
            since = self._cursor - OVERLAP
        position = Position(
            since, None if recent.latest.at is None else recent.latest.at.timestamp()
        )
        times = [
            None if task.updated_at is None else task.updated_at.timestamp()
            for task in recent.tasks
        ]
        reaches_back = since is not None and any(at is not None and at <= since for at in times)
        if not (recent.is_all or reaches_back):
            return position, None
        newer = [
            task
            for task, at in zip(recent.tasks, times, strict=True)
            if since is None or at is None or at > since
        ]
        return position, newer

    def _end(self, position: Position) -> bool:
        def end(db: Connection) -> None:
            self._position_key.delete(db)
            if position.mark is not None and not self.changes.fresh:
                change_project(db, self._project.id, tasks_cursor=position.mark)

        self._database.write(end)
        return True

    @property
    def _position_key(self) -> Key[Position]:
        return POSITION.of(self._project.id)

    def _save(
        self,
        config: LabelConfig,
        batch: list[AnnotatedTaskInfo],
        position: Position,
        asked_at: float,
    ) -> None:
        tasks = [task_record(config, task) for task in batch]
        images = ((task.ls_id, uri) for task in tasks for uri in task.uris if uri)
        for alias in self._aliases.look(images):
            log.info("tasks name their Label Studio by another address", address=alias)
        annotations = [annotation_record(a) for task in batch for a in task.annotations]
        sure_before = asked_at - OVERLAP
        told_before = asked_at - TOLD_SECONDS
        old = [record for record in annotations if record.updated_at < told_before]
        new = [record for record in annotations if record.updated_at >= told_before]
        malformed = [entry for task in batch for entry in task.malformed]
        if malformed:
            count = MalformedCount.of(malformed)
            log.warning("malformed annotations", count=count.total, reasons=str(count))
        seen = {a.ls_id for a in annotations}.union(entry.id for entry in malformed)
        unreadable = {TaskId(task.id): task.malformed[0].reason for task in batch if task.malformed}

        def write(db: Connection) -> None:
            pending_work.check(db, self._context.lease)
            self.changes.tasks += save_tasks(db, self._project.id, tasks)
            untold = save_annotations(db, self._project.id, old)
            self.changes.untold += untold
            self.changes.annotations += untold + save_annotations(db, self._project.id, new)
            known = task_annotations(db, self._project.id, [TaskId(task.id) for task in batch])
            missing = {ls_id: at for ls_id, at in known.items() if ls_id not in seen}
            # A webhook can come before its transaction is committed: what is that new may be there.
            sure = [ls_id for ls_id, at in missing.items() if at < sure_before]
            self.changes.fresh = self.changes.fresh or len(sure) < len(missing)
            self.changes.annotations += delete_annotations(db, self._project.id, sure)
            note_unreadable(db, self._project.id, [task.ls_id for task in tasks], unreadable)
            self._position_key.set(db, position)
            self._want(db)
            self._context.note_progress(db, 0.5, f"read up to task {batch[-1].id}")

        self._database.write(write)

    def _want(self, db: Connection) -> None:
        if self.changes.annotations:
            pending_work.want(db, self._project.id, WorkKind.LEARN)
        if self.changes.tasks and self._context.store.settings.guests:
            pending_work.want(db, self._project.id, WorkKind.PREDICT)
        space = self._project.embedding_space or ""
        if self.changes.tasks or any_to_embed(db, self._project.id, space):
            pending_work.want(db, self._project.id, WorkKind.EMBED)
        self.changes.tasks = self.changes.annotations = 0


def _batches(tasks: Iterator[AnnotatedTaskInfo]) -> Iterator[list[AnnotatedTaskInfo]]:
    batch: list[AnnotatedTaskInfo] = []
    for task in tasks:
        batch.append(task)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
