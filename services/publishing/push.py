"""Pushes publications to Label Studio, each prediction exactly once.

A chunk that was tried before is compared with what Label Studio holds; only the difference is sent.
"""

import time
from collections.abc import Sequence

import structlog
from sqlalchemy import Connection

from services.guests.stored_guests import StoredGuests
from services.job_context import TIME_BOX, JobContext
from services.publishing.duplicates import suspect_duplicates
from services.publishing.model_version import show_version
from services.publishing.rate_limit import has_half_its_time, low_priority_time
from store.predictions.deletions import delete_tasks
from store.predictions.pending_answers import mark_answered
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
    pending_publications,
    predicted_tasks,
    published_tasks,
    was_begun,
)
from store.projects.key_values import WEB_STARTED
from store.projects.projects import serve
from store.versions.versions import Version, get_version, mark_served
from store.work import pending_work
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.errors import StudioRejected
from studio.records.annotations import NewPrediction
from studio.regions import regions_from_json

# Predictions that are pushed one by one: the bulk import recounts all tasks of the project, which
# takes Label Studio 0.1 s with 400 and seconds with thousands; one prediction takes it 20 ms.
FEW = 10

# That the rest of a new version's shortlist waits, from when it is served. A label that is learned
# from in the meantime makes another version, and saves Label Studio the import.
REST_SECONDS = 3.0

log = structlog.get_logger()


def is_low_priority(publication: Publication) -> bool:
    """Whether a publication is pushed only while no other needs Label Studio's time."""
    return publication.reason in (PublicationReason.REFRESH, PublicationReason.APPLY)


def next_publication(
    db: Connection, project_id: int, share: float
) -> tuple[Publication | None, float]:
    """The publication to be pushed next, and the time (seconds since 1970) from which it may be.

    In their order, but what may wait comes after what needn't, and what has low priority last.
    """
    first, due = None, 0.0
    for publication in pending_publications(db, project_id):
        at = _due_time(db, publication, share)
        if first is None or (is_low_priority(publication), at) < (is_low_priority(first), due):
            first, due = publication, at
    return first, due


def _due_time(db: Connection, publication: Publication, share: float) -> float:
    if is_low_priority(publication):
        return low_priority_time(db, publication.project_id, share)
    if publication.reason is PublicationReason.REST:
        version = get_version(db, publication.version_id)
        return (version.published_at or 0.0) + REST_SECONDS if version else 0.0
    return 0.0


def _replaces_empty(publication: Publication) -> bool:
    return publication.reason in (PublicationReason.PENDING_ANSWER, PublicationReason.APPLY)


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
        items = list(chunk.items)
        again = publication.reason is PublicationReason.VERSION and self._was_pushed(
            publication, version
        )
        if again or chunk.attempts > 0 or _replaces_empty(publication):
            items = self._missing(items, version, replace_empty=_replaces_empty(publication))
        elif publication.reason is not PublicationReason.VERSION:
            items = self._not_answered(items, version)
        if self.guests is not None:
            items = self.guests.merge(items)
        new = {item.task for item in items}
        existing = [item for item in chunk.items if item.task not in new]
        try:
            items = self._send(items, version)
            seconds = self.studio.seconds_spent - spent

            def end(db: Connection) -> None:
                pending_work.check(db, self.context.lease)
                end_chunk(db, publication, chunk, seconds, sent=items, existing=existing)
                if chunk.attempts > 0:  # its first try may be under way still
                    suspect_duplicates(db, self.project.id)

            self.database.write(end)
        except pending_work.LeaseLostError:  # our successor may have pushed it at the same time
            self.database.write(lambda db: suspect_duplicates(db, self.project.id))
            raise

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
        predictions = [
            NewPrediction(i.task, tuple(regions_from_json(i.result)), i.score, version.name)
            for i in items
        ]
        together = [p for p in predictions if self.config.bulk(p.result)]
        alone = [p for p in predictions if not self.config.bulk(p.result)]  # it would be dropped
        if len(predictions) <= FEW:
            together = self._push_each(together)
        created = self.studio.import_predictions(self.project.ls_id, together)
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
        for prediction in predictions:
            try:
                self.studio.create_prediction(prediction)
            except StudioRejected:
                refused.append(prediction)
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
        tasks = {item.task for item in items}
        existing = [
            prediction
            for prediction in self.studio.predictions(project=self.project.ls_id)
            if prediction.model_version == version.name and prediction.task in tasks
        ]
        there = {prediction.task for prediction in existing}
        if replace_empty:
            for prediction in existing:
                if not prediction.result:
                    self.studio.delete_prediction(prediction.id)
                    there.discard(prediction.task)
        return [item for item in items if item.task not in there]

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
            if publication.reason is PublicationReason.PENDING_ANSWER:
                mark_answered(db, self.project.id, published_tasks(db, publication.id))

        self.database.write(write)
        self.context.announce()
        if publication.reason is PublicationReason.VERSION:
            log.info("serving", version=version.name)
