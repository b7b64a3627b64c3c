"""Annotations: an append-only history in which the last write counts."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from store.schema import annotation
from store.tasks import chunks


@dataclass(frozen=True)
class AnnotationRecord:
    """An annotation as Label Studio tells it. Times are seconds since 1970."""

    ls_id: int
    task_ls_id: int
    created_at: float
    updated_at: float
    result: list[dict[str, Any]]
    completed_by: int | None = None
    was_cancelled: bool = False
    ground_truth: bool = False
    lead_time: float | None = None
    parent_prediction: int | None = None


def save_annotations(db: Connection, project_id: int, records: Collection[AnnotationRecord]) -> int:
    """Append what is new. Events repeat and come out of order: the greatest `updated_at` wins.

    Returns:
        How many annotations changed by it.
    """
    changed = 0
    by_id: dict[int, list[AnnotationRecord]] = {}
    for record in records:
        by_id.setdefault(record.ls_id, []).append(record)
    for ids in chunks(by_id):
        current = _current(db, project_id, ids)
        for ls_id in ids:
            for record in sorted(by_id[ls_id], key=lambda r: r.updated_at):
                known = current.get(ls_id)
                if known is not None and not _is_newer(record, known):
                    continue
                row = _append(db, project_id, record, known)
                current[ls_id] = row
                changed += 1
    return changed


def _is_newer(record: AnnotationRecord, known: Any) -> bool:
    if known.deleted:  # only an annotation made afterwards, under the id that became free
        return bool(record.created_at > known.updated_at)
    return bool(record.updated_at > known.updated_at)


def _current(db: Connection, project_id: int, ids: list[int]) -> dict[int, Any]:
    rows = db.execute(
        select(annotation).where(
            annotation.c.project_id == project_id, annotation.c.ls_id.in_(ids), annotation.c.current
        )
    )
    return {row.ls_id: row for row in rows}


def _append(db: Connection, project_id: int, record: AnnotationRecord, known: Any) -> Any:
    parent = record.parent_prediction
    if known is not None:
        if not known.deleted:
            parent = known.parent_prediction or parent
        db.execute(update(annotation).where(annotation.c.id == known.id).values(current=False))
    return db.execute(
        insert(annotation)
        .values(
            project_id=project_id,
            task_ls_id=record.task_ls_id,
            ls_id=record.ls_id,
            created_at=record.created_at,
            updated_at=record.updated_at,
            received_at=time.time(),
            completed_by=record.completed_by,
            was_cancelled=record.was_cancelled,
            ground_truth=record.ground_truth,
            lead_time=record.lead_time,
            parent_prediction=parent,
            result=record.result,
            deleted=False,
            current=True,
        )
        .returning(annotation)
    ).one()


def delete_annotations(db: Connection, project_id: int, ls_ids: Collection[int]) -> int:
    """Mark as deleted, also those never seen: their late creation must not bring them back.

    Returns:
        How many were not already.
    """
    deleted = 0
    for ids in chunks(set(ls_ids)):
        current = _current(db, project_id, ids)
        for ls_id in ids:
            known = current.get(ls_id)
            if known is not None and known.deleted:
                continue
            values: dict[str, Any] = {
                "task_ls_id": 0,
                "created_at": time.time(),
                "updated_at": time.time(),
                "was_cancelled": False,
                "ground_truth": False,
                "result": [],
            }
            if known is not None:
                db.execute(
                    update(annotation).where(annotation.c.id == known.id).values(current=False)
                )
                values = {
                    name: value
                    for name, value in known._mapping.items()
                    if name not in {"id", "project_id", "ls_id"}
                }
            values |= {"deleted": True, "current": True, "received_at": time.time()}
            db.execute(insert(annotation).values(project_id=project_id, ls_id=ls_id, **values))
            deleted += 1
    return deleted


def current_annotations(db: Connection, project_id: int) -> list[AnnotationRecord]:
    """The annotations that count as labels: not deleted, not skipped; by time of writing."""
    rows = db.execute(
        select(annotation)
        .where(
            annotation.c.project_id == project_id,
            annotation.c.current,
            ~annotation.c.deleted,
            ~annotation.c.was_cancelled,
        )
        .order_by(annotation.c.updated_at, annotation.c.ls_id)
    )
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
    ]


def task_annotations(
    db: Connection, project_id: int, task_ls_ids: Collection[int]
) -> dict[int, float]:
    """{annotation id: when we heard of it} of these tasks; skipped ones too, deleted ones not."""
    found: dict[int, float] = {}
    for ids in chunks(task_ls_ids):
        rows = db.execute(
            select(annotation.c.ls_id, annotation.c.received_at).where(
                annotation.c.project_id == project_id,
                annotation.c.task_ls_id.in_(ids),
                annotation.c.current,
                ~annotation.c.deleted,
            )
        )
        found |= {row.ls_id: row.received_at for row in rows}
    return found


def annotated_tasks(db: Connection, project_id: int) -> set[int]:
    """Tasks with any annotation that is not deleted: a skipped task isn't offered again."""
    rows = db.execute(
        select(annotation.c.task_ls_id).where(
            annotation.c.project_id == project_id, annotation.c.current, ~annotation.c.deleted
        )
    )
    return set(rows.scalars())


def parent_predictions(db: Connection, project_id: int) -> set[int]:
    """Label Studio ids of all predictions that any annotation, ever, was pre-filled from."""
    rows = db.execute(
        select(annotation.c.parent_prediction).where(
            annotation.c.project_id == project_id, annotation.c.parent_prediction.is_not(None)
        )
    )
    return {int(parent) for parent in rows.scalars() if parent is not None}
