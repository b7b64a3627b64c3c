"""Labels every remaining task with the served version, in Label Studio and in a table."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from sqlalchemy import Connection, select

from model.targets.kind import value_json
from services.labels.multi_image import parts_of
from services.snapshot import Snapshot, take_snapshot
from services.suggestions.prediction_items import prediction_item
from services.suggestions.predictor import Predictor, Suggestion
from services.suggestions.queue_order import rest_score
from services.suggestions.suggest import suggest_to_all
from store.database.schema import prediction
from store.files.artifacts import ArtifactError
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import SWEPT, add_publication
from store.projects.projects import Project
from store.store import Store
from store.tasks.tasks import Task
from store.tasks.units import TaskId
from store.versions.label_reviews import Plain
from store.versions.versions import START, Version
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.controls import Control
from studio.items import ALL_IMAGES, read_items

PART = 5_000  # tasks answered at a time
AT_WORK_SECONDS = 1_800  # since the last annotation: somebody may have a chosen task open

ANNOTATED, SUGGESTED, UNSURE, SKIPPED, MISSING = (
    "annotated",
    "suggested",
    "unsure",  # the suggestion is less probable than was asked for
    "skipped",  # by an annotator
    "missing",  # there is no embedding of its image
)


class ApplyError(Exception):
    """Nothing can be applied; the message says why and what to do."""


@dataclass(frozen=True)
class Row:
    """The row of a task in the table, or of one of several images of a task.

    `confidence` is 0 to 1, of the least sure control, and of the least sure image of the task.
    """

    task: TaskId
    source: str  # annotated, suggested, unsure, skipped, missing
    labels: Mapping[str, Plain] = field(default_factory=dict)  # by control
    confidence: float | None = None  # None where people said it, or nobody
    version: str | None = None  # that suggests it
    reason: str | None = None  # why there is no label
    image: int | None = None  # which of the task's images, from 0; None: it speaks of the task


@dataclass(frozen=True)
class Applied:
    """The rows of all tasks, by id, and the number of predictions to be pushed.

    Where each of several images of a task is labelled, there is a row for each.
    """

    version: str
    controls: Sequence[str]
    rows: Sequence[Row]
    pushing: int


def apply(store: Store, project: Project, least: float | None = None) -> Applied:
    """Push the served version's suggestions for all unlabelled tasks, and list all tasks.

    They are pushed in the background, within our share of Label Studio's time. A prediction of this
    version that says something stands. An empty one is replaced, in the control group too; that of
    a shortlisted task only when nobody has annotated for half an hour, since it may be open.

    Args:
        least: confidence (0 to 1) below which nothing is said; that of the settings by default.

    Raises:
        ApplyError: nothing is served yet, or it can't be read.
    """
    least = store.settings.min_confidence if least is None else least
    snapshot = take_snapshot(store, project.id)
    version = snapshot.served
    if version is None or version.kind == START:
        raise ApplyError("nothing is learned and served yet: `apprentice status` says why")
    try:
        predictor = Predictor.load(store, version)
    except ArtifactError as error:
        raise ApplyError(f"{version.name} can't be read: {error}") from error
    suggestions: dict[TaskId, Suggestion] = {}
    free = [task for task in snapshot.tasks if task.ls_id not in snapshot.annotated]
    for part in parts_of(free, PART, attrgetter("ls_id")):
        suggestions |= suggest_to_all(store, project, part, predictor, snapshot.config, least)
    learned = [one for one in snapshot.config.controls if predictor.learned(one) is not None]
    read = _RowMaker(snapshot, version, learned, least)
    rows = [read.row(task, suggestions.get(task.ls_id)) for task in snapshot.tasks]
    pushing = _push(store, snapshot, version, suggestions)
    return Applied(version.name, [one.name for one in snapshot.config.controls], rows, pushing)


@dataclass(frozen=True)
class _RowMaker:
    """Makes the rows of tasks; `learned` are the controls that the version answers."""

    snapshot: Snapshot
    version: Version
    learned: Sequence[Control]
    least: float

    def row(self, task: Task, suggestion: Suggestion | None) -> Row:
        row = self._row(task, suggestion)
        each = self.snapshot.config.multi_image and task.item != ALL_IMAGES
        return replace(row, image=task.item) if each else row

    def _row(self, task: Task, suggestion: Suggestion | None) -> Row:
        label_values = self.snapshot.labels.get(task.unit)
        if label_values is not None:
            labels = {
                control.name: value_json(control.schema, label_values[control.name])
                for control in self.snapshot.config.controls
                if control.name in label_values
            }
            return Row(task.ls_id, ANNOTATED, labels)
        if task.ls_id in self.snapshot.annotated:
            return Row(task.ls_id, SKIPPED, reason="an annotator skipped it, or said nothing")
        if suggestion is None or (self.snapshot.config.multi_image and not task.usable):
            return Row(task.ls_id, MISSING, reason=self._why_not(task))
        asked = self._asked(task)
        labels = self._labels(suggestion, asked, task.item)
        confidence, name = round(suggestion.confidence, 4), self.version.name
        if len(labels) == len(asked):
            return Row(task.ls_id, SUGGESTED, labels, confidence, name)
        source = SUGGESTED if labels else UNSURE
        return Row(task.ls_id, source, labels, confidence, name, "less sure than was asked for")

    def _why_not(self, task: Task) -> str:
        """The reason why there is no suggestion."""
        if self.snapshot.config.multi_image and task.uri is None:
            return "the task has no such image"
        several = task.embedded_space == self.snapshot.space  # then another one is missing
        pending = "not all of its images are" if several else "its image is not"
        return task.image_error or f"{pending} embedded yet"

    def _asked(self, task: Task) -> Sequence[Control]:
        """The controls of this row."""
        there = self.snapshot.config.at(whole=task.item == ALL_IMAGES).controls
        return [control for control in self.learned if control in there]

    def _labels(
        self, suggestion: Suggestion, asked: Sequence[Control], item: int
    ) -> dict[str, Plain]:
        """The suggested labels by control; "no class" is a label where several may be chosen."""
        labels: dict[str, Plain] = {}
        for control in asked:
            value = read_items(control, suggestion.result).get(item)
            if value is None and suggestion.confidence >= self.least:
                value = control.absent
            if value is not None:
                labels[control.name] = value_json(control.schema, value)
        return labels


def _push(
    store: Store, snapshot: Snapshot, version: Version, suggestions: Mapping[TaskId, Suggestion]
) -> int:
    """Add publications of missing and better predictions. Returns the number of predictions."""
    project_id = snapshot.project.id
    newest = max((annotation.updated_at for annotation in snapshot.annotations), default=0.0)
    busy = set(snapshot.remaining) if time.time() - newest < AT_WORK_SECONDS else set()
    with store.database.read() as db:
        given = _given(db, project_id, version.id)
    new = [
        prediction_item(task, rest_score(one.confidence), one)
        for task, one in suggestions.items()
        if task not in given
    ]
    better = [
        prediction_item(task, given[task].score, one)
        for task, one in suggestions.items()
        if task in given and given[task].empty and one.result and task not in busy
    ]

    def write(db: Connection) -> None:
        reasons = ((PublicationReason.REFRESH, new), (PublicationReason.APPLY, better))
        for reason, items in reasons:
            if items:
                add_publication(db, project_id, version.id, reason, items)
        if new or better:
            pending_work.want(db, project_id, WorkKind.PUBLISH)

    store.database.write(write)
    return len(new) + len(better)


@dataclass(frozen=True)
class _Given:
    """A prediction of the served version that Label Studio holds."""

    score: float
    empty: bool


def _given(db: Connection, project_id: int, version_id: int) -> dict[TaskId, _Given]:
    rows = db.execute(
        select(prediction.c.task_ls_id, prediction.c.score, prediction.c.result).where(
            prediction.c.project_id == project_id,
            prediction.c.version_id == version_id,
            prediction.c.source != SWEPT,
        )
    )
    return {row.task_ls_id: _Given(row.score, not row.result) for row in rows}
