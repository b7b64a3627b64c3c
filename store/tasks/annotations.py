"""Annotations: an append-only history in which the last write counts."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from store.database.chunks import chunks
from store.database.locks import lock_content
from store.database.schema import annotation
from store.tasks.accept_marks import is_accepted
from store.tasks.labelled import clear_labelled
from store.tasks.units import TaskId


@dataclass(frozen=True)
class AnnotationRecord:
    """An annotation as Label Studio holds it. Times are seconds since 1970."""

    ls_id: int
    task_ls_id: TaskId
    created_at: float
    updated_at: float
    result: list[dict[str, Any]]
    completed_by: int | None = None
    was_cancelled: bool = False
    ground_truth: bool = False
    lead_time: float | None = None
    parent_prediction: int | None = None


def save_annotations(db: Connection, project_id: int, records: Collection[AnnotationRecord]) -> int:
    """Append new states of annotations. Events repeat and come out of order: the newest counts.

    Returns:
        How many annotations changed by it.
    """
    if records:
        lock_content(db, project_id)
    by_id: dict[int, list[AnnotationRecord]] = {}
    for record in records:
        by_id.setdefault(record.ls_id, []).append(record)
    changed = 0
    for ids in chunks(by_id):
        current = _current(db, project_id, ids)
        outdated: list[Any] = []
        rows: list[dict[str, Any]] = []
        for ls_id in ids:
            existing = current.get(ls_id)
            written = [] if existing is None else [dict(existing._mapping)]
            for record in sorted(by_id[ls_id], key=lambda r: r.updated_at):
                if not written or _is_newer(record, written[-1]):
                    written.append(_values(project_id, record, written[-1] if written else None))
            new = written if existing is None else written[1:]
            for row in new[:-1]:
                row["current"] = False
            if new and existing is not None:
                outdated.append(existing)
            rows += new
        _append(db, project_id, outdated, rows)
        changed += len(rows)
    return changed


def _is_newer(record: AnnotationRecord, existing: Mapping[str, Any]) -> bool:
    if existing["deleted"]:  # only an annotation made afterwards, under the id that became free
        return bool(record.created_at > existing["updated_at"])
    return bool(record.updated_at > existing["updated_at"])


_CURRENT = select(annotation).where(
    annotation.c.project_id == bindparam("of_project"),
    annotation.c.ls_id.in_(bindparam("ids", expanding=True)),
    annotation.c.current,
)


def _current(db: Connection, project_id: int, ids: list[int]) -> dict[int, Any]:
    rows = db.execute(_CURRENT, {"of_project": project_id, "ids": ids})
    return {row.ls_id: row for row in rows}


def _values(
    project_id: int, record: AnnotationRecord, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A row of the history, after the row `before`."""
    parent = record.parent_prediction
    if before is not None and not before["deleted"]:
        parent = before["parent_prediction"] or parent
    return {
        "project_id": project_id,
        "task_ls_id": record.task_ls_id,
        "ls_id": record.ls_id,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "received_at": time.time(),
        "completed_by": record.completed_by,
        "was_cancelled": record.was_cancelled,
        "ground_truth": record.ground_truth,
        "lead_time": record.lead_time,
        "parent_prediction": parent,
        "result": record.result,
        "deleted": False,
        "current": True,
    }


def _append(
    db: Connection, project_id: int, outdated: Sequence[Any], rows: Sequence[dict[str, Any]]
) -> None:
    if outdated:
        ids = [row.id for row in outdated]
        db.execute(update(annotation).where(annotation.c.id.in_(ids)).values(current=False))
    if rows:
        db.execute(insert(annotation), rows)
    # An id that is used again may have belonged to another task.
    tasks = {row["task_ls_id"] for row in rows}.union(row.task_ls_id for row in outdated)
    clear_labelled(db, project_id, tasks)


def delete_annotations(db: Connection, project_id: int, ls_ids: Collection[int]) -> int:
    """Mark annotations as deleted, also unknown ones: an event of their creation may come late.

    Returns:
        How many were not already.
    """
    if ls_ids:
        lock_content(db, project_id)
    deleted = 0
    for ids in chunks(set(ls_ids)):
        current = _current(db, project_id, ids)
        outdated: list[Any] = []
        rows: list[dict[str, Any]] = []
        now = time.time()
        for ls_id in ids:
            existing = current.get(ls_id)
            if existing is None:
                unseen = AnnotationRecord(
                    ls_id, TaskId(0), created_at=now, updated_at=now, result=[]
                )
                row = _values(project_id, unseen, None)
            elif existing.deleted:
                continue
            else:
                outdated.append(existing)
                row = {name: value for name, value in existing._mapping.items() if name != "id"}
            rows.append(row | {"deleted": True, "received_at": now})
        _append(db, project_id, outdated, rows)
        deleted += len(rows)
    return deleted


def current_annotations(
    db: Connection, project_id: int, tasks: Collection[TaskId] | None = None
) -> list[AnnotationRecord]:
    """The annotations that count as labels: not deleted, not skipped; by time of writing.

    Suggestions that were accepted without a person looking at them don't count.

    Args:
        tasks: up to a few hundred whose annotations are wanted; None for all.
    """
    query = select(annotation).where(
        annotation.c.project_id == project_id,
        annotation.c.current,
        ~annotation.c.deleted,
        ~annotation.c.was_cancelled,
    )
    if tasks is not None:
        query = query.where(annotation.c.task_ls_id.in_(tasks))
    rows = db.execute(query.order_by(annotation.c.updated_at, annotation.c.ls_id))
    return [
        AnnotationRecord(
            ls_id=row.ls_id,
            task_ls_id=row.task_ls_id,
            created_at=row.created_at,
            updated_at=row.updated_at,
            result=row.result,
            completed_by=row.completed_by,
            was_cancelled=row.was_cancelled,
            ground_truth=row.ground_truth,
            lead_time=row.lead_time,
            parent_prediction=row.parent_prediction,
        )
        for row in rows
        if not is_accepted(row.result, row.created_at, row.updated_at)
    ]


def task_annotations(
    db: Connection, project_id: int, task_ls_ids: Collection[TaskId]
) -> dict[int, float]:
    """{annotation id: time of its receipt} of these tasks; skipped ones too, deleted ones not."""
    received: dict[int, float] = {}
    for ids in chunks(task_ls_ids):
        rows = db.execute(
            select(annotation.c.ls_id, annotation.c.received_at).where(
                annotation.c.project_id == project_id,
                annotation.c.task_ls_id.in_(ids),
                annotation.c.current,
                ~annotation.c.deleted,
            )
        )
        received |= {row.ls_id: row.received_at for row in rows}
    return received


def first_received(db: Connection, project_id: int) -> dict[TaskId, float]:
    """{task: time of receipt of its first annotation}, in seconds since 1970."""
    rows = db.execute(
        select(annotation.c.task_ls_id, func.min(annotation.c.received_at).label("at"))
        .where(annotation.c.project_id == project_id)
        .group_by(annotation.c.task_ls_id)
    )
    return {row.task_ls_id: row.at for row in rows}


def first_lead_times(db: Connection, project_id: int) -> dict[tuple[int, float], float | None]:
    """{(annotation, time of creation): its first lead time} of annotations that were changed.

    Label Studio adds the time of each later look at it.
    """
    first = (
        select(func.min(annotation.c.id))
        .where(annotation.c.project_id == project_id)
        .group_by(annotation.c.ls_id, annotation.c.created_at)
    )
    rows = db.execute(
        select(annotation.c.ls_id, annotation.c.created_at, annotation.c.lead_time).where(
            annotation.c.id.in_(first), ~annotation.c.current
        )
    )
    return {(row.ls_id, row.created_at): row.lead_time for row in rows}


def annotated_tasks(db: Connection, project_id: int) -> set[TaskId]:
    """The tasks with an annotation that isn't deleted; a skipped one counts."""
    rows = db.execute(
        select(annotation.c.task_ls_id).where(
            annotation.c.project_id == project_id, annotation.c.current, ~annotation.c.deleted
        )
    )
    return set(rows.scalars())


def annotated_since(db: Connection, project_id: int, at: float) -> set[TaskId]:
    """The tasks with an annotation that was received after `at`, in seconds since 1970."""
    rows = db.execute(
        select(annotation.c.task_ls_id).where(
            annotation.c.project_id == project_id,
            annotation.c.current,
            annotation.c.received_at > at,
        )
    )
    return set(rows.scalars())


def annotated_before(db: Connection, project_id: int, at: float) -> set[TaskId]:
    """The tasks with an annotation that was received before `at`, in seconds since 1970."""
    rows = db.execute(
        select(annotation.c.task_ls_id).where(
            annotation.c.project_id == project_id, annotation.c.received_at < at
        )
    )
    return set(rows.scalars())


def parent_predictions(db: Connection, project_id: int) -> set[int]:
    """Label Studio's ids of all predictions that an annotation ever began with."""
    rows = db.execute(
        select(annotation.c.parent_prediction).where(
            annotation.c.project_id == project_id, annotation.c.parent_prediction.is_not(None)
        )
    )
    return {int(parent) for parent in rows.scalars() if parent is not None}
