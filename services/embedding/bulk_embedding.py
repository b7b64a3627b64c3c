"""Embeds a project's images in batches, the most urgent first."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from PIL import Image
from sqlalchemy import Connection

from model.arrays import Float16s
from model.embedding import Embedder, embed_stream
from services.job_context import JobContext
from store.projects.embedding_spaces import backbone_of
from store.tasks.annotations import annotated_tasks
from store.tasks.embedding_queue import mark_retry, tasks_to_embed
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import Task, count_tasks, mark_broken, mark_embedded, mark_suspicious
from store.tasks.units import UnitId, task_of
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.images.loader import ImageLoader, PassingImageError, PermanentImageError, decode_image

log = structlog.get_logger()

ROUND = 128  # tasks fetched from the queue at a time: a new label waits for about a second
FLUSH = 128  # results written at a time
FLUSH_SECONDS = 10.0  # after which fewer are written: large images may take all of a job's time
FIRST_POOL = 200  # embedded images from which a first, provisional shortlist is worth choosing
LOADERS = max(4, 2 * (os.cpu_count() or 1))  # threads: loading waits for Label Studio


@dataclass
class Results:
    """Embeddings and errors since the last flush."""

    tasks: dict[UnitId, Task] = field(default_factory=dict)
    keys: dict[UnitId, str] = field(default_factory=dict)
    vectors: dict[str, Float16s] = field(default_factory=dict)
    broken: dict[UnitId, str] = field(default_factory=dict)
    passing: dict[UnitId, str] = field(default_factory=dict)
    suspicious: dict[UnitId, str] = field(default_factory=dict)  # of images with an embedding

    def __len__(self) -> int:
        return len(self.keys) + len(self.broken) + len(self.passing)


class _AlreadyEmbeddedError(Exception):
    """The image's embedding is stored already."""


class BulkEmbedding:
    """One run over a project's tasks, with one backbone."""

    def __init__(
        self,
        context: JobContext,
        embedder: Embedder,
        loader: ImageLoader,
        role: SpaceRole,
        *,
        until: float,
        only: Sequence[Task] | None = None,
        only_urgent: bool = False,
    ) -> None:
        self.context = context
        self.store = context.store
        self.project_id = context.project.id
        self.embedder = embedder
        self.loader = loader
        self.until = until  # seconds of the job's time
        self.only = only  # these tasks, instead of all that are to be embedded
        self.only_urgent = only_urgent  # labelled ones and the shortlist
        self.role = role  # of the embedder's space
        self.keys: dict[UnitId, str] = {}
        self.warnings: dict[UnitId, str] = {}
        self._results = Results()
        self._written = context.seconds
        self.done = 0
        self.failed = 0

    def run(self) -> None:
        """Embed images without an embedding, in batches, until the time is up."""
        stream = embed_stream(
            self.embedder, ((task, task) for task in self._tasks()), self._load, workers=LOADERS
        )
        for task, outcome in stream:
            self._take(task, outcome)
        self._end()

    def _take(self, task: Task, outcome: Float16s | Exception) -> None:
        """Note a result, and write those that have come together."""
        self._note(self._results, task, outcome)
        late = self.context.seconds - self._written > FLUSH_SECONDS
        if len(self._results) >= FLUSH or late:
            self._end()

    def _end(self) -> None:
        self._written = self.context.seconds
        results, self._results = self._results, Results()
        if len(results):
            self._write(results, lambda db: pending_work.check(db, self.context.lease))
            self._report(results.keys)

    def _tasks(self) -> Iterator[Task]:
        """Tasks in order of urgency, queried again for each batch: labels arrive meanwhile."""
        if self.only is not None:
            yield from self.only
            return
        taken: set[int] = set()
        while self.context.seconds < self.until:
            with self.store.database.read() as db:
                listed = tasks_to_embed(
                    db,
                    self.project_id,
                    self.embedder.key,
                    ROUND + len(taken) - self.done,
                    self.role,
                    only_urgent=self.only_urgent,
                )
            fresh = [task for task in listed if task.unit not in taken][:ROUND]
            if not fresh:
                return
            taken.update(task.unit for task in fresh)
            yield from fresh

    def _load(self, task: Task) -> Image.Image:
        assert task.uri is not None, "tasks without an image are not listed"
        if task.image_key and self.store.embeddings.get(self.embedder.key, [task.image_key]):
            self.keys[task.unit] = task.image_key
            raise _AlreadyEmbeddedError
        data = self.loader.fetch(task.uri, task.ls_id)
        key = hashlib.sha256(data).hexdigest()
        self.keys[task.unit] = key
        if self.store.embeddings.get(self.embedder.key, [key]):
            raise _AlreadyEmbeddedError
        decoded = decode_image(data, self.loader.policy)
        if decoded.warning is not None:
            self.warnings[task.unit] = decoded.warning
        return decoded.image

    def _note(self, results: Results, task: Task, outcome: Float16s | Exception) -> None:
        results.tasks[task.unit] = task
        if isinstance(outcome, _AlreadyEmbeddedError):
            results.keys[task.unit] = self.keys.pop(task.unit)
        elif isinstance(outcome, PermanentImageError):
            log.info("image can't be used", task=task.ls_id, reason=str(outcome))
            results.broken[task.unit] = str(outcome)
        elif isinstance(outcome, Exception):
            expected = isinstance(outcome, PassingImageError)
            log.warning("image not loaded", task=task.ls_id, reason=repr(outcome), exc_info=None)
            results.passing[task.unit] = str(outcome) if expected else repr(outcome)
        else:
            key = self.keys.pop(task.unit)
            results.keys[task.unit] = key
            results.vectors[key] = outcome
            if warning := self.warnings.pop(task.unit, None):
                results.suspicious[task.unit] = warning

    def _write(self, results: Results, check: Callable[[Connection], None]) -> None:
        """Write results; `check` raises, in the same transaction, when they aren't wanted."""
        space = self.embedder.key
        self.store.embeddings.put(space, results.vectors)

        def write(db: Connection) -> None:
            check(db)
            if self.role is SpaceRole.ASIDE:
                return
            mark_embedded(db, self.project_id, space, results.keys, self.role)
            mark_broken(db, self.project_id, results.broken)
            mark_suspicious(db, self.project_id, results.suspicious)
            again = [results.tasks[unit] for unit in results.passing]
            mark_retry(db, self.project_id, again, results.passing)

        self.store.database.write(write)
        self.done += len(results)
        self.failed += len(results.passing)

    def _report(self, written: Mapping[UnitId, str]) -> None:
        """Show the progress; request learning where the embeddings written last are worth it."""
        space = self.embedder.key
        with self.store.database.read() as db:
            counts = count_tasks(db, self.project_id, space, self.role)
            worth_learning = (
                self.role is SpaceRole.IN_USE
                and written
                and self._enough_to_learn(db, written, counts.embedded)
            )
        if worth_learning:
            self.store.database.write(
                lambda db: pending_work.want(db, self.project_id, WorkKind.LEARN)
            )
        fraction = counts.embedded / max(counts.images - counts.broken, 1)
        where = f" for {backbone_of(space)}" if self.role is SpaceRole.NEXT else ""
        self.context.progress(
            fraction, f"{self.done} images in {self.context.seconds:.0f} s{where}"
        )

    def _enough_to_learn(
        self, db: Connection, written: Mapping[UnitId, str], embedded: int
    ) -> bool:
        if not annotated_tasks(db, self.project_id).isdisjoint(map(task_of, written)):
            return True
        first = embedded - len(written) < FIRST_POOL <= embedded
        return first and self.context.project.served_version_id is None
