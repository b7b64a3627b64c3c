"""Pushes publications to Label Studio, each prediction exactly once.

A chunk that was tried before is compared with what Label Studio holds; only the difference is sent.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from services.guests.stored_guests import StoredGuests
from services.job_context import TIME_BOX, JobContext
from services.publishing.duplicates import suspect_duplicates
from services.publishing.model_version import show_version
from services.publishing.push_costs import PUSH_COSTS, PushCosts
from services.publishing.push_order import is_low_priority, next_publication
from services.publishing.rate_limit import has_half_its_time
from services.suggestions.queue_order import is_listed
from store.predictions.deletions import delete_tasks
from store.predictions.pending_answers import add_pending_answers, mark_answered
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import (
    Chunk,
    PredictionItem,
    Publication,
    begin_chunk,
    end_chunk,
    end_publication,
    is_superseded,
    next_chunk,
    predicted_tasks,
    was_begun,
)
from store.projects.key_values import WEB_STARTED
from store.projects.projects import serve
from store.tasks.units import TaskId
from store.versions.versions import Version, get_version, mark_served
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.errors import StudioNotFound, StudioRejected
from studio.records.annotations import NewPrediction, PredictionInfo
from studio.regions import regions_from_json

log = structlog.get_logger()


class Pusher:
    """Pushes the pending publications of one project, for at most a time box."""

    def __init__(self, context: JobContext, studio: StudioClient) -> None:
        self.context = context
        self.store = context.store
        self.database = context.store.database
        self.project = context.project
        self.studio = studio
        self.config = parse_label_config(self.project.label_config)
        self.guests = StoredGuests.open(self.store, self.project)
        self.waits_for_guests = False
        with self.database.read() as db:
            self.costs = PUSH_COSTS.of(self.project.id).get(db) or PushCosts()

    def push_all(self) -> bool:
        """Push pending publications in order, refreshing last. Returns whether any is left."""
        share = self.store.settings.studio_share
        while True:
            with self.database.read() as db:
                publication, due = next_publication(db, self.project.id, share)
            if publication is None:
                return False
            if due > time.time() or not self._push(publication):
                return True

    def _push(self, publication: Publication) -> bool:
        with self.database.read() as db:
            version = get_version(db, publication.version_id)
        assert version is not None, "a publication refers to its version"
        while True:
            with self.database.read() as db:
                if is_superseded(db, publication.id):
                    return True
                chunk = next_chunk(db, publication.id)
            if chunk is None:
                break
            if self.context.seconds >= TIME_BOX or (
                is_low_priority(publication) and not self._may_push_low_priority()
            ):
                return False
            if self.guests is not None and self.guests.await_answers(chunk, publication):
                self.waits_for_guests = True
                return False
            self._push_chunk(publication, version, chunk)
        self._complete(publication, version)
        return True

    def _may_push_low_priority(self) -> bool:
        """Whether a low-priority chunk may be pushed: one a job, if the bucket is full enough."""
        if self.studio.seconds_spent > 0.5:
            return False
        with self.database.read() as db:
            return has_half_its_time(db, self.project.id, self.store.settings.studio_share)

    def _push_chunk(self, publication: Publication, version: Version, chunk: Chunk) -> None:
        def begin(db: Connection) -> None:
            pending_work.check(db, self.context.lease)
            begin_chunk(db, chunk)

        self.database.write(begin)
        spent = self.studio.seconds_spent
        merged, lacking = list(chunk.items), set[TaskId]()
        if self.guests is not None:
            merged, lacking = self.guests.merge(merged)
        items, updated = self._to_send(publication, chunk, merged, version)
        new = {item.task for item in [*items, *updated]}
        existing = [item for item in merged if item.task not in new]
        try:
            sent = [*self._send(items, version), *updated]
            seconds = self.studio.seconds_spent - spent

            def end(db: Connection) -> None:
                pending_work.check(db, self.context.lease)
                end_chunk(db, publication, chunk, seconds, sent=sent, existing=existing)
                PUSH_COSTS.of(self.project.id).set(db, self.costs)
                if chunk.attempts > 0:  # its first try may be under way still
                    suspect_duplicates(db, self.project.id)
                if publication.reason is PublicationReason.PENDING_ANSWER:
                    mark_answered(db, self.project.id, [item.task for item in merged])
                self._complete_later(db, lacking & {item.task for item in sent})

            self.database.write(end)
        except pending_work.LeaseLostError:  # our successor may have pushed it at the same time
            self.database.write(lambda db: suspect_duplicates(db, self.project.id))
            raise

    def _to_send(
        self,
        publication: Publication,
        chunk: Chunk,
        items: list[PredictionItem],
        version: Version,
    ) -> tuple[list[PredictionItem], list[PredictionItem]]:
        """The items that Label Studio lacks, and those with which its own were updated just now."""
        reason = publication.reason
        if reason is PublicationReason.PENDING_ANSWER:
            return self._update(items, version)
        again = reason is PublicationReason.VERSION and self._was_pushed(publication, version)
        applies = reason is PublicationReason.APPLY
        if again or applies or chunk.attempts > 0:
            return self._missing(items, version, replace_empty=applies), []
        if reason is not PublicationReason.VERSION:
            return self._not_answered(items, version), []
        return items, []

    def _complete_later(self, db: Connection, lacking: set[TaskId]) -> None:
        """Have the predictions of tasks completed once the guests have answered them."""
        if lacking:
            add_pending_answers(db, self.project.id, lacking)
            pending_work.want(db, self.project.id, WorkKind.PREDICT)

    def _send(self, items: list[PredictionItem], version: Version) -> list[PredictionItem]:
        """Push the items of tasks that are still there. Returns them."""
        try:
            self._import(items, version)
        except StudioRejected as error:
            log.info("push refused; looking for deleted tasks", error=str(error))
            items = self._still_there(items)
            # Of those that go one by one, some may have gone.
            self._import(self._missing(items, version, replace_empty=False), version)
        return items

    def _was_pushed(self, publication: Publication, version: Version) -> bool:
        """Whether Label Studio may hold predictions of the version from another publication."""
        with self.database.read() as db:
            begun = was_begun(db, version.id, publication.id)
        return begun or version.published_at is not None

    def _import(self, items: Sequence[PredictionItem], version: Version) -> None:
        predictions = [_prediction(item, version) for item in items]
        together = [p for p in predictions if self.config.bulk(p.result)]
        alone = [p for p in predictions if not self.config.bulk(p.result)]  # it would be dropped
        if self.costs.are_single(len(together)):
            together = self._push_each(together)
        before = self.studio.seconds_spent
        created = self.studio.import_predictions(self.project.ls_id, together)
        if together:
            self.costs = self.costs.after(bulk=self.studio.seconds_spent - before)
        for prediction in alone:
            self.studio.create_prediction(prediction)
        if created != len(together):
            log.warning(
                "Label Studio dropped predictions without a word: does the label config match?",
                sent=len(together),
                created=created,
            )

    def _push_each(self, predictions: Sequence[NewPrediction]) -> list[NewPrediction]:
        """Push one by one. Returns those that are refused: the bulk import drops some of them."""
        refused: list[NewPrediction] = []
        seconds: list[float] = []
        for prediction in predictions:
            before = self.studio.seconds_spent
            try:
                self.studio.create_prediction(prediction)
                seconds.append(self.studio.seconds_spent - before)
            except StudioRejected:
                refused.append(prediction)
        self.costs = self.costs.after(singles=seconds)
        return refused

    def _not_answered(
        self, items: Sequence[PredictionItem], version: Version
    ) -> list[PredictionItem]:
        """The items without an answer of /predict in the meantime.

        Our own records say so, unless the web process was started since and may have taken some of
        them with it when it ended: asking Label Studio takes a second in a project of thousands.
        """
        with self.database.read() as db:
            started = WEB_STARTED.get(db)
            given = predicted_tasks(db, self.project.id, version.id)
        if started is None or version.published_at is None or started > version.published_at:
            return self._missing(items, version, replace_empty=False)
        return [item for item in items if item.task not in given]

    def _missing(
        self, items: Sequence[PredictionItem], version: Version, *, replace_empty: bool
    ) -> list[PredictionItem]:
        """The items that Label Studio does not hold yet under this version."""
        existing = self._standing(items, version)
        there = {prediction.task for prediction in existing}
        if replace_empty:
            for prediction in existing:
                if not prediction.result:
                    self.studio.delete_prediction(prediction.id)
                    there.discard(prediction.task)
        return [item for item in items if item.task not in there]

    def _update(
        self, items: Sequence[PredictionItem], version: Version
    ) -> tuple[list[PredictionItem], list[PredictionItem]]:
        """Update what Label Studio holds of the items, in place. A place in the queue is kept.

        Returns:
            The items that it doesn't hold, and those as it holds them now.
        """
        standing = self._standing(items, version)
        by_task = {item.task: item for item in items}
        updated: dict[TaskId, PredictionItem] = {}
        for each in standing:
            item = by_task[TaskId(each.task)]
            if each.score is not None and is_listed(each.score):
                item = replace(item, score=each.score)
            try:
                self.studio.update_prediction(each.id, _prediction(item, version))
            except (StudioNotFound, StudioRejected) as error:
                log.warning("prediction not updated", task=item.task, error=str(error))
            else:
                updated[item.task] = item
        there = {each.task for each in standing}
        return [item for item in items if item.task not in there], list(updated.values())

    def _standing(self, items: Sequence[PredictionItem], version: Version) -> list[PredictionInfo]:
        """What Label Studio holds for the items' tasks under this version."""
        tasks = {item.task for item in items}
        return [
            prediction
            for prediction in self.studio.predictions(project=self.project.ls_id)
            if prediction.model_version == version.name and prediction.task in tasks
        ]

    def _still_there(self, items: Sequence[PredictionItem]) -> list[PredictionItem]:
        there = set(self.studio.task_ids(self.project.ls_id))
        gone = {item.task for item in items} - there
        self.database.write(lambda db: delete_tasks(db, self.project.id, gone))
        return [item for item in items if item.task in there]

    def _complete(self, publication: Publication, version: Version) -> None:
        self.context.check()
        if publication.reason is PublicationReason.VERSION:
            show_version(self.studio, self.project, version.name)

        def write(db: Connection) -> None:
            pending_work.check(db, self.context.lease)
            end_publication(db, publication.id)
            if publication.reason is PublicationReason.VERSION and serve(
                db, self.project.id, version.id, publication.id
            ):
                mark_served(db, version)

        self.database.write(write)
        self.context.announce()
        if publication.reason is PublicationReason.VERSION:
            log.info("serving", version=version.name)


def _prediction(item: PredictionItem, version: Version) -> NewPrediction:
    regions = tuple(regions_from_json(item.result))
    return NewPrediction(item.task, regions, item.score, version.name)
