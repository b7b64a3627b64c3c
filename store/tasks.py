"""Tasks: what Label Studio has, which image each shows, and what is known of that image."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Text, bindparam, case, func, insert, or_, select, update

from store.schema import task

CHUNK = 500  # ids in one IN (…), below every database's limit on parameters

T = TypeVar("T")


@dataclass(frozen=True)
class TaskRecord:
    """A task as Label Studio tells it."""

    ls_id: int
    data: Mapping[str, Any]
    uri: str | None
    updated_at: float


@dataclass(frozen=True)
class Task:
    """A task as it is remembered."""

    ls_id: int
    uri: str | None
    image_key: str | None
    embedded_space: str | None
    image_error: str | None
    split: str | None
    retries: int
    next_space: str | None = None  # that the project moves to, once it holds this image too


def task_of(row: Any) -> Task:
    """The task that a row of COLUMNS tells."""
    return Task(
        row.ls_id,
        row.uri,
        row.image_key,
        row.embedded_space,
        row.image_error,
        row.split,
        row.retries,
        row.next_space,
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
)

# Every webhook asks these: the statements are made once.
_LISTED = (
    task.c.project_id == bindparam("of_project"),
    task.c.ls_id.in_(bindparam("ids", expanding=True)),
)
_SHOWN = select(task.c.ls_id, task.c.uri, task.c.data, task.c.deleted_at).where(*_LISTED)
_PRESENT = select(*COLUMNS).where(*_LISTED, task.c.deleted_at.is_(None))


def chunks(ids: Collection[T]) -> Iterable[list[T]]:
    """`ids` in lists that fit one query."""
    listed = list(ids)
    return (listed[i : i + CHUNK] for i in range(0, len(listed), CHUNK))


def save_tasks(db: Connection, project_id: int, records: Collection[TaskRecord]) -> int:
    """Remember the tasks; one whose image changed is to be embedded again.

    Returns:
        How many are new or show another image.
    """
    changed = 0
    by_id = {record.ls_id: record for record in records}
    for ids in chunks(by_id):
        rows = db.execute(_SHOWN, {"of_project": project_id, "ids": ids})
        known = {row.ls_id: row for row in rows}
        new = [by_id[i] for i in ids if i not in known]
        if new:
            db.execute(insert(task), [_values(project_id, record) for record in new])
        changed += len(new)
        for i, row in known.items():
            record = by_id[i]
            same_image = row.uri == record.uri and row.deleted_at is None
            if same_image and row.data == dict(record.data):
                continue
            values: dict[str, Any] = {"data": dict(record.data), "updated_at": record.updated_at}
            if not same_image:
                values |= _UNSEEN | {"uri": record.uri, "deleted_at": None}
                changed += 1
            db.execute(
                update(task)
                .where(task.c.project_id == project_id, task.c.ls_id == i)
                .values(**values)
            )
    return changed


_UNSEEN: dict[str, Any] = {
    "image_key": None,
    "embedded_space": None,
    "next_space": None,
    "image_error": None,
    "retries": 0,
    "retry_at": None,
}


def _values(project_id: int, record: TaskRecord) -> dict[str, Any]:
    return _UNSEEN | {
        "project_id": project_id,
        "ls_id": record.ls_id,
        "data": dict(record.data),
        "uri": record.uri,
        "updated_at": record.updated_at,
    }


def get_tasks(db: Connection, project_id: int, ls_ids: Collection[int]) -> dict[int, Task]:
    """Those of `ls_ids` that are known and not deleted."""
    found: dict[int, Task] = {}
    for ids in chunks(ls_ids):
        rows = db.execute(_PRESENT, {"of_project": project_id, "ids": ids})
        found |= {row.ls_id: task_of(row) for row in rows}
    return found


def task_data(
    db: Connection, project_id: int, ls_ids: Collection[int]
) -> dict[int, Mapping[str, Any]]:
    """The `data` of those of `ls_ids` that are known and not deleted."""
    found: dict[int, Mapping[str, Any]] = {}
    for ids in chunks(ls_ids):
        rows = db.execute(
            select(task.c.ls_id, task.c.data).where(
                task.c.project_id == project_id, task.c.ls_id.in_(ids), task.c.deleted_at.is_(None)
            )
        )
        found |= {row.ls_id: row.data for row in rows}
    return found


def list_tasks(db: Connection, project_id: int) -> list[Task]:
    """All tasks that are not deleted, by id."""
    rows = db.execute(
        select(*COLUMNS)
        .where(task.c.project_id == project_id, task.c.deleted_at.is_(None))
        .order_by(task.c.ls_id)
    )
    return [task_of(row) for row in rows]


def task_ids(db: Connection, project_id: int) -> set[int]:
    """The Label Studio ids of all tasks that are not deleted."""
    query = select(task.c.ls_id).where(task.c.project_id == project_id, task.c.deleted_at.is_(None))
    return set(db.execute(query).scalars())


@dataclass(frozen=True)
class TaskCounts:
    """How many tasks there are, are embedded, and can never be."""

    tasks: int
    embedded: int
    broken: int


def count_tasks(
    db: Connection, project_id: int, space: str | None, *, moving: bool = False
) -> TaskCounts:
    """Counts for the status page (with `moving`, of the space that is moved to)."""
    held = task.c.next_space if moving else task.c.embedded_space
    row = db.execute(
        select(
            func.count(),
            func.count().filter(held == space),
            func.count().filter(or_(task.c.image_error.is_not(None), task.c.uri.is_(None))),
        ).where(task.c.project_id == project_id, task.c.deleted_at.is_(None))
    ).one()
    return TaskCounts(*row)


def mark_embedded(
    db: Connection,
    project_id: int,
    space: str,
    image_keys: Mapping[int, str],
    *,
    moving: bool = False,
) -> None:
    """Remember that these tasks' images ({ls_id: image key}) have embeddings in `space`.

    Args:
        moving: `space` is the one that the project moves to; what is known of the one in use
            stays, unless the image is another one now.
    """
    if not image_keys:
        return
    same = task.c.image_key == bindparam("of_image", type_=Text)
    spaces = (
        {"embedded_space": case((same, task.c.embedded_space), else_=None), "next_space": space}
        if moving
        else {"embedded_space": space, "next_space": case((same, task.c.next_space), else_=None)}
    )
    db.execute(
        update(task)
        .where(task.c.project_id == project_id, task.c.ls_id == bindparam("of_task"))
        .values(_UNSEEN | {"image_key": bindparam("of_image", type_=Text)} | spaces),
        [{"of_task": ls_id, "of_image": key} for ls_id, key in image_keys.items()],
    )


def mark_broken(db: Connection, project_id: int, errors: Mapping[int, str]) -> None:
    """Remember why these images can never be used ({ls_id: reason})."""
    for ls_id, reason in errors.items():
        db.execute(
            update(task)
            .where(task.c.project_id == project_id, task.c.ls_id == ls_id)
            .values(image_error=reason, retry_at=None)
        )


def assign_holdout(db: Connection, project_id: int, ls_ids: Collection[int]) -> None:
    """Put these tasks into the hold-out for good."""
    for ids in chunks(ls_ids):
        db.execute(
            update(task)
            .where(task.c.project_id == project_id, task.c.ls_id.in_(ids))
            .values(split="holdout")
        )
