"""The queue of images to embed: their order, and when those that failed are tried again."""

import time
from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select, update

from store.database.schema import annotation, project, selection, task
from store.tasks.image_problems import problem_kind
from store.tasks.space_role import SpaceRole
from store.tasks.tasks import COLUMNS, Task, task_from
from store.tasks.units import UnitId

RETRY_SECONDS = (5, 15, 60, 300, 900, 3600)  # waits after passing faults of one image


def tasks_to_embed(
    db: Connection,
    project_id: int,
    space: str,
    limit: int,
    role: SpaceRole = SpaceRole.IN_USE,
    *,
    only_urgent: bool = False,
) -> list[Task]:
    """The next images to embed: labelled ones, then the shortlist, then a shuffled rest.

    Args:
        role: what `space` is to the project.
        only_urgent: leave out the rest.
    """
    labelled = exists().where(
        annotation.c.project_id == project_id,
        annotation.c.task_ls_id == task.c.ls_id,
        annotation.c.current,
        ~annotation.c.deleted,
        ~annotation.c.was_cancelled,
    )
    chosen = exists().where(
        selection.c.project_id == project_id,
        selection.c.task_ls_id == task.c.ls_id,
        selection.c.active,
    )
    # Tasks are often imported class by class; the first embedded ones must be of all kinds.
    shuffled = (task.c.id * 7919) % 10007
    query = (
        select(*COLUMNS)
        .where(*_not_embedded(project_id, space, role))
        .order_by(case((labelled, 0), (chosen, 1), else_=2), shuffled, task.c.id)
        .limit(limit)
    )
    if only_urgent:
        query = query.where(or_(labelled, chosen))
    return [task_from(row) for row in db.execute(query)]


def tasks_to_embed_between(
    db: Connection, project_id: int, space: str, role: SpaceRole, first_id: int, last_id: int
) -> list[Task]:
    """The images to embed among those whose row ids are from `first_id` to `last_id`."""
    query = (
        select(*COLUMNS)
        .where(*_not_embedded(project_id, space, role), task.c.id.between(first_id, last_id))
        .order_by(task.c.id)
    )
    return [task_from(row) for row in db.execute(query)]


def ids_to_embed(db: Connection, project_id: int, space: str, role: SpaceRole) -> list[int]:
    """The ids of the rows of all images to embed now, sorted."""
    query = select(task.c.id).where(*_not_embedded(project_id, space, role)).order_by(task.c.id)
    return list(db.execute(query).scalars())


def count_to_embed(db: Connection, project_id: int, space: str, role: SpaceRole) -> int:
    """Count the images to embed now."""
    query = select(func.count()).select_from(task).where(*_not_embedded(project_id, space, role))
    return int(db.execute(query).scalar_one())


def any_to_embed(
    db: Connection, project_id: int, space: str, role: SpaceRole = SpaceRole.IN_USE
) -> bool:
    """Whether there is an image to embed now in a space of this role."""
    query = select(task.c.id).where(*_not_embedded(project_id, space, role)).limit(1)
    return db.execute(query).first() is not None


def _not_embedded(project_id: int, space: str, role: SpaceRole) -> tuple[ColumnElement[bool], ...]:
    space_column = task.c.next_space if role is SpaceRole.NEXT else task.c.embedded_space
    return (
        task.c.project_id == project_id,
        task.c.deleted_at.is_(None),
        task.c.uri.is_not(None),
        task.c.image_error.is_(None),
        or_(space_column.is_(None), space_column != space),
        or_(task.c.retry_at.is_(None), task.c.retry_at <= time.time()),
    )


def next_retry(db: Connection, project_id: int) -> float | None:
    """When the next image with a transient error is tried again; None when there is none."""
    return db.execute(
        select(func.min(task.c.retry_at)).where(
            and_(
                task.c.project_id == project_id,
                task.c.deleted_at.is_(None),
                task.c.image_error.is_(None),
                task.c.retry_at.is_not(None),
            )
        )
    ).scalar()


def retry_images(db: Connection, connection_id: str, begin: str) -> None:
    """Have images that can't be used tried again, where their URI begins with `begin`."""
    of_connection = select(project.c.id).where(project.c.connection_id == connection_id)
    db.execute(
        update(task)
        .where(
            task.c.project_id.in_(of_connection),
            task.c.uri.startswith(begin, autoescape=True),
            or_(task.c.image_error.is_not(None), task.c.retry_at.is_not(None)),
        )
        .values(image_error=None, image_problem=None, image_note=None, retries=0, retry_at=None)
    )


def mark_retry(
    db: Connection,
    project_id: int,
    tasks: Iterable[Task],
    reasons: Mapping[UnitId, str] | None = None,
) -> None:
    """Postpone images with a transient error ({unit: reason}), less and less often tried."""
    for item in tasks:
        reason = (reasons or {}).get(item.unit)
        wait = RETRY_SECONDS[min(item.retries, len(RETRY_SECONDS) - 1)]
        db.execute(
            update(task)
            .where(
                task.c.project_id == project_id,
                task.c.ls_id == item.ls_id,
                task.c.item == item.item,
            )
            .values(
                retries=task.c.retries + 1,
                retry_at=time.time() + wait,
                image_problem=problem_kind(reason) if reason else None,
                image_note=reason,
            )
        )
