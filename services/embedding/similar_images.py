"""Finds the tasks whose embeddings are nearest to that of a given task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from model.arrays import Float16s
from model.similarity import approximate_cosines, cosines, top_rows
from services.embedding.similarity_index import extend_index, images_indexed, open_index
from store.database.chunks import chunks
from store.database.schema import task
from store.projects.key_values import ProjectKey
from store.projects.projects import Project
from store.store import Store
from store.tasks.tasks import get_tasks, task_data
from store.tasks.units import TaskId

MOST = 1_000  # similar images asked for at a time
# [space, number of images] that the matrix was made for.
INDEXED: ProjectKey[list[str | int]] = ProjectKey("matrix")

SMALL = 10_000  # tasks; up to here embeddings are read as they are, without a matrix
SPARE = 200  # candidates more than wanted, for what the coarse scan mixes up

Vectors = Mapping[str, Float16s]


class NotReadyError(Exception):
    """The task's image has no embedding; the message says why."""


@dataclass(frozen=True)
class Similar:
    """A similar task; `similarity` is the cosine of the embeddings, 1 for the same image."""

    task: TaskId
    similarity: float
    data: Mapping[str, Any]


def similar(store: Store, project: Project, task_id: TaskId, count: int) -> list[Similar]:
    """The `count` tasks most similar to one (Label Studio's id), the most similar first.

    Of several images of a task, the first is compared with all images of the others.

    Raises:
        NotReadyError: the task is unknown, or its image is not embedded yet.
    """
    space, query = _embedding(store, project, task_id)
    count = min(count, MOST)
    with store.database.read() as db:
        total = _count(db, project.id, space)
    if total <= SMALL:
        with store.database.read() as db:
            scores = _scored(store.embeddings.get(space, _keys(db, project.id, space)), query)
    else:
        scores = _scan(store, project, space, query, count)
    with store.database.read() as db:
        results = _tasks(db, project.id, space, scores, task_id)
    return sorted(results, key=lambda one: (-one.similarity, one.task))[:count]


def update_index(store: Store, project: Project, *, changed: bool = False) -> None:
    """Update the similarity index of a large project; called when all its images are embedded.

    Args:
        changed: images were embedded just now; else their number tells whether any is new.
    """
    space = project.embedding_space
    if space is None:
        return
    key = INDEXED.of(project.id)
    with store.database.read() as db:
        total = _count(db, project.id, space)
        if total <= SMALL or (key.get(db) == [space, total] and not changed):
            return
        keys = _keys(db, project.id, space)
    extend_index(store, project.id, space, keys)
    store.database.write(lambda db: key.set(db, [space, total]))


def _embedding(store: Store, project: Project, task_id: TaskId) -> tuple[str, Float16s]:
    with store.database.read() as db:
        images = list(get_tasks(db, project.id, [task_id]).values())
    if not images:
        raise NotReadyError(f"project {project.ls_id} has no task {task_id}")
    usable_image = next((image for image in images if image.usable), images[0])
    if usable_image.image_error is not None:
        raise NotReadyError(
            f"the image of task {task_id} can't be used: {usable_image.image_error}"
        )
    space, key = project.embedding_space, usable_image.image_key
    vectors = store.embeddings.get(space, [key]) if space and key else {}
    if not vectors or not np.isfinite(vectors[str(key)]).all():
        raise NotReadyError(f"the image of task {task_id} is not embedded yet")
    return str(space), vectors[str(key)]


def _scan(
    store: Store, project: Project, space: str, query: Float16s, count: int
) -> dict[str, float]:
    """{image key: cosine} of the nearest images; at least `count` belong to other tasks."""
    matrix = open_index(store.settings, project.id, space, len(query))
    with store.database.read() as db:
        complete_space, images = INDEXED.of(project.id).get(db) or (None, 0)
        behind = complete_space == space and images_indexed(
            store.settings, project.id, space
        ) < int(images)
        keys_to_index = _keys(db, project.id, space) if behind else []
    if behind:  # the worker that has extended its index runs on another machine
        extend_index(store, project.id, space, keys_to_index)
        matrix = open_index(store.settings, project.id, space, len(query))
    if not len(matrix.keys):
        raise NotReadyError("the project's images are still being read; try again in a minute")
    coarse = approximate_cosines(matrix.codes, matrix.scales, query)
    wanted = count + SPARE
    while True:
        keys = [key.decode() for key in matrix.keys[top_rows(coarse, wanted)]]
        with store.database.read() as db:
            shown = _with_task(db, project.id, space, keys)
        if len(shown) > count or wanted >= len(coarse):
            return _scored(store.embeddings.get(space, sorted(shown)), query)
        wanted *= 4  # many of these were deleted


def _scored(vectors: Vectors, query: Float16s) -> dict[str, float]:
    if not vectors:
        return {}
    exact = cosines(np.stack(list(vectors.values())), query)
    return dict(zip(vectors, exact.tolist(), strict=True))


def _of_space(project_id: int, space: str) -> tuple[Any, ...]:
    return (
        task.c.project_id == project_id,
        task.c.embedded_space == space,
        task.c.deleted_at.is_(None),
        task.c.image_error.is_(None),
    )


def _count(db: Connection, project_id: int, space: str) -> int:
    query = select(func.count()).select_from(task).where(*_of_space(project_id, space))
    return int(db.execute(query).scalar_one())


def _keys(db: Connection, project_id: int, space: str) -> list[str]:
    query = select(task.c.image_key).where(*_of_space(project_id, space))
    return [key for key in db.execute(query).scalars() if key is not None]


def _with_task(db: Connection, project_id: int, space: str, keys: list[str]) -> set[str]:
    shown_keys: set[str] = set()
    for part in chunks(keys):
        query = select(task.c.image_key).where(
            *_of_space(project_id, space), task.c.image_key.in_(part)
        )
        shown_keys.update(key for key in db.execute(query).scalars() if key is not None)
    return shown_keys


def _tasks(
    db: Connection, project_id: int, space: str, scores: Mapping[str, float], asked: int
) -> list[Similar]:
    """The tasks that show these images, the most similar first, MOST at most."""
    ordered = sorted(scores, key=lambda key: -scores[key])[: MOST + 1]
    similarity_of: dict[TaskId, float] = {}
    for part in chunks(ordered):
        query = select(task.c.ls_id, task.c.image_key).where(
            *_of_space(project_id, space), task.c.image_key.in_(part)
        )
        for row in db.execute(query):
            if row.ls_id != asked:
                similarity = round(scores[row.image_key], 6)
                similarity_of[row.ls_id] = max(similarity, similarity_of.get(row.ls_id, -1.0))
    data = task_data(db, project_id, similarity_of)
    return [Similar(ls_id, similarity, data[ls_id]) for ls_id, similarity in similarity_of.items()]
