"""Shortlists: the tasks chosen to be labelled next, some of them drawn at random.

Draws are kept for good, as everything is measured on them.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from store.database.chunks import chunks
from store.database.locks import lock_project
from store.database.schema import annotation, selection
from store.tasks.units import TaskId

RANDOM = "random"  # the strategy's name

# Seconds that a superseded list is kept: Label Studio hands tasks out by it until the next version
# is published, and people may ask why they were given a task.
KEPT_SECONDS = 86_400


@dataclass(frozen=True)
class Choice:
    """A task chosen to be labelled next. `probability` of being picked, where it is known."""

    task: TaskId
    strategy: str
    probability: float | None


@dataclass(frozen=True)
class Draw:
    """A task that was drawn, when (seconds since 1970), and with what probability."""

    at: float
    probability: float | None


def drawn_tasks(db: Connection, project_id: int) -> dict[TaskId, Draw]:
    """{task: draw} of tasks drawn at random and not chosen since, labelled ones too."""
    latest = (
        select(func.max(selection.c.id))
        .where(selection.c.project_id == project_id)
        .group_by(selection.c.task_ls_id)
    )
    still = select(selection.c.task_ls_id).where(
        selection.c.id.in_(latest), selection.c.strategy == RANDOM
    )
    rows = db.execute(
        select(
            selection.c.task_ls_id,
            func.min(selection.c.created_at).label("at"),
            func.min(selection.c.probability).label("probability"),
        )
        .where(
            selection.c.project_id == project_id,
            selection.c.strategy == RANDOM,
            selection.c.task_ls_id.in_(still),
        )
        .group_by(selection.c.task_ls_id)
    )
    return {row.task_ls_id: Draw(row.at, row.probability) for row in rows}


def set_shortlist(
    db: Connection, project_id: int, version_id: int, choices: Sequence[Choice]
) -> None:
    """Set the project's shortlist, in order. Of lists older than a day only draws are kept."""
    lock_project(db, project_id)
    in_project = selection.c.project_id == project_id
    before = db.execute(select(func.max(selection.c.created_at)).where(in_project)).scalar()
    db.execute(update(selection).where(in_project, selection.c.active).values(active=False))
    now = time.time()
    rows = [
        {
            "project_id": project_id,
            "version_id": version_id,
            "task_ls_id": choice.task,
            "rank": rank,
            "strategy": choice.strategy,
            "probability": choice.probability,
            "created_at": now,
            "active": True,
        }
        for rank, choice in enumerate(choices)
    ]
    if rows:
        db.execute(insert(selection), rows)
    if before is not None:
        _prune(db, project_id, before - KEPT_SECONDS, now - KEPT_SECONDS)


def _prune(db: Connection, project_id: int, after: float, until: float) -> None:
    """Delete rows of the lists made in this time that neither `drawn_tasks` nor `first_choice_at`
    reads.

    Each list is looked at once, when it is a day old: draws are kept for good, and reading all of
    them for every new list would lock out other writers the longer, the older a project is.
    """
    columns = selection.c
    in_project = columns.project_id == project_id
    tasks = select(columns.task_ls_id).where(
        in_project, columns.created_at > after, columns.created_at <= until
    )
    query = select(columns.id, columns.task_ls_id, columns.strategy, columns.probability).where(
        in_project,
        columns.created_at <= until,
        columns.task_ls_id.in_(tasks),
    )
    rows = db.execute(query.order_by(columns.created_at, columns.id)).all()
    if not rows:
        return
    earliest: dict[TaskId, int] = {}
    least_likely: dict[TaskId, tuple[float, int]] = {}
    for row in rows:
        if row.strategy == RANDOM:
            earliest.setdefault(row.task_ls_id, row.id)
            if row.probability is not None:
                before = least_likely.get(row.task_ls_id, (math.inf, row.id))
                least_likely[row.task_ls_id] = min(before, (row.probability, row.id))
    latest = {row.task_ls_id: row.id for row in rows if row.task_ls_id in earliest}
    first = select(columns.id).where(in_project).order_by(columns.created_at, columns.id).limit(1)
    kept_rows = {db.execute(first).scalar_one()}
    kept_rows.update(
        earliest.values(), latest.values(), (each for _, each in least_likely.values())
    )
    superseded = [row.id for row in rows if row.id not in kept_rows]
    for ids in chunks(superseded):
        db.execute(delete(selection).where(columns.id.in_(ids)))


def first_choice_at(db: Connection, project_id: int) -> float | None:
    """When tasks were first chosen, in seconds since 1970; None before."""
    query = select(func.min(selection.c.created_at)).where(selection.c.project_id == project_id)
    return db.execute(query).scalar()


def count_open_choices(db: Connection, project_id: int) -> int:
    """Count the tasks of the shortlist without any annotation; a skipped one counts."""
    annotated = exists().where(
        annotation.c.project_id == project_id,
        annotation.c.task_ls_id == selection.c.task_ls_id,
        annotation.c.current,
        ~annotation.c.deleted,
    )
    query = select(func.count(selection.c.task_ls_id.distinct())).where(
        selection.c.project_id == project_id, selection.c.active, ~annotated
    )
    return db.execute(query).scalar_one()


def get_shortlist(db: Connection, project_id: int) -> list[TaskId]:
    """The tasks of today's shortlist in order, labelled ones too."""
    query = (
        select(selection.c.task_ls_id)
        .where(selection.c.project_id == project_id, selection.c.active)
        .order_by(selection.c.rank)
    )
    return list(db.execute(query).scalars())
