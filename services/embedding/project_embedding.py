"""Embeds a project's images: labelled ones first, then the shortlist, then the rest in mixed order.

A project that moves to another backbone gets its images embedded a second time, after what is new
in the space that is in use: until the move ends, nothing is served from the new one.
"""

import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Connection

from model.embedding import Embedder
from services.connections.clients import image_loader
from services.embedding.backbones import BackboneError, open_backbone
from services.embedding.bulk_embedding import LOADERS, BulkEmbedding
from services.embedding.shard_embedding import ShardEmbedding, plan, wait_for_helpers
from services.embedding.similar_images import update_index
from services.job_context import JobContext
from store.predictions.shortlists import get_shortlist
from store.projects.embedding_spaces import (
    adopt_space,
    backbone_of,
    base_backbone,
    begin_move,
    cancel_move,
    fail_move,
    is_tuned,
    move_is_due,
    move_is_ready,
    pretrained_space,
    wanted_backbone,
)
from store.projects.key_values import EMBEDDING_SPACE
from store.tasks.annotations import annotated_tasks
from store.tasks.embedding_queue import any_to_embed, next_retry
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import Task, get_tasks
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.images.loader import HostPlaces, ImageLoader

log = structlog.get_logger()

TIME_BOX = 30.0  # seconds; a fresh process opens the backbone anew, so not as short as others
URGENT_SECONDS = 5.0  # between two looks for new labels, while shards are embedded
LEAST_SECONDS = 10.0  # for images, however long opening took: or a slow machine never embeds any


class ProjectEmbedding:
    """One embedding job of a project."""

    def __init__(self, context: JobContext, worker: str = "") -> None:
        self.context = context
        self.worker = worker  # its name
        self.store = context.store
        self.database = context.store.database
        self.default = context.store.settings.backbone
        self.current_is_usable = True
        self.done = 0

    def run(self) -> None:
        """Embed for at most a time box; then request the next job while images are left."""
        self._update_move()
        self._fill_current()
        if self.context.seconds < TIME_BOX:
            self._fill_next()
        if self.context.seconds < TIME_BOX:
            self._fill_base()
        self.context.timings["images"] = self.done
        self._finish()

    def _update_move(self) -> None:
        """Begin or cancel a move to another pretrained backbone."""
        project = self.context.project
        if not move_is_due(project, self.default):
            return
        wanted = wanted_backbone(project, self.default)
        following = project.next_backbone or ""

        def write(db: Connection) -> None:
            if is_tuned(following):  # it couldn't be opened; another try
                begin_move(db, project.id, following)
            elif base_backbone(project) == wanted:
                cancel_move(db, project.id)
            else:
                begin_move(db, project.id, wanted)

        self._change(write)

    def _fill_current(self) -> None:
        """Embed new images in the space in use, or in the project's first space."""
        project = self.context.project
        space = project.embedding_space
        if space is not None and not self._any_to_embed(space):
            return
        backbone = backbone_of(space) if space else wanted_backbone(project, self.default)
        try:
            embedder = self._open(backbone)
        except BackboneError as error:
            if project.next_backbone is None:
                raise
            log.warning("the backbone in use is lost; the next one takes over", error=str(error))
            self.current_is_usable = False
            return
        try:
            self._adopt(backbone, embedder.key)
            if self.current_is_usable:
                self._embed(embedder, SpaceRole.IN_USE)
        finally:
            embedder.close()

    def _adopt(self, backbone: str, space: str) -> None:
        project = self.context.project
        space_in_use = project.embedding_space
        self.current_is_usable = space_in_use in (None, space)

        def write(db: Connection) -> None:
            if backbone == self.default and EMBEDDING_SPACE.get(db) != space:
                EMBEDDING_SPACE.set(db, space)
            if space_in_use is None:
                adopt_space(db, project.id, backbone, space)
            elif not self.current_is_usable and project.next_backbone is None:
                begin_move(db, project.id, backbone, space)  # computed in another precision now

        self._change(write)

    def _fill_next(self) -> None:
        """Embed all images in the space that the project moves to."""
        project = self.context.project
        backbone = project.next_backbone
        if backbone is None or project.next_error is not None or self._is_ready():
            return
        try:
            embedder = self._open(backbone)
        except BackboneError as failure:
            reason = str(failure)
            log.warning("the next backbone can't be used", error=reason)
            self._change(lambda db: fail_move(db, project.id, reason))
            return
        try:
            space = embedder.key
            if space == project.embedding_space:
                self._change(lambda db: cancel_move(db, project.id))
                return
            if space != project.next_space:
                self._change(lambda db: begin_move(db, project.id, backbone, space))
            self._embed(embedder, SpaceRole.NEXT)
        finally:
            embedder.close()

    def _fill_base(self) -> None:
        """Embed labelled and shortlisted images with the pretrained backbone of a fine-tuned one.

        Only features that have not seen the labels can tell which of these are doubtful, and which
        images are nearly the same.
        """
        project = self.context.project
        space, base = project.embedding_space, base_backbone(project)
        if space is None or base is None or not is_tuned(backbone_of(space)):
            return
        with self.database.read() as db:
            base_space = pretrained_space(db, project.id, space, base)
            wanted = annotated_tasks(db, project.id) | set(get_shortlist(db, project.id))
            tasks = get_tasks(db, project.id, wanted).values()
        here = [task for task in tasks if task.image_key and task.embedded_space == space]
        there = self.store.embeddings.get(base_space, [str(task.image_key) for task in here])
        missing = [task for task in here if task.image_key not in there]
        if not missing:
            return
        try:
            embedder = self._open(base)
        except BackboneError as error:
            log.warning("the pretrained backbone can't be used any more", error=str(error))
            return
        try:
            if embedder.key == base_space:
                self._embed(embedder, SpaceRole.ASIDE, only=missing)
        finally:
            embedder.close()

    def _open(self, backbone: str) -> Embedder:
        with self.context.step("open"):
            return open_backbone(self.store, backbone)

    def _embed(
        self, embedder: Embedder, role: SpaceRole, *, only: Sequence[Task] | None = None
    ) -> None:
        until = max(TIME_BOX, self.context.seconds + LEAST_SECONDS)
        loader = image_loader(self.store, self.context.project.connection_id, HostPlaces(LOADERS))
        try:
            with self.context.step("embed"):
                if only is None:
                    self._embed_shards(embedder, loader, role, until)
                embedding = BulkEmbedding(
                    self.context, embedder, loader, role, until=until, only=only
                )
                embedding.run()
        finally:
            loader.close()
        if role is not SpaceRole.ASIDE:  # what is only kept teaches nothing new
            self.done += embedding.done - embedding.failed

    def _embed_shards(
        self, embedder: Embedder, loader: ImageLoader, role: SpaceRole, until: float
    ) -> None:
        """Share a large project's images with other workers, the most urgent images first."""
        while self.context.seconds < until:
            progress = plan(self.context, embedder.key, role)
            if progress is None:
                return
            urgent = BulkEmbedding(
                self.context, embedder, loader, role, until=until, only_urgent=True
            )
            urgent.run()
            shards = ShardEmbedding(
                self.context,
                embedder,
                loader,
                role,
                until=min(until, self.context.seconds + URGENT_SECONDS),
                worker=self.worker,
            )
            shards.run()
            if self.context.seconds < shards.until:
                wait_for_helpers(self.context, until)
            self.done += max(1, urgent.done + shards.done)  # helpers have done some, too

    def _finish(self) -> None:
        """End the job; request the next one while images are left, else learning."""
        project = self.context.project
        space = project.embedding_space
        more = self.current_is_usable and space is not None and self._any_to_embed(space)
        moving = project.next_backbone is not None and project.next_error is None
        ready = self._is_ready()
        if not more:
            with self.context.step("matrix"):
                update_index(self.store, project, changed=self.done > 0)

        def write(db: Connection) -> None:
            pending_work.finish(db, self.context.lease)
            if more or (moving and not ready):
                pending_work.want(db, project.id, WorkKind.EMBED)
                return
            if self.done or ready:
                pending_work.want(db, project.id, WorkKind.LEARN)
            if (due := next_retry(db, project.id)) is not None:
                pending_work.want(db, project.id, WorkKind.EMBED, not_before=max(due, time.time()))

        self.database.write(write)

    def _any_to_embed(self, space: str) -> bool:
        with self.database.read() as db:
            return any_to_embed(db, self.context.project.id, space)

    def _is_ready(self) -> bool:
        with self.database.read() as db:
            return move_is_ready(db, self.context.project)

    def _change(self, write: Callable[[Connection], None]) -> None:
        self.database.write(write)
        self.context.refresh()
