"""publish: carry what was decided to Label Studio, gently, and never twice.

A chunk that was tried before is compared with what Label Studio holds; only the difference is sent.
"""

import time
from collections.abc import Sequence

import structlog
from sqlalchemy import Connection

from services.connections.clients import studio_for
from services.connections.connect import is_our_version
from services.job_context import TIME_BOX, JobContext
from services.labels.multi_image import learned_of, unready
from services.publishing.auto_accept_writer import write_accepted
from services.publishing.prediction_cleanup import sweep_old_versions
from services.publishing.rate_limit import draw, leisure_at
from services.publishing.relabel_tab import offer_again
from services.suggestions.prediction_items import rest_items
from services.suggestions.predictor import Predictor
from services.suggestions.suggest import suggest
from store.predictions.deletions import delete_tasks
from store.predictions.pending_answers import mark_answered, tasks_with_pending_answer
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import (
    Chunk,
    PredictionItem,
    Publication,
    add_publication,
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
from store.tasks.tasks import get_tasks
from store.versions.versions import START, Version, get_version, mark_served
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.errors import StudioRejected
from studio.records.annotations import NewPrediction
from studio.regions import regions_from_json
from worker.jobs.runner import running

log = structlog.get_logger()


def run(project_id: int, generation: int) -> None:
    """Push what is pending, for at most a time box; then rest for our share of the time."""
    with running(WorkKind.PUBLISH, project_id, generation) as context:
        studio = studio_for(context.store, context.project.connection_id)
        try:
            _Publishing(context, studio).run()
        finally:
            studio.close()


def _can_wait(published: Publication) -> bool:
    return published.reason in (PublicationReason.REFRESH, PublicationReason.APPLY)


def _replaces_empty(published: Publication) -> bool:
    return published.reason in (PublicationReason.PENDING_ANSWER, PublicationReason.APPLY)


class _Publishing:
    def __init__(self, context: JobContext, studio: StudioClient) -> None:
        self.context = context
        self.store = context.store
        self.database = context.store.database
        self.project = context.project
        self.studio = studio
        self.config = parse_label_config(self.project.label_config)

    def run(self) -> None:
        self._publish_pending_answers()
        with self.context.step("push"):
            more = self._push_all()
        if not more and self._in_time():
            with self.context.step("accepted"):
                more = write_accepted(self.context, self.studio)
        if not more and self._in_time():
            with self.context.step("relabel"):
                offer_again(self.context, self.studio)
            with self.context.step("sweep"):
                more = sweep_old_versions(self.context, self.studio)
        self._rest(more)

    def _in_time(self) -> bool:
        return self.context.seconds < TIME_BOX

    def _rest(self, more: bool) -> None:
        """End the job; the next one, and the next version, wait until our share allows them."""
        spent, share = self.studio.seconds_spent, self.store.settings.studio_share

        def write(db: Connection) -> None:
            rested = draw(db, self.project.id, spent, share)
            pending_work.finish(db, self.context.lease, not_before=rested)
            pending_work.postpone(db, self.project.id, WorkKind.LEARN, rested)
            if more:
                leisure = leisure_at(db, self.project.id, share)
                only_refreshing = all(map(_can_wait, pending_publications(db, self.project.id)))
                until = max(rested, leisure) if only_refreshing else rested
                pending_work.want(db, self.project.id, WorkKind.PUBLISH, not_before=until)

        self.database.write(write)

    def _push_all(self) -> bool:
        """Push pending publications in order, refreshing last. Returns whether any is left."""
        while True:
            with self.database.read() as db:
                pending = pending_publications(db, self.project.id)
            if not pending:
                return False
            published = min(pending, key=lambda each: (_can_wait(each), each.id))
            if not self._push(published):
                return True

    def _push(self, published: Publication) -> bool:
        with self.database.read() as db:
            version = get_version(db, published.version_id)
        assert version is not None, "a publication refers to its version"
        while True:
            with self.database.read() as db:
                if is_superseded(db, published.id):
                    return True
                chunk = next_chunk(db, published.id)
            if chunk is None:
                break
            if not self._in_time() or (_can_wait(published) and not self._at_leisure()):
                return False
            self._push_chunk(published, version, chunk)
        self._complete(published, version)
        return True

    def _at_leisure(self) -> bool:
        """Whether refreshing delays nothing: one chunk at a time, while there is time to spare."""
        if self.studio.seconds_spent > 0.5:
            return False
        with self.database.read() as db:
            share = self.store.settings.studio_share
            return leisure_at(db, self.project.id, share) <= time.time()

    def _push_chunk(self, published: Publication, version: Version, chunk: Chunk) -> None:
        def begin(db: Connection) -> None:
            pending_work.check(db, self.context.lease)
            begin_chunk(db, chunk)

        self.database.write(begin)
        spent = self.studio.seconds_spent
        items = list(chunk.items)
        again = published.reason is PublicationReason.VERSION and self._was_pushed(
            published, version
        )
        if again or chunk.attempts > 0 or _replaces_empty(published):
            items = self._missing(items, version, replace_empty=_replaces_empty(published))
        elif published.reason is not PublicationReason.VERSION:
            items = self._not_answered(items, version)
        new = {item.task for item in items}
        existing = [item for item in chunk.items if item.task not in new]
        try:
            self._import(items, version)
        except StudioRejected as error:
            log.info("push refused; looking for deleted tasks", error=str(error))
            items = self._still_there(items)
            self._import(items, version)
        seconds = self.studio.seconds_spent - spent
        self.database.write(
            lambda db: end_chunk(db, published, chunk, seconds, sent=items, existing=existing)
        )

    def _was_pushed(self, published: Publication, version: Version) -> bool:
        """Whether Label Studio may hold predictions of it: another publication was begun."""
        with self.database.read() as db:
            begun = was_begun(db, version.id, published.id)
        return begun or version.published_at is not None

    def _import(self, items: Sequence[PredictionItem], version: Version) -> None:
        predictions = [
            NewPrediction(i.task, tuple(regions_from_json(i.result)), i.score, version.name)
            for i in items
        ]
        # What the bulk import would drop goes one by one, which takes longer.
        together = [p for p in predictions if self.config.bulk(p.result)]
        created = self.studio.import_predictions(self.project.ls_id, together)
        for prediction in predictions:
            if not self.config.bulk(prediction.result):
                self.studio.create_prediction(prediction)
                created += 1
        if created != len(items):
            log.warning(
                "Label Studio dropped predictions without a word: does the label config match?",
                sent=len(items),
                created=created,
            )

    def _not_answered(
        self, items: Sequence[PredictionItem], version: Version
    ) -> list[PredictionItem]:
        """Those that /predict has not answered for meanwhile.

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
        """Those that Label Studio does not hold yet under this version."""
        tasks = {item.task for item in items}
        held = [
            prediction
            for prediction in self.studio.predictions(project=self.project.ls_id)
            if prediction.model_version == version.name and prediction.task in tasks
        ]
        there = {prediction.task for prediction in held}
        if replace_empty:
            for prediction in held:
                if not prediction.result:
                    self.studio.delete_prediction(prediction.id)
                    there.discard(prediction.task)
        return [item for item in items if item.task not in there]

    def _still_there(self, items: Sequence[PredictionItem]) -> list[PredictionItem]:
        there = set(self.studio.task_ids(self.project.ls_id))
        gone = {item.task for item in items} - there
        self.database.write(lambda db: delete_tasks(db, self.project.id, gone))
        return [item for item in items if item.task in there]

    def _complete(self, published: Publication, version: Version) -> None:
        self.context.check()
        if published.reason is PublicationReason.VERSION:
            self._show(version)

        def write(db: Connection) -> None:
            pending_work.check(db, self.context.lease)
            end_publication(db, published.id)
            if published.reason is PublicationReason.VERSION and serve(
                db, self.project.id, version.id, published.id
            ):
                mark_served(db, version)
            if published.reason is PublicationReason.PENDING_ANSWER:
                mark_answered(db, self.project.id, published_tasks(db, published.id))

        self.database.write(write)
        if published.reason is PublicationReason.VERSION:
            log.info("serving", version=version.name)

    def _show(self, version: Version) -> None:
        """Have Label Studio show this version, unless the admin chose one that isn't ours."""
        shown = self.studio.get_project(self.project.ls_id).model_version
        if shown == version.name:
            return
        if shown and not is_our_version(shown) and shown not in self._titles():
            log.info("the project shows another model on its admin's wish", model_version=shown)
            return
        try:
            self.studio.patch_project(self.project.ls_id, model_version=version.name)
        except StudioRejected as error:  # nothing was left to push: it has no prediction
            log.info("project keeps its model version", error=str(error))

    def _titles(self) -> set[str]:
        backends = self.studio.backends(self.project.ls_id)
        return {backend.title for backend in backends if backend.id == self.project.backend_id}

    def _publish_pending_answers(self) -> None:
        """Turn tasks that got an empty answer into a publication, once they can be answered."""
        with self.database.read() as db:
            owed = tasks_with_pending_answer(db, self.project.id)
            if not owed or any(
                p.reason is PublicationReason.PENDING_ANSWER
                for p in pending_publications(db, self.project.id)
            ):
                return
            served_id = self.project.served_version_id
            version = get_version(db, served_id) if served_id else None
            images = list(get_tasks(db, self.project.id, owed).values())
        if version is None or version.kind == START:
            return
        predictor = Predictor.load(self.store, version)
        hopeless = owed - {image.ls_id for image in images if image.usable}
        images.sort(key=lambda image: (image.ls_id, image.item))
        tasks = learned_of(images, self.config)
        waiting = unready(tasks, version.embedding_space)
        ready = [task for task in tasks if task.usable and task.ls_id not in waiting]
        answers = suggest(self.store, self.project, ready, predictor, self.config)
        items = rest_items(list(answers), answers)

        def write(db: Connection) -> None:
            mark_answered(db, self.project.id, hopeless)
            if items:
                add_publication(
                    db, self.project.id, version.id, PublicationReason.PENDING_ANSWER, items
                )

        self.database.write(write)
