"""Tasks of Label Studio and the images that they show."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Text, bindparam, case, func, insert, or_, select, update

from store.database.chunks import chunks
from store.database.locks import lock_content
from store.database.schema import task
from store.tasks.image_problems import problem_kind
from store.tasks.labelled import clear_labelled
from store.tasks.space_role import SpaceRole
from store.tasks.units import FIRST, TaskId, UnitId, item_of, task_of, unit_of


@dataclass(frozen=True)
class TaskRecord:
    """A task as Label Studio holds it."""

    ls_id: TaskId
    data: Mapping[str, Any]
    uri: str | None
    updated_at: float
    more: tuple[str | None, ...] = ()  # the URIs of its second image and all that follow

    @property
    def uris(self) -> tuple[str | None, ...]:
        """The URIs of all images, in order; a single None where there is none."""
        return (self.uri, *self.more)


@dataclass(frozen=True)
class Task:
    """A stored image of a task; mostly the task's only one."""

    ls_id: TaskId
    uri: str | None
    image_key: str | None
    embedded_space: str | None
    image_error: str | None
    split: str | None
    retries: int
    next_space: str | None = None  # that the project moves to, once it holds this image too
    item: int = FIRST  # which of the task's images, from 0

    @property
    def unit(self) -> UnitId:
        """Task and image as one number."""
        return unit_of(self.ls_id, self.item)

    @property
    def usable(self) -> bool:
        """Whether there is an image, as far as is known."""
        return self.uri is not None and self.image_error is None


def task_from(row: Any) -> Task:
    """The image of a row of COLUMNS."""
    return Task(
        row.ls_id,
        row.uri,
        row.image_key,
        row.embedded_space,
        row.image_error,
        row.split,
        row.retries,
        row.next_space,
        row.item,
    )


COLUMNS = (
    task.c.ls_id,
    task.c.uri,
    task.c.image_key,
    task.c.embedded_space,
    task.c.image_error,
    task.c.split,
    task.c.retries,
    task.c.next_space,
    task.c.item,
)

# Every webhook asks these: the statements are made once.
_LISTED = (
    task.c.project_id == bindparam("of_project"),
    task.c.ls_id.in_(bindparam("ids", expanding=True)),
)
_SHOWN = select(task.c.ls_id, task.c.item, task.c.uri, task.c.data, task.c.deleted_at).where(
    *_LISTED
)
_PRESENT = select(*COLUMNS).where(*_LISTED, task.c.deleted_at.is_(None))


def save_tasks(db: Connection, project_id: int, records: Collection[TaskRecord]) -> int:
    """Store tasks. An image that has changed is to be embedded again.

    Of a task that has fewer images than before, those that are gone are marked as deleted.

    Returns:
        How many images are new, other ones now, or gone.
    """
    if records:
        lock_content(db, project_id)
    changed = 0
    by_id = {record.ls_id: record for record in records}
    for ids in chunks(by_id):
        rows = db.execute(_SHOWN, {"of_project": project_id, "ids": ids})
        existing = {unit_of(row.ls_id, row.item): row for row in rows}
        wanted = {unit_of(i, item): uri for i in ids for item, uri in enumerate(by_id[i].uris)}
        new = [unit for unit in wanted if unit not in existing]
        if new:
            values = [_values(project_id, by_id[task_of(unit)], item_of(unit)) for unit in new]
            db.execute(insert(task), values)
            clear_labelled(db, project_id, {task_of(unit) for unit in new})
        changed += len(new)
        for unit, row in existing.items():
            if unit in wanted:
                changed += _renew(db, project_id, unit, row, by_id[row.ls_id])
            elif row.deleted_at is None:
                _change(db, project_id, unit, deleted_at=time.time())
                changed += 1
    return changed


def _renew(db: Connection, project_id: int, unit: UnitId, row: Any, record: TaskRecord) -> bool:
    """Bring a known row in line; whether it shows another image now."""
    uri, data = record.uris[row.item], _data(record, row.item)
    same_image = row.uri == uri and row.deleted_at is None
    if same_image and row.data == data:
        return False
    values: dict[str, Any] = {"data": data, "updated_at": record.updated_at}
    if not same_image:
        values |= _UNSEEN | {"uri": uri, "deleted_at": None}
    _change(db, project_id, unit, **values)
    return not same_image


def _change(db: Connection, project_id: int, unit: UnitId, **values: Any) -> None:
    db.execute(
        update(task)
        .where(
            task.c.project_id == project_id,
            task.c.ls_id == task_of(unit),
            task.c.item == item_of(unit),
        )
        .values(**values)
    )


def _data(record: TaskRecord, item: int) -> dict[str, Any]:
    """The part of the task's data to store with one of its images: all of it, once."""
    return dict(record.data) if item == FIRST else {}


_UNSEEN: dict[str, Any] = {
    "image_key": None,
    "embedded_space": None,
    "next_space": None,
    "image_error": None,
    "image_problem": None,
    "image_note": None,
    "retries": 0,
    "retry_at": None,
}


def _values(project_id: int, record: TaskRecord, item: int) -> dict[str, Any]:
    return _UNSEEN | {
        "project_id": project_id,
        "ls_id": record.ls_id,
        "item": item,
        "data": _data(record, item),
        "uri": record.uris[item],
        "updated_at": record.updated_at,
    }


def get_tasks(db: Connection, project_id: int, ls_ids: Collection[TaskId]) -> dict[UnitId, Task]:
    """{unit: image} of all images of the tasks `ls_ids` that are known and not deleted."""
    images: dict[UnitId, Task] = {}
    for ids in chunks(ls_ids):
        rows = db.execute(_PRESENT, {"of_project": project_id, "ids": ids})
        images |= {(image := task_from(row)).unit: image for row in rows}
    return images


def task_data(
    db: Connection, project_id: int, ls_ids: Collection[TaskId]
) -> dict[TaskId, Mapping[str, Any]]:
    """{task: its `data`} of the tasks `ls_ids` that are known and not deleted."""
    data: dict[TaskId, Mapping[str, Any]] = {}
    for ids in chunks(ls_ids):
        rows = db.execute(
            select(task.c.ls_id, task.c.data).where(
                task.c.project_id == project_id,
                task.c.ls_id.in_(ids),
                task.c.item == FIRST,
                task.c.deleted_at.is_(None),
            )
        )
        data |= {row.ls_id: row.data for row in rows}
    return data


def list_tasks(db: Connection, project_id: int) -> list[Task]:
    """All images of the tasks that are not deleted, by the task's id, then in the task's order."""
    rows = db.execute(
        select(*COLUMNS)
        .where(task.c.project_id == project_id, task.c.deleted_at.is_(None))
        .order_by(task.c.ls_id, task.c.item)
    )
    return [task_from(row) for row in rows]


def task_ids(db: Connection, project_id: int) -> set[TaskId]:
    """The Label Studio ids of all tasks that are not deleted."""
    query = select(task.c.ls_id).where(task.c.project_id == project_id, task.c.deleted_at.is_(None))
    return set(db.execute(query).scalars())


@dataclass(frozen=True)
class TaskCounts:
    """The numbers of tasks and images, and of embedded and unusable images."""

    tasks: int
    images: int
    embedded: int
    broken: int


def count_tasks(
    db: Connection, project_id: int, space: str | None, role: SpaceRole = SpaceRole.IN_USE
) -> TaskCounts:
    """Count tasks and images, and images with an embedding in a space of this role."""
    space_column = task.c.next_space if role is SpaceRole.NEXT else task.c.embedded_space
    row = db.execute(
        select(
            func.count().filter(task.c.item == FIRST),
            func.count(),
            func.count().filter(space_column == space),
            func.count().filter(or_(task.c.image_error.is_not(None), task.c.uri.is_(None))),
        ).where(task.c.project_id == project_id, task.c.deleted_at.is_(None))
    ).one()
    return TaskCounts(*row)


def mark_embedded(
    db: Connection,
    project_id: int,
    space: str,
    image_keys: Mapping[UnitId, str],
    role: SpaceRole = SpaceRole.IN_USE,
) -> None:
    """Mark images ({unit: image key}) as having embeddings in `space`.

    Args:
        role: of `space`. In the next one, what is known of the one in use stays, unless the
            image is another one now.
    """
    if not image_keys:
        return
    same = task.c.image_key == bindparam("of_image", type_=Text)
    spaces = (
        {"embedded_space": case((same, task.c.embedded_space), else_=None), "next_space": space}
        if role is SpaceRole.NEXT
        else {"embedded_space": space, "next_space": case((same, task.c.next_space), else_=None)}
    )
    db.execute(
        update(task)
        .where(
            task.c.project_id == project_id,
            task.c.ls_id == bindparam("of_task"),
            task.c.item == bindparam("of_item"),
        )
        .values(_UNSEEN | {"image_key": bindparam("of_image", type_=Text)} | spaces),
        [
            {"of_task": task_of(unit), "of_item": item_of(unit), "of_image": key}
            for unit, key in image_keys.items()
        ],
    )


def mark_broken(db: Connection, project_id: int, errors: Mapping[UnitId, str]) -> None:
    """Mark images as unusable for good ({unit: reason})."""
    for unit, reason in errors.items():
        values = {"image_error": reason, "image_problem": problem_kind(reason)}
        _change(db, project_id, unit, **values, image_note=None, retry_at=None)


def mark_suspicious(db: Connection, project_id: int, warnings: Mapping[UnitId, str]) -> None:
    """Note what is suspicious about images that can be used ({unit: warning})."""
    for unit, warning in warnings.items():
        _change(db, project_id, unit, image_problem=problem_kind(warning), image_note=warning)


def assign_holdout(db: Connection, project_id: int, ls_ids: Collection[TaskId]) -> None:
    """Add tasks to the hold-out, for good."""
    for ids in chunks(ls_ids):
        db.execute(
            update(task)
            .where(task.c.project_id == project_id, task.c.ls_id.in_(ids))
            .values(split="holdout")
        )
