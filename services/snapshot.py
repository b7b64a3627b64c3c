"""A snapshot of a project: all inputs of learning, read in one transaction."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from model.active_learning.advice import Advice
from services.advice import newest_advice
from services.labels.aggregation import Labels, resolve_labels
from services.labels.multi_image import image_counts, learned_rows, not_embedded
from services.labels.project_config import label_config_of
from services.labels.votes import Votes, read_votes
from store.predictions.auto_accepts import written_confidences
from store.predictions.publications import latest_predictions
from store.predictions.shortlists import (
    RANDOM,
    Choice,
    Draw,
    drawn_tasks,
    first_choice_at,
    get_shortlist,
)
from store.projects.projects import Project, get_project
from store.store import Store
from store.tasks.annotations import (
    AnnotationRecord,
    annotated_before,
    annotated_tasks,
    current_annotations,
    first_received,
)
from store.tasks.tasks import Task, list_tasks
from store.tasks.units import TaskId
from store.versions.versions import Version, get_version, newest_version
from studio.config import LabelConfig


@dataclass(frozen=True)
class Snapshot:
    """A project at one moment; `space` is the embedding space in use."""

    project: Project
    read_at: float  # seconds since 1970
    space: str
    config: LabelConfig
    annotations: list[AnnotationRecord]
    annotated: set[TaskId]
    votes: Votes  # that the labels come from
    labels: Labels
    images: list[Task]  # all that the tasks show
    tasks: list[Task]  # what is learned: images, or all images of a task as one
    served: Version | None
    newest: Version | None
    shortlist: list[TaskId]
    predictions: dict[TaskId, int]  # {task: newest version that Label Studio shows}
    unbiased: dict[TaskId, bool]  # labelled tasks nobody chose for being hard: {task: ground truth}
    advice: Advice | None  # of the last learning
    drawn: dict[TaskId, Draw]  # at random, labelled or not
    received: dict[TaskId, float]  # {labelled task: when we first heard of its label}
    accepted: dict[TaskId, float]  # {task labelled by an accepted suggestion alone: its confidence}

    @property
    def open(self) -> list[Task]:
        """Units of tasks without an annotation, all of whose images are embedded."""
        waiting = not_embedded(self.tasks, self.space) if self.config.multi_image else ()
        return [
            task
            for task in self.tasks
            if task.embedded_space == self.space
            and task.image_error is None
            and task.ls_id not in self.annotated
            and task.ls_id not in waiting
        ]

    @property
    def not_embedded(self) -> int:
        """The number of labelled images without an embedding."""
        return sum(
            task.unit in self.labels
            and task.image_error is None
            and task.embedded_space != self.space
            for task in self.tasks
        )

    def moved(self, space: str) -> "Snapshot":
        """The snapshot after the move to the embedding space `space`."""
        images = [replace(image, embedded_space=image.next_space) for image in self.images]
        tasks = learned_rows(images, self.config)
        return replace(self, space=space, images=images, tasks=tasks)

    @property
    def waiting(self) -> dict[TaskId, float | None]:
        """{task: probability} of random picks without a label, the oldest first."""
        tasks = [task for task in self.drawn if task not in self.annotated]
        tasks.sort(key=lambda task: (self.drawn[task].at, task))
        return {task: self.drawn[task].probability for task in tasks}

    def choices(self, tasks: Iterable[TaskId]) -> list[Choice]:
        """Earlier choices that the next shortlist may keep, in order."""
        return [
            Choice(task, RANDOM, self.drawn[task].probability)
            if task in self.drawn
            else Choice(task, "kept", None)
            for task in tasks
        ]

    @property
    def remaining(self) -> list[TaskId]:
        """The unlabelled tasks of the shortlist, in order."""
        return [task for task in self.shortlist if task not in self.annotated]


def take_snapshot(store: Store, project_id: int) -> Snapshot:
    """Read the project in one transaction."""
    read_at = time.time()
    with store.database.read() as db:
        project = get_project(db, project_id)
        assert project is not None, "work refers to its project"
        config = label_config_of(project)
        annotations = current_annotations(db, project_id)
        served_id = project.served_version_id
        annotated, drawn = annotated_tasks(db, project_id), drawn_tasks(db, project_id)
        images = list_tasks(db, project_id)
        votes = read_votes(annotations, config, image_counts(images))
        return Snapshot(
            project=project,
            read_at=read_at,
            space=project.embedding_space or "",
            config=config,
            annotations=annotations,
            annotated=annotated,
            votes=votes,
            labels=resolve_labels(votes, config),
            images=images,
            tasks=learned_rows(images, config),
            served=get_version(db, served_id) if served_id else None,
            newest=newest_version(db, project_id),
            shortlist=get_shortlist(db, project_id),
            predictions=latest_predictions(db, project_id),
            unbiased=_unbiased(db, project_id, annotations, drawn),
            advice=newest_advice(db, project_id),
            drawn=drawn,
            received=first_received(db, project_id),
            accepted=_accepted(db, project_id, annotated, annotations),
        )


def _accepted(
    db: Connection, project_id: int, annotated: set[TaskId], annotations: list[AnnotationRecord]
) -> dict[TaskId, float]:
    """{task: confidence} of auto-accepted tasks that no person has annotated or deleted."""
    alone = annotated - {annotation.task_ls_id for annotation in annotations}
    written = written_confidences(db, project_id)
    return {task: sure for task, sure in written.items() if task in alone}


def _unbiased(
    db: Connection,
    project_id: int,
    annotations: list[AnnotationRecord],
    drawn: Collection[TaskId],
) -> dict[TaskId, bool]:
    """{task: is ground truth} of random picks, ground truth, and labels before the first choice."""
    first = first_choice_at(db, project_id)
    early = set() if first is None else annotated_before(db, project_id, first)
    truths = {a.task_ls_id for a in annotations if a.ground_truth}
    return {task: task in truths for task in {*drawn, *early, *truths}}
