"""The job sync: reads changes and deletions from Label Studio, which is the truth."""

import time

import structlog
from sqlalchemy import Connection

from services.connections.probe import check_arrival
from services.connections.reach import REACH, RECHECK, read_connectivity
from services.connections.repair import repair
from services.finetuning.cleanup import delete_unused_backbones
from services.guests.project_guests import guests_serve
from services.job_context import TIME_BOX, JobContext
from services.publishing.rate_limit import draw_polling
from services.sync.changed_tasks import OVERLAP, POSITION, ChangedTasks
from services.sync.confirmation import is_confirmed
from services.sync.watched import request_changes, wants_only_changes, whole_sync_seconds
from store.predictions.deletions import delete_tasks
from store.projects.embedding_spaces import move_is_due
from store.projects.key_values import REPAIR
from store.projects.projects import change_project, save_project
from store.projects.unconfirmed import forget
from store.tasks.tasks import task_ids
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient
from studio.config import LabelConfig, parse_label_config
from studio.errors import StudioNotFound
from studio.records.projects import ProjectInfo
from worker.jobs.runner import running

log = structlog.get_logger()

MANY = 200  # unknown tasks: more than were made while we read
LIST_SECONDS = 3_600.0  # between comparisons of all ids, when the counts agree


def run(project_id: int, generation: int) -> None:
    """Bring the store in line with Label Studio, for at most a time box; then hand over."""
    with running(WorkKind.SYNC, project_id, generation) as context:
        studio = context.open_studio()
        try:
            _Sync(context, studio).run()
        finally:
            studio.close()


class _Sync:
    def __init__(self, context: JobContext, studio: StudioClient) -> None:
        self.context = context
        self.store = context.store
        self.database = context.store.database
        self.project = context.project
        self.studio = studio

    def run(self) -> None:
        if self._only_changes() and self._run_changes():
            return
        try:
            info = self.studio.get_project(self.project.ls_id)
        except StudioNotFound:
            self._gone("deleted in Label Studio")
            return
        if int(info.created_at.timestamp()) != self.project.ls_created:
            self._gone("its id belongs to another project now")
            return
        if not is_confirmed(self.context, self.studio):
            return
        self._repair()
        config, cursor = self._configure(info)
        changed = ChangedTasks(self.context, self.studio, cursor)
        with self.context.step("read"):
            complete = changed.read(config)
        if complete:
            with self.context.step("ids"):
                complete = self._deleted_tasks(info.tasks)
        if changed.changes.untold and cursor is not None:
            check_arrival(self.store, self.studio, self.project)
        if complete and self.context.seconds < TIME_BOX:
            with self.context.step("clear"):
                delete_unused_backbones(self.context)
        self._finish(complete, fresh=changed.changes.fresh)

    # Where changes are polled

    def _only_changes(self) -> bool:
        """Whether the poller alone asked, and everything else was looked at not long ago."""
        now, project_id = time.time(), self.project.id
        with self.database.read() as db:
            found = read_connectivity(db, project_id, now)
            wanted = any(key.of(project_id).get(db) is not None for key in (REPAIR, RECHECK))
            is_under_way = POSITION.of(project_id).get(db) is not None
            alone = wants_only_changes(db, self.context.lease)
            longest = whole_sync_seconds(db, project_id, self.store.settings, now)
        return (
            found is not None
            and found.mode.polls
            and alone
            and not wanted
            and not is_under_way
            and self.project.tasks_cursor is not None
            and now - (self.project.reconciled_at or 0.0) < longest
        )

    def _run_changes(self) -> bool:
        """Read what has changed, mostly by one request. Returns whether that was possible."""
        config = parse_label_config(self.project.label_config)
        changed = ChangedTasks(self.context, self.studio, self.project.tasks_cursor)
        try:
            with self.context.step("read"):
                complete = changed.read(config)
        except StudioNotFound:
            return False
        assert changed.latest is not None, "no pass was under way"
        if complete:
            with self.context.step("ids"):
                complete = self._deleted_tasks(changed.latest.tasks)
        self._finish(complete, fresh=changed.changes.fresh, polled=True)
        return True

    # Everything else

    def _gone(self, reason: str) -> None:
        log.info("project is gone", project=self.project.ls_id, reason=reason)

        def write(db: Connection) -> None:
            gone_at = self.project.gone_at or time.time()
            change_project(db, self.project.id, gone_at=gone_at, reason=reason)
            pending_work.finish(db, self.context.lease)
            forget(db, self.project)

        self.database.write(write)

    def _repair(self) -> None:
        project_id = self.project.id
        with self.database.read() as db:
            is_checked = REACH.of(project_id).get(db) is not None
            wanted = any(key.of(project_id).get(db) is not None for key in (REPAIR, RECHECK))
        if wanted or not is_checked:
            with self.context.step("repair"):
                repair(self.store, self.studio, self.project, self.store.settings.url)

    def _configure(self, info: ProjectInfo) -> tuple[LabelConfig, float | None]:
        """Take over the label config; return it, and from when on changes are to be read."""
        config = parse_label_config(info.label_config)
        changed = info.label_config != self.project.label_config
        is_news = changed or info.title != self.project.title
        has_guests = guests_serve(self.store.settings, info.label_config)
        reason = None if has_guests else config.reason

        def write(db: Connection) -> None:
            save_project(
                db,
                self.project.connection_id,
                self.project.ls_id,
                self.project.ls_created,
                title=info.title,
                label_config=info.label_config,
            )
            if reason is not None:
                change_project(db, self.project.id, reason=reason)
            if changed:  # the image may be another field, the labels may read differently
                change_project(db, self.project.id, tasks_cursor=None)
                POSITION.of(self.project.id).delete(db)
                pending_work.want(db, self.project.id, WorkKind.LEARN)

        if is_news or reason != self.project.reason:
            self.database.write(write)
        return config, None if changed else self.project.tasks_cursor

    def _deleted_tasks(self, count: int) -> bool:
        """Compare the ids of all tasks, when the counts differ or the last time is long ago.

        Returns:
            False when Label Studio has tasks that a pass over the changed ones did not show.
        """
        with self.database.read() as db:
            known = task_ids(db, self.project.id)
        now = time.time()
        if len(known) == count and now - (self.project.listed_at or 0.0) < LIST_SECONDS:
            return True
        there = set(self.studio.task_ids(self.project.ls_id))
        unknown = there - known  # mostly made while we read: the next pass finds them

        def write(db: Connection) -> None:
            pending_work.check(db, self.context.lease)
            gone = delete_tasks(db, self.project.id, known - there)
            change_project(db, self.project.id, listed_at=now)
            if gone:
                pending_work.want(db, self.project.id, WorkKind.LEARN)
            if len(unknown) > MANY:
                change_project(db, self.project.id, tasks_cursor=None)

        self.database.write(write)
        return not unknown

    def _finish(self, complete: bool, *, fresh: bool, polled: bool = False) -> None:
        """End the job. `polled`: it read changes alone, and counts to our share of the time."""
        settings = self.store.settings
        moving = not polled and move_is_due(self.project, settings.backbone)

        def write(db: Connection) -> None:
            pending_work.finish(db, self.context.lease)
            if moving:
                pending_work.want(db, self.project.id, WorkKind.EMBED)
            if polled:
                draw_polling(db, self.project.id, self.studio.seconds_spent, settings.studio_share)
            elif complete:
                change_project(db, self.project.id, reconciled_at=time.time())
            if fresh:
                request_changes(db, self.project.id, not_before=time.time() + OVERLAP)
            elif not complete and polled:
                request_changes(db, self.project.id)
            elif not complete:
                pending_work.want(db, self.project.id, WorkKind.SYNC)

        self.database.write(write)
